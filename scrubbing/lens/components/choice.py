"""Runs that differ in a few nodes as one: each draw takes the value of its own run."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.expressions import Call, Caller, Expression
from scrubbing.engine.sampling.values import mapped
from scrubbing.lens.components.positions import At, Restrictable, restricted
from scrubbing.lens.components.residual import OutputProjection


@dataclass(frozen=True, eq=False)
class Choice(Restrictable):
    """The number of each draw, a value, and others: draws whose number is in the first set take the first of these."""

    sets: tuple[tuple[int, ...], ...]

    def lower(self, arguments: tuple[Expression, ...], call: Caller) -> Expression | None:
        """What one head writes is chosen before it is written, where it is narrow."""
        number, *values = arguments
        writes = {_write(value) for value in values}
        write = writes.pop()
        if writes or write is None:
            return None
        return call(write, (call(self, (number, *(value.arguments[0] for value in values))),))

    def restricted(self, arguments: tuple[Expression, ...], at: At, call: Caller) -> Expression:
        """The choice among values at the positions needed."""
        number, *values = arguments
        return call(self, (number, *(restricted(value, at, call) for value in values)))

    def __call__(self, number: Int[Tensor, " draw"], value: Any, *others: Any) -> Any:
        members = [torch.isin(number, torch.tensor(numbers)) for numbers in self.sets]

        def chosen(value: Tensor, *others: Tensor) -> Tensor:
            rows = len(number), *value.shape[1:]
            value = value.expand(rows).clone()
            for of, other in zip(members, others, strict=True):
                value[of] = other.expand(rows)[of]
            return value

        return mapped(chosen, value, *others)


def _write(value: Expression) -> Component | None:
    match value:
        case Call(OutputProjection() as write, _) if write.of_heads:
            return write
    return None
