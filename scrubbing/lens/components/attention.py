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
from scrubbing.errors.arguments import checked
from scrubbing.lens.components.positions import At, Index, Restrictable, restricted
from scrubbing.lens.components.projection import Projection, merged, taken
from scrubbing.lens.components.residual import Difference, OutputProjection, PerHead, Real, Resid
from scrubbing.lens.components.scores import MaskValue, PatternValue, Queries, Scores, moved

PATTERN_QUERY_AXIS = 2


@dataclass(frozen=True, eq=False)
class Pattern(Component):
    """Attention probabilities `[batch, head, query, key]` of queries and keys, and of where padded rows are real."""

    scores: Scores

    def __call__(self, q: PerHead, k: PerHead, *real: Real) -> PatternValue:
        return self.scores.pattern(q, k, *real)


@dataclass(frozen=True)
class Offsets:
    """A mask by relative position: query - key is one of `distances`, or with `complement` none of them."""

    distances: frozenset[int]
    complement: bool = False

    def __invert__(self) -> "Offsets":
        return replace(self, complement=not self.complement)


@checked
def offset(*distances: int) -> Offsets:
    """The positions that many tokens back: `offset(0)` the current, `offset(1)` the previous one, and so on.

    >>> offset(0, 1).distances
    frozenset({0, 1})
    """
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
    """Each head's `z` of its queries, keys and values, and of where padded rows are real."""

    scores: Scores

    def __call__(self, q: PerHead, k: PerHead, v: PerHead, *real: Real) -> PerHead:
        return self.scores.z(q, k, v, *real)

    def restricted(self, arguments: tuple[Expression, ...], at: At, call: Caller) -> Expression:
        """Queries at the positions needed look at all keys; what masks them is made once for all heads."""
        q, k, v, *real = arguments
        mask = call(self.scores.mask, (at.index, at.weights, *real))
        return call(FusedHeadsAt(self.scores), (restricted(q, at, call), k, v, mask, at.index))


@dataclass(frozen=True, eq=False)
class FusedHeadsAt(Component):
    """Each head's `z` at some positions: of their queries, all keys and values, and the mask of these queries."""

    scores: Scores

    def __call__(self, q: Queries, k: PerHead, v: PerHead, mask: MaskValue, at: Index) -> Queries:
        return self.scores.z_under(mask, q, k, v, at)


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
        """All of its inputs, but for a scale, and for the column that says where padded rows are real."""
        return self.q.reader.terms(inputs - self.scores.mask.padded)

    @cached_property
    def writer(self) -> OutputProjection:
        """What writes the heads' `z`."""
        return OutputProjection(self.W_O)

    def __call__(self, *inputs: Tensor) -> Resid:
        terms, real = self._divided(inputs)
        return self.writer(FusedHeads(self.scores)(self.q(*terms), self.k(*terms), self.v(*terms), *real))

    def lower(self, arguments: tuple[Expression, ...], call: Caller) -> Expression:
        """Queries, keys and values are shared with whoever else asks for them."""
        terms, real = self._divided(arguments)
        parts = tuple(call(part, terms) for part in (self.q, self.k, self.v))
        return call(self.writer, (call(FusedHeads(self.scores), (*parts, *real)),))

    def pattern(self, *inputs: Tensor) -> PatternValue:
        """The attention probabilities `[batch, head, query, key]` on the inputs of the heads."""
        terms, real = self._divided(inputs)
        return Pattern(self.scores)(self.q(*terms), self.k(*terms), *real)

    def heads(self, heads: Sequence[int]) -> "Attention":
        """The same for some of the heads."""
        q, k, v = (part.heads(heads) for part in (self.q, self.k, self.v))
        return Attention(q, k, v, taken(self.W_O, heads), self.scores.heads(heads))

    def _divided(self, inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """What projections read, and where padded rows are real."""
        last = len(inputs) - self.scores.mask.padded
        return inputs[:last], inputs[last:]


def merge(parts: Sequence[Attention]) -> Attention:
    """Heads that read one stream, as one group.

    Raises `GraphError` where they score keys in different ways.
    """
    first = parts[0].scores
    if any(replace(part.scores, slopes=None) != replace(first, slopes=None) for part in parts):
        raise GraphError(f"these heads make scores in different ways: {', '.join(str(part.scores) for part in parts)}")
    slopes = None if first.slopes is None else tuple(slope for part in parts for slope in part.scores.slopes or ())
    q, k, v = (merged([getattr(part, name) for part in parts]) for name in "qkv")
    return Attention(q, k, v, torch.cat([part.W_O for part in parts]), replace(first, slopes=slopes))
