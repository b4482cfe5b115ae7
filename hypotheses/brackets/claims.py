"""The claims about the bracket checker, as a table.

Source: "Causal scrubbing: results on a paren balance checker" (Redwood Research 2022). The network decides by two
tests: whether there are as many "(" as ")", and whether there are never more "(" than ")" from the right. Heads write
the outcomes at position 0, where the decision is read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hypotheses.brackets.features import (
    END_AFTER_OPEN,
    MOSTLY_OPEN,
    Tokens,
    count,
    count_and_starts,
    horizon,
    position_classes,
    shares,
)
from hypotheses.brackets.network import adjusted_shares, as_share, at_first_bracket, stream_of
from hypotheses.brackets.roles import Roles
from hypotheses.heads import head_name
from scrubbing import Graph, Hypothesis, Node, per_position, reads
from scrubbing.lens.components.mlp import MLP

STRING = reads("tokens")

# Whether heads that count see the first bracket too; and what they read, at the first bracket alone, of the head that
# makes shares: all that it writes there, or its share.
Counting = Literal["count", "count and starts"]
Inside = Literal["whole", "share"] | None
# By which share of "(" from a position on the heads of the horizon judge it, one position at a time.
Judging = Literal["shares", "adjusted shares"] | None


@dataclass(frozen=True)
class Claim:
    """What is claimed of the heads that count, and of those of the horizon."""

    counting: Counting
    inside: Inside = None
    judging: Judging = None


CLAIMS: Mapping[str, Claim] = {
    "1a": Claim("count"),
    "1b": Claim("count and starts"),
    "2a": Claim("count and starts", inside="whole"),
    "2b": Claim("count and starts", inside="share"),
    "3a": Claim("count and starts", judging="shares"),
    "3b": Claim("count and starts", judging="adjusted shares"),
    "4": Claim("count and starts", inside="share", judging="adjusted shares"),
}


def decides_rightly(logits: Bool[Tensor, " row"], labels: Tensor, _: Tensor) -> Bool[Tensor, " row"]:
    """Whether what the explanation predicts is the label."""
    return logits == labels[:, 0].bool()


LABELS_ALONE = Graph(loss=reads("labels", "weights"))
EXACT = Graph(loss=reads("logits", "labels", "weights"), logits=STRING)


@dataclass(frozen=True)
class OfString:
    """A feature of the string, in a node that reads the columns, or nodes that pass them on."""

    feature: Callable[[Tokens], Tensor]

    def __call__(self, value: Any, *_: Any) -> Tensor:
        while isinstance(value, tuple):
            value = value[0]
        return self.feature(value)


@dataclass(frozen=True)
class ClassesBy:
    """What kind of place each position is, by a share of "("."""

    share: Callable[[Tokens], Float[Tensor, "row position"]]

    def __call__(self, tokens: Tokens, *_: Tensor) -> Int[Tensor, "row position"]:
        return position_classes(tokens, self.share(tokens))


def nothing_fails(classes: Int[Tensor, "row position"], *_: Tensor) -> Bool[Tensor, " row"]:
    """Whether the horizon holds at every position."""
    return ((classes != MOSTLY_OPEN) & (classes != END_AFTER_OPEN)).all(1)


def all_pass(*tests: Bool[Tensor, " row"]) -> Bool[Tensor, " row"]:
    """Whether every test is passed, so that the string is balanced."""
    return reduce(torch.logical_and, tests)


def hypotheses(G: Graph, roles: Roles, n_ctx: int, *, through_mlps: bool = True) -> dict[str, Hypothesis]:
    """All hypotheses by name, on the graph of a network.

    Heads that count read the share of "(" as it was written, and what MLPs made of it; with `through_mlps=False` only
    the former is claimed.
    """
    # The streams are nodes of one graph, so that all claims about them share what they are on all strings.
    judged = reduce(stream_of, map(head_name, roles.horizon), G)
    claimed = {
        name: hypothesis(judged if claim.judging else G, roles, claim, n_ctx, through_mlps=through_mlps)
        for name, claim in CLAIMS.items()
    }
    return {"0a": Hypothesis(G, EXACT), "0b": Hypothesis(G, LABELS_ALONE), **claimed}


def hypothesis(G: Graph, roles: Roles, claim: Claim, n_ctx: int, *, through_mlps: bool = True) -> Hypothesis:
    """Rewrites that bring out the parts that a claim speaks of, and what it says of them."""
    counting, judging = ([head_name(head) for head in heads] for heads in (roles.count, roles.horizon))
    feature = OfString(count if claim.counting == "count" else count_and_starts)
    claims: dict[str, Any] = {
        "loss": Node(decides_rightly, ("logits", "labels", "weights")),
        # The decision stays on the reference: each test has a donor that agrees with it.
        "logits": Node(all_pass, (*counting, *judging), swaps=False),
    }
    claims |= {head: Node(feature, ("tokens",)) for head in counting}
    claims |= {head: Node(OfString(horizon), ("tokens",)) for head in judging}
    if claim.inside is not None:
        for head in counting:
            G = at_first_bracket(G, head)
        written = head_name(roles.share)
        if claim.inside == "share":
            G = as_share(G, roles.share, n_ctx, readers=[f"{head}_first" for head in counting])
            written = f"{written}_guess"
        claims |= {head: Node(feature, (f"{head}_first",)) for head in counting}
        claims |= _at_first_bracket(G, counting, written, through_mlps)
    if claim.judging is not None:
        share = shares if claim.judging == "shares" else adjusted_shares(G, roles.share, n_ctx)
        for head in judging:
            stream = f"{head}_stream"
            G = G if stream in G else stream_of(G, head)
            classes = per_position(Node(ClassesBy(share), ("tokens",)))
            claims |= {head: Node(nothing_fails, (stream, "padding")), stream: classes}
            claims["padding"] = STRING
    return Hypothesis(G, Graph(claims))


def _at_first_bracket(G: Graph, heads: list[str], written: str, through_mlps: bool) -> dict[str, Node]:
    """That heads read, at the first bracket, the embedding, what is `written`, and what MLPs make of these."""
    claims: dict[str, Node] = {}
    for head in heads:
        mlps = [name for name in G[f"{head}_first"].inputs if through_mlps and isinstance(G[name].fn, MLP)]
        claims[f"{head}_first"] = reads("embed", written, *mlps)
        claims |= {name: reads("embed", written, *mlps[:i]) for i, name in enumerate(mlps)}
    return {**claims, "embed": STRING, written: STRING}
