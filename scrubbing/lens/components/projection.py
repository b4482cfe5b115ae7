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
from scrubbing.lens.components.norm import Norm
from scrubbing.lens.components.positions import At, Restrictable, restricted
from scrubbing.lens.components.residual import PerHead, ReadsStream, Resid
from scrubbing.lens.components.rotary import Rotary


@dataclass(frozen=True, eq=False)
class Heads(Component):
    """Some of the heads of a value that holds several, in this order; a head may be taken more than once."""

    heads: tuple[int, ...]

    def __call__(self, value: PerHead) -> Float[Tensor, "batch position some d_head"]:
        return taken(value, self.heads, dim=2)


def taken(value: Tensor, entries: Sequence[int], dim: int = 0) -> Tensor:
    """Entries of a tensor along a dimension; where they are consecutive, nothing is copied."""
    first = entries[0]
    if list(entries) == list(range(first, first + len(entries))):
        return value.narrow(dim, first, len(entries))
    return value.index_select(dim, torch.tensor(list(entries), device=value.device))


@dataclass(frozen=True, eq=False)
class HeadNorm(Component):
    """A norm of queries or keys: of each head (Qwen 3), or with `together` of all heads of the layer (OLMo 2)."""

    norm: Norm
    together: bool = False

    def __call__(self, y: PerHead) -> PerHead:
        return self.norm(y.flatten(2)).view_as(y) if self.together else self.norm(y)


@dataclass(frozen=True, eq=False)
class Projection(ReadsStream):
    """Queries, keys or values `[batch, position, head, d_head]` of the residual stream.

    `position` is shortformer's table, added after the norm to queries and keys only (Press et al. 2021). `chosen` are
    the heads taken of those that W makes: keys that several queries share are taken several times.
    """

    W: Float[Tensor, "head d_model d_head"]
    b: Float[Tensor, "head d_head"] | None = None
    position: Float[Tensor, "n_ctx d_model"] | None = None
    rotary: Rotary | None = None
    norm: HeadNorm | None = None
    chosen: tuple[int, ...] | None = None

    def __call__(self, *terms: Tensor) -> PerHead:
        y = self.of_normalised(self.reader(*terms))
        return y if self.chosen is None else Heads(self.chosen)(y)

    def lower(self, arguments: tuple[Expression, ...], call: Caller) -> Expression:
        """The stream is read and normalised once for all that project it."""
        y = call(self.of_normalised, (call(self.reader, arguments),))
        return y if self.chosen is None else call(Heads(self.chosen), (y,))

    @cached_property
    def of_normalised(self) -> "ProjectionOfNormalised":
        """The projection of a stream that has been normalised already, to which positions are added when projected."""
        of_position = None if self.position is None else torch.einsum("p d, h d e -> p h e", self.position, self.W)
        return ProjectionOfNormalised(self.W, self.b, of_position, self.rotary, self.norm)

    def heads(self, heads: Sequence[int]) -> "Projection":
        """The same for some of the heads, in this order."""
        made = heads if self.chosen is None else [self.chosen[head] for head in heads]
        if self.norm is not None and self.norm.together:
            return replace(self, chosen=tuple(made))
        needed = list(dict.fromkeys(made))
        chosen = None if needed == list(made) else tuple(needed.index(head) for head in made)
        return replace(
            self, W=taken(self.W, needed), b=None if self.b is None else taken(self.b, needed), chosen=chosen
        )

    @property
    def count(self) -> int:
        """How many heads it gives."""
        return len(self.W) if self.chosen is None else len(self.chosen)


def merged(parts: Sequence[Projection]) -> Projection:
    """Projections that read one stream in the same way, as one."""
    first = parts[0]
    if first.norm is not None and first.norm.together:
        return replace(first, chosen=tuple(head for part in parts for head in part.chosen or range(len(part.W))))
    W = torch.cat([part.W for part in parts])
    b = None if first.b is None else torch.cat([part.b for part in parts if part.b is not None])
    if all(part.chosen is None for part in parts):
        return replace(first, W=W, b=b)
    chosen: list[int] = []
    made = 0
    for part in parts:
        chosen += [made + head for head in part.chosen or range(len(part.W))]
        made += len(part.W)
    return replace(first, W=W, b=b, chosen=tuple(chosen))


@dataclass(frozen=True, eq=False)
class ProjectionOfNormalised(Restrictable):
    """A projection without its reader (see `Projection`)."""

    W: Float[Tensor, "head d_model d_head"]
    b: Float[Tensor, "head d_head"] | None
    of_position: Float[Tensor, "n_ctx head d_head"] | None
    rotary: Rotary | None
    norm: HeadNorm | None = None

    def __call__(self, x: Resid) -> PerHead:
        return self.at(x, torch.arange(x.shape[1], device=x.device)[None])

    def at(self, x: Resid, at: Int[Tensor, "#batch position"]) -> PerHead:
        """The projection of a stream that holds only some positions, those in `at`."""
        flat = x.flatten(0, 1)
        y = flat @ self._matrix if self._bias is None else torch.addmm(self._bias, flat, self._matrix)
        y = y.view(*x.shape[:2], *self.W.shape[::2])
        if self.of_position is not None:
            y += self.of_position[at.clamp(min=0)]
        y = y if self.norm is None else self.norm(y)
        return y if self.rotary is None else self.rotary(y, at)

    @cached_property
    def _matrix(self) -> Float[Tensor, "d_model projected"]:
        """All heads' matrices as one; a view where they lie so in memory."""
        return rearrange(self.W, "h d e -> d (h e)")

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
