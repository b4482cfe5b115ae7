"""A transformer in steps: what its blocks write to the stream, so that a run can be taken up at any of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hypotheses.heads import Head, check_direct, whole_layers
from scrubbing.lens import Transformer, transformer
from scrubbing.lens.components.attention import Attention
from scrubbing.lens.components.direct import Pulled
from scrubbing.lens.components.mlp import MLP, Hidden
from scrubbing.lens.components.projection import Heads, Projection
from scrubbing.lens.components.readout import Readout
from scrubbing.lens.components.residual import Embedding, PerHead, Resid, ResidualReader

Tokens = Int[Tensor, "row position"]
ByToken = Float[Tensor, "*rows position"]


@dataclass(frozen=True, eq=False)
class Block:
    """A layer: all of its heads, and its MLP if it has one, with the biases that both add to the stream."""

    attention: Attention
    mlp: MLP | None
    parallel: bool  # whether the MLP reads what the heads read
    attention_bias: Float[Tensor, " d_model"] | None
    mlp_bias: Float[Tensor, " d_model"] | None

    def z(self, stream: Resid) -> PerHead:
        """What each head moves, before it is written: `[row, position, head, d_head]`."""
        attention = self.attention
        x = attention.q.reader(stream)
        return attention.scores.z(*(projected(part, x) for part in (attention.q, attention.k, attention.v)))

    def mlp_of(self, before: Resid, middle: Resid) -> tuple[Hidden | None, Resid | None]:
        """The neurons and what they write, of the stream before the layer and that after its heads."""
        if self.mlp is None:
            return None, None
        neurons = self.mlp.neurons(self.mlp.reader(before if self.parallel else middle))
        return neurons, self.mlp.writer(neurons)


def projected(part: Projection, x: Resid) -> PerHead:
    """Queries, keys or values of a stream that is normalised already."""
    y = part.of_normalised(x)
    return y if part.chosen is None else Heads(part.chosen)(y)


@dataclass(frozen=True, eq=False)
class Network:
    """A transformer whose blocks add what they write to the stream as it is.

    Streams hold no biases: those belong to the readers (see `scrubbing.lens.blocks`).
    """

    embedding: Embedding
    blocks: tuple[Block, ...]
    readout: Readout

    @classmethod
    def of(cls, model: Transformer) -> "Network":
        """Of a model. Raises `ModelError` where a norm follows its blocks: what a head writes has no direct effect."""
        config = model.config
        check_direct(config)
        G = transformer(model, **whole_layers(config))
        blocks = (
            Block(
                cast(Attention, G[f"layer{layer}"].fn),
                None if config.attn_only else cast(MLP, G[f"m{layer}"].fn),
                config.parallel_attn_mlp,
                _bias(model, f"blocks.{layer}.attn.b_O"),
                _bias(model, f"blocks.{layer}.mlp.b_out"),
            )
            for layer in range(config.n_layers)
        )
        return cls(cast(Embedding, G["embed"].fn), tuple(blocks), cast(Readout, G["logits"].fn))

    @property
    def n_heads(self) -> int:
        """The heads of a layer."""
        return self.blocks[0].attention.q.count

    @property
    def heads(self) -> list[Head]:
        """All heads, in order."""
        return [(layer, head) for layer in range(len(self.blocks)) for head in range(self.n_heads)]

    def W_O(self, layer: int) -> Float[Tensor, "head d_head d_model"]:
        """What a layer's heads write with."""
        return self.blocks[layer].attention.W_O

    def run(self, tokens: Tokens) -> "Run":
        """The plain run."""
        steps = list(self.steps(0, self.embedding(tokens)))
        last = steps.pop()
        return Run((*(replace(step, neurons=None) for step in steps), last))  # of neurons, the last layer's are studied

    def steps(self, layer: int, stream: Resid) -> Iterator["Step"]:
        """The layers from one on, of the stream before it."""
        for block in self.blocks[layer:]:
            z = block.z(stream)
            attended = block.attention.writer(z)
            neurons, written = block.mlp_of(stream, stream + attended)
            step = Step(stream, z, attended, neurons, written)
            yield step
            stream = step.end

    def after(self, layer: int, run: "Run", change: Float[Tensor, "many row position d_model"]) -> Iterator["Step"]:
        """What follows where a layer's heads write something else, by `change`, many times: `[many * row, ...]` each.

        First the rest of the layer itself, then those after it.
        """
        clean = run.steps[layer]
        assert clean.attended is not None
        middle = (clean.before + clean.attended + change).flatten(0, 1)
        block = self.blocks[layer]
        if block.mlp is None or block.parallel:
            written = None if clean.written is None else clean.written.repeat(len(change), 1, 1)
            step = Step(middle, None, None, None, written)
        else:
            step = Step(middle, None, None, *block.mlp_of(middle, middle))
        yield step
        yield from self.steps(layer + 1, step.end)

    def bias_of(self, layers: range) -> Float[Tensor, " d_model"] | float:
        """The output biases of some layers, summed."""
        named = (getattr(self.blocks[layer], f"{part}_bias") for layer in layers for part in ("attention", "mlp"))
        return sum((bias for bias in named if bias is not None), start=0.0)


@dataclass(frozen=True, eq=False)
class Step:
    """A layer of a run: the stream before it, the heads' `z`, what they and the MLP write, and its neurons."""

    before: Resid
    z: PerHead | None
    attended: Resid | None
    neurons: Hidden | None
    written: Resid | None

    @property
    def end(self) -> Resid:
        """The stream after it."""
        return reduce(torch.add, (part for part in (self.attended, self.written) if part is not None), self.before)


@dataclass(frozen=True, eq=False)
class Run:
    """A plain run."""

    steps: tuple[Step, ...]

    @cached_property
    def final(self) -> Resid:
        """The stream after the last layer."""
        return self.steps[-1].end

    def z(self, layer: int) -> PerHead:
        """What each head of a layer moves, before it is written."""
        z = self.steps[layer].z
        assert z is not None
        return z

    @property
    def neurons(self) -> Hidden:
        """Those of the last layer."""
        neurons = self.steps[-1].neurons
        assert neurons is not None
        return neurons


@dataclass(frozen=True, eq=False)
class Reading:
    """How the logit of the next token is read of the stream: along `towards`, times one over the norm's size.

    `constant` is what the norm's bias and the unembedding's add, which no norm scales.
    """

    reader: ResidualReader
    towards: Resid
    constant: ByToken

    @classmethod
    def of(cls, network: Network, labels: Tokens, mean: Float[Tensor, " d_model"] | None) -> "Reading":
        """Of the tokens that come next; `mean` is what to take off each token's unembedding, of all tokens."""
        readout = network.readout
        unembedded = readout.W_U.T[labels]
        constant = torch.zeros_like(unembedded[..., 0])
        if readout.b_U is not None:
            constant = readout.b_U[labels] - (0.0 if mean is None else readout.b_U.mean())
        if mean is not None:
            unembedded = unembedded - mean
        if readout.reader.norm.b is not None:
            constant = constant + unembedded @ readout.reader.norm.b
        return cls(readout.reader, Pulled(readout)(unembedded), constant)

    def along(self, stream: Float[Tensor, "*many row position d_model"]) -> ByToken:
        """A stream, or a term of one, towards the token; the final norm's scale is not in it."""
        return torch.linalg.vecdot(stream, self.towards)

    def whole(self, final: Float[Tensor, "*many row position d_model"]) -> Float[Tensor, "*many row position d_model"]:
        """The final stream with its biases."""
        return final if self.reader.bias is None else final + self.reader.bias

    def scale(self, whole: Float[Tensor, "*many row position d_model"]) -> ByToken:
        """One over the size that the final norm divides a stream by."""
        norm = self.reader.norm
        return norm.scale(norm.centred(whole))[..., 0]


def _bias(model: Transformer, name: str) -> Float[Tensor, " d_model"] | None:
    bias = model.weights.get(name)
    return None if bias is None else model.config.residual_scale * bias
