"""A head as a sum of what it does: of its rows of each behaviour, what they write beyond attending to the first token.

A hypothesis leaves some behaviours out: at their rows, attending to the first token alone would do as well.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hypotheses.heads import Head, head_name
from hypotheses.polysemantic.behaviours import ACTIVE, BEHAVIOURS, INACTIVE, UNKNOWN, Rule, classified, key_sets
from hypotheses.polysemantic.tokens import Kinds
from scrubbing import Graph, Hypothesis, Node, paths
from scrubbing.engine.component import Component
from scrubbing.lens.components.attention import HeadOutput
from scrubbing.lens.components.residual import RESID_POSITION_AXIS, OutputProjection, PerHead, Resid
from scrubbing.rewrite import split_qkv
from scrubbing.rewrite.editing import replace_by_sum

PARTS = tuple(name for name in BEHAVIOURS if name != INACTIVE)
CLASSIFIED = "all of these"


@dataclass(frozen=True, eq=False)
class Resting(Component):
    """What a head writes at every position if it attends to the first token alone."""

    W_O: Float[Tensor, "head d_head d_model"]

    def __call__(self, v: PerHead) -> Resid:
        return OutputProjection(self.W_O)(v[:, :1]).expand(-1, v.shape[1], -1)


@dataclass(frozen=True, eq=False)
class Doing(Component):
    """What the rows of some behaviours write beyond that, and zero at all others."""

    W_O: Float[Tensor, "head d_head d_model"]
    special: Bool[Tensor, " d_vocab"]
    indent: Int[Tensor, " d_vocab"]
    rule: Rule
    behaviours: tuple[str, ...]

    def __call__(self, pattern: Float[Tensor, "row head query key"], v: PerHead, tokens: Tensor) -> Resid:
        sets = key_sets(tokens, Kinds(self.special, self.indent), self.rule)
        labels = classified(pattern, sets, self.rule)[:, 0]
        chosen = torch.isin(labels, torch.tensor([BEHAVIOURS.index(b) for b in self.behaviours], device=labels.device))
        written = OutputProjection(self.W_O)(torch.einsum("bhqk,bkhe->bqhe", pattern, v - v[:, :1]))
        return written.where(chosen[:, :, None], 0)


def part(head: Head, behaviour: str) -> str:
    """The node of what a head's rows of a behaviour write."""
    return f"{head_name(head)}_{behaviour.replace('+', '_and_').replace(' ', '_')}"


def in_parts(G: Graph, head: Head, kinds: Kinds, rule: Rule) -> Graph:
    """The network with a head as its rest and a part for each behaviour; inactive rows are part of the rest.

    (They attend to other special tokens than the first as well: what is left of that is a part of its own.)
    """
    name = head_name(head)
    G = split_qkv(G, name)
    fn, (pattern, v) = G[name].fn, G[name].inputs
    assert isinstance(fn, HeadOutput)
    terms = {f"{name}_rest": Node(Resting(fn.W_O), (v,), RESID_POSITION_AXIS)}
    for behaviour in BEHAVIOURS:
        doing = Doing(fn.W_O, kinds.special, kinds.indent, rule, (behaviour,))
        terms[part(head, behaviour)] = Node(doing, (pattern, v, "tokens"), RESID_POSITION_AXIS)
    return replace_by_sum(G, name, terms)


def keeping(G: Graph, head: Head, behaviours: Collection[str]) -> Hypothesis:
    """The claim that a head matters at rows of these behaviours alone; score it with `unclaimed="zero"`."""
    lost = [part(head, behaviour) for behaviour in BEHAVIOURS if behaviour not in behaviours]
    return paths(G, lost, "logits", through="*")


def hypotheses(G: Graph, head: Head) -> dict[str, Hypothesis]:
    """That a head matters at rows of one behaviour alone, of all that are classified, and of none."""
    claims: dict[str, Any] = {name: keeping(G, head, [name]) for name in (*ACTIVE, UNKNOWN)}
    return {**claims, CLASSIFIED: keeping(G, head, [*ACTIVE, INACTIVE])}
