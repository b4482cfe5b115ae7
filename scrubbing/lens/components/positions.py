"""Positions needed: what is read only where the loss is evaluated is computed only there."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int, Real
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.expressions import Call, Caller, Expression

Index = Int[Tensor, "batch evaluated"]
Weights = Real[Tensor, "batch position"] | Bool[Tensor, "batch position"]

AT_ONCE = 4096  # rows of a column that may be larger than memory


@dataclass(frozen=True, eq=False)
class EvaluatedPositions(Component):
    """The positions of each row whose weight is not zero, in order, and -1 to fill up to the `longest` row's number.

    Where most positions are evaluated they all stand in place, so that nothing has to be moved. The longest row is one
    of the dataset's, not of a chunk's; without it, of those given.
    """

    longest: int | None = None

    def fitted(self, column: Weights) -> "EvaluatedPositions":
        """The same for rows of a column."""
        return replace(self, longest=max(_longest(rows) for rows in column.split(AT_ONCE)))

    def __call__(self, weights: Weights) -> Index:
        evaluated = weights != 0
        positions = torch.arange(weights.shape[1], device=weights.device)
        longest = _longest(weights) if self.longest is None else self.longest
        if 2 * longest > len(positions):
            return positions.where(evaluated, -1)
        first = evaluated.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :longest]
        return first.where(evaluated.gather(1, first), -1)


def _longest(weights: Weights) -> int:
    return max(1, int((weights != 0).sum(1).max()))


@dataclass(frozen=True, eq=False)
class Take(Component):
    """A value at the positions needed: `[batch, position, ...]` becomes `[batch, evaluated, ...]`.

    With `weights` (see `At`) the value may be computed at these alone, if nobody needs all of it (see `narrowed`).
    """

    weights: Expression | None = None

    def lower(self, arguments: tuple[Expression, ...], call: Caller) -> Expression | None:
        """What is written to the stream is known by what it is written from, so that it can be compared."""
        value, index = arguments
        if self.weights is not None and isinstance(value, Call) and isinstance(value.fn, Linear):
            return value.fn.restricted(value.arguments, At(index, self), call)
        return None

    def __call__(self, value: Tensor, at: Index) -> Tensor:
        if at.shape[1] == value.shape[1]:
            return value  # all in place
        row = torch.arange(len(value), device=value.device)[:, None]
        return value[row, at.clamp(min=0)]


@dataclass(frozen=True)
class At:
    """The positions needed: their index, and what takes values there, with the weights that the index comes from."""

    index: Expression
    take: Take

    @property
    def weights(self) -> Expression:
        """The weights that the index comes from."""
        assert self.take.weights is not None  # for the type checker
        return self.take.weights


@dataclass(frozen=True, eq=False)
class Restrictable(Component):
    """A function that knows a cheaper way to its value at some positions than to all of it.

    As it stands here, one whose value at a position depends on its inputs at that position alone.
    """

    def restricted(self, arguments: tuple[Expression, ...], at: At, call: Caller) -> Expression:
        """Its value at the positions needed."""
        return call(self, tuple(restricted(argument, at, call) for argument in arguments))


@dataclass(frozen=True, eq=False)
class Linear(Restrictable):
    """A linear function of each position: what it makes of several values' sum is the sum of what it makes of each."""

    @property
    def is_cheap(self) -> bool:
        """Whether its value is made again where it is needed at some positions, though there is the whole of it."""
        return False


def restricted(value: Expression, at: At, call: Caller) -> Expression:
    """A value at the positions needed."""
    return call(at.take, (value, at.index))  # a call, so that it is known when asked for again
