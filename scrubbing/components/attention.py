"""Attention heads, whole and in parts: queries, keys, values, pattern, and what a pattern moves under a mask."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from scrubbing.components.base import Component
from scrubbing.components.residual import Difference, Resid, ResidualReader

PerHead = Float[Tensor, "batch position head d_head"]
PatternValue = Float[Tensor, "batch head query key"]

# Makes an expression of a function and expressions: how a component says what it computes in terms of others.
Caller = Callable[[Callable[..., Any], tuple[Any, ...]], Any]


@dataclass(frozen=True, eq=False)
class Rotary(Component):
    """Rotary position embedding of the first `dims` entries of each head (Su et al. 2021).

    `adjacent` pairs entries (0, 1), (2, 3), ...; otherwise (0, dims/2), (1, dims/2 + 1), ...
    """

    dims: int
    base: float = 10_000.0
    adjacent: bool = False

    def __call__(self, x: PerHead) -> PerHead:
        frequency = self.base ** -(torch.arange(0, self.dims, 2, dtype=torch.float64) / self.dims)
        angle = torch.arange(x.shape[1], dtype=torch.float64)[:, None, None] * frequency
        cos, sin = angle.cos().to(x), angle.sin().to(x)
        rotated, kept = x[..., : self.dims], x[..., self.dims :]
        layout = "b s h (n two) -> two b s h n" if self.adjacent else "b s h (two n) -> two b s h n"
        first, second = rearrange(rotated, layout, two=2)
        turned = torch.stack([first * cos - second * sin, second * cos + first * sin])
        left, right = layout.split(" -> ")
        return torch.cat([rearrange(turned, f"{right} -> {left}"), kept], dim=-1)


@dataclass(frozen=True, eq=False)
class Projection(Component):
    """Queries, keys or values `[batch, position, head, d_head]` of the residual stream.

    `position` is shortformer's table, added after the norm to queries and keys only (Press et al. 2021).
    """

    reader: ResidualReader
    W: Float[Tensor, "head d_model d_head"]
    b: Float[Tensor, "head d_head"] | None = None
    position: Float[Tensor, "n_ctx d_model"] | None = None
    rotary: Rotary | None = None

    sums_inputs: ClassVar[bool] = True

    def __call__(self, *terms: Resid) -> PerHead:
        return self.of_normalised(self.reader(*terms))

    def lower(self, arguments: tuple[Any, ...], call: Caller) -> Any:
        """The stream is read and normalised once for all that project it."""
        return call(self.of_normalised, (call(self.reader, arguments),))

    @property
    def of_normalised(self) -> "ProjectionOfNormalised":
        """The projection of a stream that has been normalised already."""
        return ProjectionOfNormalised(self.W, self.b, self.position, self.rotary)

    def heads(self, heads: Sequence[int]) -> "Projection":
        """The same for some of the heads."""
        chosen = list(heads)
        return replace(self, W=self.W[chosen], b=None if self.b is None else self.b[chosen])


@dataclass(frozen=True, eq=False)
class ProjectionOfNormalised(Component):
    """A projection without its reader (see `Projection`)."""

    W: Float[Tensor, "head d_model d_head"]
    b: Float[Tensor, "head d_head"] | None
    position: Float[Tensor, "n_ctx d_model"] | None
    rotary: Rotary | None

    def __call__(self, x: Resid) -> PerHead:
        if self.position is not None:
            x = x + self.position[: x.shape[1]]
        y = rearrange(x @ rearrange(self.W, "h d e -> d (h e)"), "b s (h e) -> b s h e", h=self.W.shape[0])
        if self.b is not None:
            y = y + self.b
        return y if self.rotary is None else self.rotary(y)


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
    """The positions that many tokens back: `offset(0)` the current, `offset(1)` the previous one, and so on."""
    return Offsets(frozenset(distances))


@dataclass(frozen=True, eq=False)
class HeadOutput(Component):
    """What heads write `[batch, position, d_model]`: the values moved by the pattern, under a mask if there is one.

    A masked pattern is not renormalised.
    """

    W_O: Float[Tensor, "head d_head d_model"]
    mask: Offsets | None = None

    def __call__(self, pattern: PatternValue, v: PerHead) -> Resid:
        return write(self._moved(pattern, v), self.W_O)

    def lower(self, arguments: tuple[Any, ...], call: Caller) -> Any:
        """What is off a mask is the whole less what is under it; the whole needs no pattern to be held."""
        pattern, v = arguments
        if self.mask is not None and self.mask.complement:
            return call(Difference(), tuple(call(replace(self, mask=m), arguments) for m in (None, ~self.mask)))
        made_by = getattr(pattern, "fn", None)
        if self.mask is None and isinstance(made_by, Pattern):
            return call(FusedHeads(self.W_O, made_by.scale), (*pattern.arguments, v))
        return None

    def _moved(self, pattern: PatternValue, v: PerHead) -> PerHead:
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
    """What heads write, of their queries, keys and values: pattern and output in one."""

    W_O: Float[Tensor, "head d_head d_model"]
    scale: float

    def __call__(self, q: PerHead, k: PerHead, v: PerHead) -> Resid:
        q, k, v = (rearrange(part, "b s h e -> b h s e") for part in (q, k, v))
        z = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale)
        return write(rearrange(z, "b h s e -> b s h e"), self.W_O)


@dataclass(frozen=True, eq=False)
class IdentityOutput(Component):
    """What heads would write if each position attended to itself alone."""

    W_O: Float[Tensor, "head d_head d_model"]

    def __call__(self, v: PerHead) -> Resid:
        return write(v, self.W_O)


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

    def __call__(self, *terms: Resid) -> Resid:
        return FusedHeads(self.W_O, self.scale)(self.q(*terms), self.k(*terms), self.v(*terms))

    def lower(self, arguments: tuple[Any, ...], call: Caller) -> Any:
        """Queries, keys and values are shared with whoever else asks for them."""
        parts = tuple(call(part, arguments) for part in (self.q, self.k, self.v))
        return call(FusedHeads(self.W_O, self.scale), parts)

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


def write(z: PerHead, W_O: Float[Tensor, "head d_head d_model"]) -> Resid:
    """Each head's `z` through its output matrix, summed over heads."""
    return rearrange(z, "b s h e -> b s (h e)") @ rearrange(W_O, "h e d -> (h e) d")


def _all_moved(pattern: PatternValue, v: PerHead) -> PerHead:
    return rearrange(pattern @ rearrange(v, "b s h e -> b h s e"), "b h s e -> b s h e")
