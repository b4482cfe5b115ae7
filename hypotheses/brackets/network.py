"""The bracket checker as a graph, with the parts that the claims speak of as nodes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hypotheses.brackets.features import FIRST, AdjustedShares, Tokens, shares
from hypotheses.brackets.strings import CLOSE, END, OPEN, PAD, START, TOKENS
from hypotheses.heads import Head, head_name
from scrubbing import Graph, Node
from scrubbing.engine.component import Component
from scrubbing.errors import ModelError
from scrubbing.lens import Transformer, transformer
from scrubbing.lens.components.attention import Attention
from scrubbing.lens.components.mlp import MLP
from scrubbing.lens.components.parts import AtPositions
from scrubbing.lens.components.residual import RESID_POSITION_AXIS, Difference, Resid, Sum, Summing
from scrubbing.rewrite import all_but, gather

CLASSES = 2


def network(model: Transformer) -> Graph:
    """The graph of a bracket checker. It reads the columns `tokens`, `labels` and `weights`, `[row, position]`.

    Raises `ModelError` for a model of other tokens or classes, or with causal attention.
    """
    config = model.config
    wrong = {
        f"d_vocab is {config.d_vocab}, but start, padding, end, ( and ) are {TOKENS} tokens": config.d_vocab != TOKENS,
        f"it has {config.out_vocab} outputs, but a string is balanced or not: d_vocab_out must be {CLASSES}": (
            config.out_vocab != CLASSES
        ),
        "its attention is causal, but position 0, where the decision is read, must see the whole string: "
        "attention_dir must be 'bidirectional'": config.attention_dir != "bidirectional",
    }
    problems = [problem for problem, there in wrong.items() if there]
    if problems:
        raise ModelError(f"the model is no bracket checker: {'; '.join(problems)}")
    # What is padding follows from the tokens: as a node, so that claims about tokens are about padding too.
    return transformer(model, padded=True) | {"padding": Node(IsReal(), ("tokens",), RESID_POSITION_AXIS)}


@dataclass(frozen=True, eq=False)
class IsReal(Component):
    """Where tokens are no padding."""

    def __call__(self, tokens: Tokens) -> Bool[Tensor, "row position"]:
        return tokens != PAD


@dataclass(frozen=True, eq=False)
class Somewhere(Summing):
    """A stream at one position, and zero at all others; as `complement`, the other way round."""

    position: int
    complement: bool = False

    def __call__(self, *terms: Resid) -> Resid:
        return AtPositions((self.position,), self.complement)(Sum()(*terms))


def stream_of(G: Graph, head: str) -> Graph:
    """What a head reads, as one node `{head}_stream`."""
    return gather(G, head, **{f"{head}_stream": all_but()})


def at_first_bracket(G: Graph, head: str) -> Graph:
    """What a head reads at the first bracket, as a node `{head}_first`, and elsewhere, as `{head}_elsewhere`.

    Both are sums of the terms of the stream, so that claims may go on below them.
    """
    G, stream = stream_of(G, head), f"{head}_stream"
    parts = {
        f"{head}_first": replace(G[stream], fn=Somewhere(FIRST)),
        f"{head}_elsewhere": replace(G[stream], fn=Somewhere(FIRST, complement=True)),
    }
    inputs = (*parts, *(i for i in G[head].inputs if i != stream))
    return G.rewritten(parts | {head: replace(G[head], inputs=inputs)})


@dataclass(frozen=True, eq=False)
class LinearInShare(Component):
    """v (2p - 1) at each position, where p is the share of "(" from there on."""

    v: Float[Tensor, " d_model"]

    def __call__(self, tokens: Tokens) -> Resid:
        return (2 * shares(tokens).to(self.v) - 1)[:, :, None] * self.v


def as_share(G: Graph, head: Head, n_ctx: int, *, readers: Sequence[str]) -> Graph:
    """For some readers, a head of the first layer as `{head}_guess`, linear in the share of "(", and `{head}_error`.

    MLPs that they read are copied for them, as `{mlp}_of_share`, and read the two as well.
    """
    name = head_name(head)
    guess, error = f"{name}_guess", f"{name}_error"
    mlps = {i for reader in readers for i in G[reader].inputs if isinstance(G[i].fn, MLP)}
    instead = {name: (guess, error)} | {mlp: (f"{mlp}_of_share",) for mlp in mlps}

    def reading(node: Node) -> Node:
        return replace(node, inputs=tuple(new for i in node.inputs for new in instead.get(i, (i,))))

    linear = LinearInShare(share_direction(G, head, n_ctx))
    terms = {
        guess: Node(linear, ("tokens",), RESID_POSITION_AXIS),
        error: Node(Difference(), (name, guess), RESID_POSITION_AXIS),
    }
    copies = {f"{mlp}_of_share": reading(G[mlp]) for mlp in mlps}
    return G.rewritten(terms | copies | {reader: reading(G[reader]) for reader in readers})


def share_direction(G: Graph, head: Head, n_ctx: int) -> Float[Tensor, " d_model"]:
    """Half the difference between what the head would write of a "(" and of a ")", averaged over positions."""
    attention, x = _attention(G, head), _embedded(G, n_ctx - 2)
    written = attention.writer(attention.v(x))[:, 1:-1].mean(dim=1)
    return (written[0] - written[1]) / 2


def adjusted_shares(G: Graph, head: Head, n_ctx: int) -> AdjustedShares:
    """The share of "(", with brackets weighted as the head attends to them on average, by length and position.

    Queries are made as if every bracket were "(", keys of the mean of what the head reads of the two brackets.
    """
    attention = _attention(G, head)
    weights = torch.ones(n_ctx, n_ctx, 2, dtype=torch.float64)
    for length in range(1, n_ctx - 1):
        x = attention.q.reader(_embedded(G, length))
        q, k = attention.q.of_normalised(x[:1]), attention.k.of_normalised(x.mean(0, keepdim=True))
        pattern = attention.scores.pattern(q, k)[0, 0, :, 1:-1]  # to brackets alone
        for position in range(FIRST, length + 1):
            before, from_here = pattern[position, : position - 1], pattern[position, position - 1 :]
            if len(before):
                weights[length, position, 0] = before.mean()
            weights[length, position, 1] = from_here.mean()
    return AdjustedShares(weights)


def _attention(G: Graph, head: Head) -> Attention:
    fn = G.origin[head_name(head)].fn
    assert isinstance(fn, Attention)
    return fn


def _embedded(G: Graph, length: int) -> Resid:
    """The embeddings of two strings: brackets "(" alone, and ")" alone."""
    rows: Int[Tensor, "2 position"] = torch.tensor([[START, *[b] * length, END] for b in (OPEN, CLOSE)])
    return G["embed"].fn(rows)
