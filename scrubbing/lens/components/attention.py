"""Attention heads, whole and in parts: pattern, what a pattern moves under a mask, and what is written of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from scrubbing.engine.expressions import Call, Caller, Expression
from scrubbing.lens.components.base import Component
from scrubbing.lens.components.positions import At, restricted
from scrubbing.lens.components.projection import Projection
from scrubbing.lens.components.residual import Difference, OutputProjection, PerHead, Resid

PATTERN_QUERY_AXIS = 2

PatternValue = Float[Tensor, "batch head query key"]


@dataclass(frozen=True, eq=False)
class Pattern(Component):
    """Attention probabilities `[batch, head, query, key]`: the causal softmax of scaled scores."""

    scale: float

    def __call__(self, q: PerHead, k: PerHead) -> PatternValue:
        scores = rearrange(q * self.scale, "b s h e -> b h s e") @ rearrange(k, "b s h e -> b h e s")
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        return scores.masked_fill_(future, -torch.inf).softmax(dim=-1)


@dataclass(frozen=True)
class Offsets:
    """A mask by relative position: query - key is one of `distances`, or with `complement` none of them."""

    distances: frozenset[int]
    complement: bool = False

    def __invert__(self) -> "Offsets":
        return replace(self, complement=not self.complement)


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
            z = call(FusedHeads(pattern.fn.scale), (*pattern.arguments, v))
        else:
            z = call(AttendedValues(self.mask), arguments)
        return call(self.writer, (z,))


@dataclass(frozen=True, eq=False)
class AttendedValues(Component):
    """The values moved by a pattern under a mask: each head's `z`."""

    mask: Offsets | None

    def __call__(self, pattern: PatternValue, v: PerHead) -> PerHead:
        if self.mask is None:
            return _all_moved(pattern, v)
        moved = torch.zeros_like(v)
        for distance in sorted(self.mask.distances):
            if 0 <= distance < v.shape[1]:
                weight = rearrange(pattern.diagonal(-distance, -2, -1), "b h s -> b s h 1")
                moved[:, distance:] += weight * v[:, : v.shape[1] - distance]
        return _all_moved(pattern, v) - moved if self.mask.complement else moved


@dataclass(frozen=True, eq=False)
class FusedHeads(Component):
    """Each head's `z` of its queries, keys and values: the pattern is never held."""

    scale: float

    def __call__(self, q: PerHead, k: PerHead, v: PerHead) -> PerHead:
        return _attended(q, k, v, is_causal=True, scale=self.scale)

    def restricted(self, arguments: tuple[Expression, ...], at: At, call: Caller) -> Expression:
        """Queries at the positions needed look back at all keys."""
        q, k, v = arguments
        return call(FusedHeadsAt(self.scale), (restricted(q, at, call), k, v, at.mask))


@dataclass(frozen=True, eq=False)
class FusedHeadsAt(Component):
    """Each head's `z` at some positions: their queries, all keys and values, and what masks the keys after them."""

    scale: float

    def __call__(
        self,
        q: Float[Tensor, "batch evaluated head d_head"],
        k: PerHead,
        v: PerHead,
        mask: Float[Tensor, "batch 1 evaluated position"],
    ) -> Float[Tensor, "batch evaluated head d_head"]:
        if q.shape == k.shape:
            return _attended(q, k, v, is_causal=True, scale=self.scale)
        return _attended(q, k, v, attn_mask=mask.to(q.dtype), scale=self.scale)


@dataclass(frozen=True, eq=False)
class Attention(Component):
    """One or several heads of a layer, from the residual stream to what they write: `[batch, position, d_model]`.

    The layer's output bias is not theirs (see `ResidualReader`); their value bias is.
    """

    q: Projection
    k: Projection
    v: Projection
    W_O: Float[Tensor, "head d_head d_model"]
    scale: float

    sums_inputs: ClassVar[bool] = True

    @cached_property
    def writer(self) -> OutputProjection:
        """What writes the heads' `z`."""
        return OutputProjection(self.W_O)

    def __call__(self, *terms: Resid) -> Resid:
        return self.writer(FusedHeads(self.scale)(self.q(*terms), self.k(*terms), self.v(*terms)))

    def lower(self, arguments: tuple[Expression, ...], call: Caller) -> Expression:
        """Queries, keys and values are shared with whoever else asks for them."""
        parts = tuple(call(part, arguments) for part in (self.q, self.k, self.v))
        return call(self.writer, (call(FusedHeads(self.scale), parts),))

    def heads(self, heads: Sequence[int]) -> "Attention":
        """The same for some of the heads."""
        return Attention(
            self.q.heads(heads), self.k.heads(heads), self.v.heads(heads), self.W_O[list(heads)], self.scale
        )


def merge(parts: Sequence[Attention]) -> Attention:
    """Heads that read one stream, as one group."""
    first = parts[0]

    def projections(name: str) -> Projection:
        many = [getattr(part, name) for part in parts]
        biases = [p.b for p in many if p.b is not None]
        return replace(many[0], W=torch.cat([p.W for p in many]), b=torch.cat(biases) if biases else None)

    return Attention(
        projections("q"), projections("k"), projections("v"), torch.cat([p.W_O for p in parts]), first.scale
    )


def _attended(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    q, k, v = (rearrange(part, "b s h e -> b h s e") for part in (q, k, v))
    return rearrange(F.scaled_dot_product_attention(q, k, v, **options), "b h s e -> b s h e")


def _all_moved(pattern: PatternValue, v: PerHead) -> PerHead:
    return rearrange(pattern @ rearrange(v, "b s h e -> b h s e"), "b h s e -> b s h e")
