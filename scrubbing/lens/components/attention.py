"""Attention heads, whole and in parts: pattern, what a pattern moves, and what is written of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.expressions import Call, Caller, Expression
from scrubbing.errors import GraphError
from scrubbing.lens.components.positions import At, Restrictable, restricted
from scrubbing.lens.components.projection import Projection
from scrubbing.lens.components.residual import Difference, OutputProjection, PerHead, Resid
from scrubbing.lens.components.scores import MaskValue, PatternValue, Queries, Scores, Tokens, moved

PATTERN_QUERY_AXIS = 2


@dataclass(frozen=True, eq=False)
class Pattern(Component):
    """Attention probabilities `[batch, head, query, key]` of queries and keys, and of the tokens of padded rows."""

    scores: Scores

    def __call__(self, q: PerHead, k: PerHead, *tokens: Tokens) -> PatternValue:
        return self.scores.pattern(q, k, *tokens)


@dataclass(frozen=True)
class Offsets:
    """A mask by relative position: query - key is one of `distances`, or with `complement` none of them."""

    distances: frozenset[int]
    complement: bool = False

    def __invert__(self) -> "Offsets":
        return replace(self, complement=not self.complement)


def offset(*distances: int) -> Offsets:
    """The positions that many tokens back: `offset(0)` the current, `offset(1)` the previous one, and so on."""
    return Offsets(frozenset(distances))


@dataclass(frozen=True, eq=False)
class HeadOutput(Component):
    """What heads write `[batch, position, d_model]`: the values moved by the pattern, under a mask if there is one.

    A masked pattern is not renormalised.
    """

    W_O: Float[Tensor, "head d_head d_model"]
    mask: Offsets | None = None

    @cached_property
    def writer(self) -> OutputProjection:
        """What writes what was moved."""
        return OutputProjection(self.W_O)

    def __call__(self, pattern: PatternValue, v: PerHead) -> Resid:
        return self.writer(AttendedValues(self.mask)(pattern, v))

    def lower(self, arguments: tuple[Expression, ...], call: Caller) -> Expression:
        """What is off a mask is the whole less what is under it; the whole needs no pattern to be held."""
        pattern, v = arguments
        if self.mask is not None and self.mask.complement:
            return call(Difference(), tuple(call(replace(self, mask=m), arguments) for m in (None, ~self.mask)))
        if self.mask is None and isinstance(pattern, Call) and isinstance(pattern.fn, Pattern):
            z = call(FusedHeads(pattern.fn.scores), (*pattern.arguments[:2], v, *pattern.arguments[2:]))
        else:
            z = call(AttendedValues(self.mask), arguments)
        return call(self.writer, (z,))


@dataclass(frozen=True, eq=False)
class AttendedValues(Component):
    """The values moved by a pattern under a mask: each head's `z`."""

    mask: Offsets | None

    def __call__(self, pattern: PatternValue, v: PerHead) -> PerHead:
        if self.mask is None:
            return moved(pattern, v)
        z, positions = torch.zeros_like(v), v.shape[1]
        for distance in sorted(self.mask.distances):
            if abs(distance) < positions:
                weight = rearrange(pattern.diagonal(-distance, -2, -1), "b h s -> b s h 1")
                start, stop = max(0, distance), positions + min(0, distance)
                z[:, start:stop] += weight * v[:, start - distance : stop - distance]
        return moved(pattern, v) - z if self.mask.complement else z


@dataclass(frozen=True, eq=False)
class FusedHeads(Restrictable):
    """Each head's `z` of its queries, keys and values, and of the tokens of padded rows."""

    scores: Scores

    def __call__(self, q: PerHead, k: PerHead, v: PerHead, *tokens: Tokens) -> PerHead:
        return self.scores.z(q, k, v, *tokens)

    def restricted(self, arguments: tuple[Expression, ...], at: At, call: Caller) -> Expression:
        """Queries at the positions needed look at all keys; what masks them is made once for all heads."""
        q, k, v, *tokens = arguments
        mask = call(self.scores.mask, (at.index, at.weights, *tokens))
        return call(FusedHeadsAt(self.scores), (restricted(q, at, call), k, v, mask))


@dataclass(frozen=True, eq=False)
class FusedHeadsAt(Component):
    """Each head's `z` at some positions: of their queries, all keys and values, and the mask of these queries."""

    scores: Scores

    def __call__(self, q: Queries, k: PerHead, v: PerHead, mask: MaskValue) -> Queries:
        return self.scores.z_under(mask, q, k, v)


@dataclass(frozen=True, eq=False)
class Attention(Component):
    """One or several heads of a layer, from the residual stream to what they write: `[batch, position, d_model]`.

    The layer's output bias is not theirs (see `ResidualReader`); their value bias is.
    """

    q: Projection
    k: Projection
    v: Projection
    W_O: Float[Tensor, "head d_head d_model"]
    scores: Scores

    def terms(self, inputs: int) -> slice:
        """All of its inputs, but for the column of tokens where rows are padded."""
        return slice(inputs - self.scores.mask.padded)

    @cached_property
    def writer(self) -> OutputProjection:
        """What writes the heads' `z`."""
        return OutputProjection(self.W_O)

    def __call__(self, *inputs: Tensor) -> Resid:
        terms, tokens = self._divided(inputs)
        return self.writer(FusedHeads(self.scores)(self.q(*terms), self.k(*terms), self.v(*terms), *tokens))

    def lower(self, arguments: tuple[Expression, ...], call: Caller) -> Expression:
        """Queries, keys and values are shared with whoever else asks for them."""
        terms, tokens = self._divided(arguments)
        parts = tuple(call(part, terms) for part in (self.q, self.k, self.v))
        return call(self.writer, (call(FusedHeads(self.scores), (*parts, *tokens)),))

    def heads(self, heads: Sequence[int]) -> "Attention":
        """The same for some of the heads."""
        q, k, v = (part.heads(heads) for part in (self.q, self.k, self.v))
        return Attention(q, k, v, self.W_O[list(heads)], self.scores)

    def _divided(self, inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The terms of the stream, and the tokens where rows are padded."""
        last = self.terms(len(inputs)).stop
        return inputs[:last], inputs[last:]


def merge(parts: Sequence[Attention]) -> Attention:
    """Heads that read one stream, as one group.

    Raises `GraphError` where they score keys in different ways.
    """
    first = parts[0]
    if any(part.scores != first.scores for part in parts):
        raise GraphError(f"these heads make scores in different ways: {', '.join(str(part.scores) for part in parts)}")

    def projections(name: str) -> Projection:
        many = [getattr(part, name) for part in parts]
        biases = [p.b for p in many if p.b is not None]
        return replace(many[0], W=torch.cat([p.W for p in many]), b=torch.cat(biases) if biases else None)

    W_O = torch.cat([part.W_O for part in parts])
    return Attention(projections("q"), projections("k"), projections("v"), W_O, first.scores)
