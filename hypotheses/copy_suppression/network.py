"""A transformer with one head told apart: what it writes by suppression, its mean, and all the rest.

| node | reads | value |
|---|---|---|
| `final` | all that was written | the final stream, with the output biases |
| `size` | `final` | the scale of the final norm |
| `mean` | the column `tokens` | the head's mean output at each position, a constant |
| `kept` | `tokens`, `mean`, `size`, what the head reads | what the ablation keeps of the head, less `mean` |
| `lost` | the head, `mean`, `kept` | the remainder |
| `written` | `mean`, `kept`, `lost` | their sum, which is what the head writes |
| `loss` | `final`, `size`, the head, `written`, the column `weights` | KL(clean, with `written` in place of the head) |

Only the direct path is cut: later blocks read the head as it is, and the final norm's scale is that of the plain run.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from hypotheses.copy_suppression.directions import Table, Unembeddings
from hypotheses.copy_suppression.divergence import Divergence
from hypotheses.copy_suppression.preserving import Preserved, Rules
from hypotheses.heads import Head, check_direct, head_name
from scrubbing import Graph, Hypothesis, Node, kept, reads
from scrubbing.engine.component import Component
from scrubbing.errors import ModelError
from scrubbing.lens import Transformer, TransformerConfig, transformer
from scrubbing.lens.components.attention import Attention, merge
from scrubbing.lens.components.readout import Readout
from scrubbing.lens.components.residual import (
    RESID_POSITION_AXIS,
    Difference,
    Resid,
    SizeOfStream,
    Sum,
    Summing,
)

COLUMNS = ("tokens", "weights")


@dataclass(frozen=True, eq=False)
class Parts:
    """A language model's graph, and the components that suppression is measured with."""

    G: Graph
    readout: Readout
    config: TransformerConfig

    @classmethod
    def of(cls, model: Transformer) -> "Parts":
        """Those of a model. Raises `ModelError` for one whose heads do not write to the final stream as they are."""
        config = model.config
        check_direct(config)
        if config.attention_dir != "causal":
            raise ModelError("the model's attention is bidirectional; copy suppression is about the next token")
        G = transformer(model)
        readout = G["logits"].fn
        assert isinstance(readout, Readout)
        return cls(G, readout, config)

    @property
    def stream(self) -> tuple[str, ...]:
        """All that is written to the final stream."""
        return self.G["logits"].inputs

    def attention(self, layer: int, heads: list[int]) -> Attention:
        """Some heads of a layer."""
        parts = [fn for head in heads if isinstance(fn := self.G[head_name((layer, head))].fn, Attention)]
        return parts[0] if len(parts) == 1 else merge(parts)

    def inputs(self, layer: int) -> tuple[str, ...]:
        """What the heads of a layer read."""
        return self.G[head_name((layer, 0))].inputs


@dataclass(frozen=True, eq=False)
class Final(Summing):
    """The final stream before its norm, with the output biases."""

    readout: Readout

    def __call__(self, *terms: Resid) -> Resid:
        return self.readout.reader.stream(*terms)


@dataclass(frozen=True, eq=False)
class SizeOf(Component):
    """The scale of the final norm for a stream."""

    readout: Readout

    def __call__(self, final: Resid) -> SizeOfStream:
        norm = self.readout.reader.norm
        return norm.scale(norm.centred(final))


@dataclass(frozen=True, eq=False)
class AtPosition(Component):
    """A vector for each position, the same for every row."""

    vectors: Float[Tensor, "position d_model"]

    def __call__(self, tokens: Int[Tensor, "batch position"]) -> Resid:
        return self.vectors[: tokens.shape[1]].expand(len(tokens), -1, -1)


def told_apart(
    parts: Parts,
    head: Head,
    mean: Float[Tensor, "position d_model"],
    rules: Rules,
    function_words: Bool[Tensor, " token"],
    related: Table | None = None,
) -> Graph:
    """The graph of the table above, for one set of rules."""
    name, axis = head_name(head), RESID_POSITION_AXIS
    attention = parts.attention(head[0], [head[1]])
    unembeddings = Unembeddings(parts.readout, rules.centred)
    preserved = Preserved(attention, unembeddings, function_words, rules, related)
    network = {node: parts.G[node] for node in parts.G.upstream(*parts.stream)}
    return Graph(
        network
        | {
            "final": Node(Final(parts.readout), parts.stream, axis),
            "size": Node(SizeOf(parts.readout), ("final",), axis),
            "mean": Node(AtPosition(mean), ("tokens",), axis),
            "kept": Node(preserved, ("tokens", "mean", "size", *parts.G[name].inputs), axis),
            "less_mean": Node(Difference(), (name, "mean"), axis),
            "lost": Node(Difference(), ("less_mean", "kept"), axis),
            "written": Node(Sum(), ("mean", "kept", "lost"), axis),
            "loss": Node(Divergence(parts.readout), ("final", "size", name, "written", "weights")),
        }
    )


# Nothing is drawn: what is claimed stays on the reference, and what is not is zero (`unclaimed="zero"`).
MEAN_ABLATION = Graph(loss=reads("written", *COLUMNS), written=reads("mean"), mean=reads("tokens"))


def hypothesis(G: Graph) -> Hypothesis:
    """The claim that a head does nothing but suppress, beside its mean: the remainder is unclaimed."""
    return Hypothesis(G, MEAN_ABLATION | {"written": reads("mean", "kept"), **kept(G, "kept")})
