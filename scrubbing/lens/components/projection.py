"""Queries, keys and values: projections of the normalised residual stream."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.expressions import Caller, Expression
from scrubbing.lens.components.positions import At, Restrictable, restricted
from scrubbing.lens.components.residual import PerHead, Resid, ResidualReader, Summing


@dataclass(frozen=True, eq=False)
class Rotary(Component):
    """Rotary position embedding of the first `dims` entries of each head (Su et al. 2021).

    `adjacent` pairs entries (0, 1), (2, 3), ...; otherwise (0, dims/2), (1, dims/2 + 1), ...
    """

    dims: int
    base: float = 10_000.0
    adjacent: bool = False

    def __call__(self, x: PerHead, at: Int[Tensor, "#batch position"] | None = None) -> PerHead:
        at = torch.arange(x.shape[1], device=x.device)[None] if at is None else at
        frequency = self.base ** -(torch.arange(0, self.dims, 2, dtype=torch.float64, device=x.device) / self.dims)
        angle = at[..., None, None] * frequency
        cos, sin = angle.cos().to(x), angle.sin().to(x)
        rotated, kept = x[..., : self.dims], x[..., self.dims :]
        layout = "b s h (n two) -> two b s h n" if self.adjacent else "b s h (two n) -> two b s h n"
        first, second = rearrange(rotated, layout, two=2)
        turned = torch.stack([first * cos - second * sin, second * cos + first * sin])
        left, right = layout.split(" -> ")
        return torch.cat([rearrange(turned, f"{right} -> {left}"), kept], dim=-1)


@dataclass(frozen=True, eq=False)
class Projection(Summing):
    """Queries, keys or values `[batch, position, head, d_head]` of the residual stream.

    `position` is shortformer's table, added after the norm to queries and keys only (Press et al. 2021).
    """

    reader: ResidualReader
    W: Float[Tensor, "head d_model d_head"]
    b: Float[Tensor, "head d_head"] | None = None
    position: Float[Tensor, "n_ctx d_model"] | None = None
    rotary: Rotary | None = None

    def __call__(self, *terms: Resid) -> PerHead:
        return self.of_normalised(self.reader(*terms))

    def lower(self, arguments: tuple[Expression, ...], call: Caller) -> Expression:
        """The stream is read and normalised once for all that project it."""
        return call(self.of_normalised, (call(self.reader, arguments),))

    @cached_property
    def of_normalised(self) -> "ProjectionOfNormalised":
        """The projection of a stream that has been normalised already, to which positions are added when projected."""
        of_position = None if self.position is None else torch.einsum("p d, h d e -> p h e", self.position, self.W)
        return ProjectionOfNormalised(self.W, self.b, of_position, self.rotary)

    def heads(self, heads: Sequence[int]) -> "Projection":
        """The same for some of the heads."""
        chosen = list(heads)
        return replace(self, W=self.W[chosen], b=None if self.b is None else self.b[chosen])


@dataclass(frozen=True, eq=False)
class ProjectionOfNormalised(Restrictable):
    """A projection without its reader (see `Projection`)."""

    W: Float[Tensor, "head d_model d_head"]
    b: Float[Tensor, "head d_head"] | None
    of_position: Float[Tensor, "n_ctx head d_head"] | None
    rotary: Rotary | None

    def __call__(self, x: Resid) -> PerHead:
        return self.at(x, torch.arange(x.shape[1], device=x.device)[None])

    def at(self, x: Resid, at: Int[Tensor, "#batch position"]) -> PerHead:
        """The projection of a stream that holds only some positions, those in `at`."""
        flat = x.flatten(0, 1)
        y = flat @ self._matrix if self._bias is None else torch.addmm(self._bias, flat, self._matrix)
        y = y.view(*x.shape[:2], *self.W.shape[::2])
        if self.of_position is not None:
            y += self.of_position[at.clamp(min=0)]
        return y if self.rotary is None else self.rotary(y, at)

    @cached_property
    def _matrix(self) -> Float[Tensor, "d_model projected"]:
        """All heads' matrices as one, laid out for a product."""
        return rearrange(self.W, "h d e -> d (h e)").contiguous()

    @cached_property
    def _bias(self) -> Float[Tensor, " projected"] | None:
        return None if self.b is None else self.b.flatten()

    def restricted(self, arguments: tuple[Expression, ...], at: At, call: Caller) -> Expression:
        """The same of the stream at the positions needed."""
        return call(ProjectionAt(self), (restricted(arguments[0], at, call), at.index))


@dataclass(frozen=True, eq=False)
class ProjectionAt(Component):
    """A projection of a normalised stream at some positions."""

    projection: ProjectionOfNormalised

    def __call__(self, x: Resid, at: Int[Tensor, "batch position"]) -> PerHead:
        return self.projection.at(x, at)
