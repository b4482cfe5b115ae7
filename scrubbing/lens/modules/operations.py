"""The function of a node: operations of torch as a line of code each, and the weights that they use."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.errors import DataError

# What the code may name beside its arguments: how torch writes types, devices and numbers.
NAMESPACE = {
    "torch": torch,
    "operator": operator,
    "math": math,
    "device": torch.device,
    "inf": math.inf,
    "nan": math.nan,
}


@dataclass(frozen=True, eq=False)
class Bound(Component):
    """A weight, or another tensor that is the same for all rows: compared by content, and hashed once."""

    value: Tensor


@dataclass(frozen=True)
class Expected:
    """What a column has to look like: all sizes but the number of rows stand fixed in the operations."""

    name: str
    shape: tuple[int, ...]  # of a row
    dtype: torch.dtype

    def check(self, value: Any) -> None:
        """Raise `DataError` for another shape or type."""
        shape, dtype = (tuple(value.shape[1:]), value.dtype) if isinstance(value, Tensor) else (None, type(value))
        if (shape, dtype) != (self.shape, self.dtype):
            given = f"{list(shape)} for each row, {dtype}" if shape is not None else f"a {type(value).__name__}"
            raise DataError(
                f"the column {self.name!r} is {given}, but the graph was made for {list(self.shape)}, {self.dtype}; "
                f"give such columns, or make another graph with from_module"
            )


@dataclass(frozen=True, eq=False)
class Operations(Component):
    """Operations on some values, with the tensors and the modules that they use.

    Two are equal if their code is, and what is bound: tensors by content, modules (which are called) by identity.
    """

    code: str  # of a function `run(*values, *bound)`
    bound: tuple[Any, ...]  # a `Bound`, or what calls a module
    expected: tuple[Expected | None, ...]  # for each value; None for one that is no column

    def __call__(self, *values: Any) -> Any:
        for expected, value in zip(self.expected, values, strict=True):
            if expected is not None:
                expected.check(value)
        return self._run(*values, *self._bound)

    @cached_property
    def _run(self) -> Callable[..., Any]:
        scope = dict(NAMESPACE)
        exec(compile(self.code, "<from_module>", "exec"), scope)
        return scope["run"]

    @cached_property
    def _bound(self) -> tuple[Any, ...]:
        return tuple(b.value if isinstance(b, Bound) else b for b in self.bound)

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # compiled again where it is read


@dataclass(frozen=True, eq=False)
class Opaque:
    """Operations that call a module: no component, so that the engine checks them on the data, as it does functions."""

    operations: Operations

    def __call__(self, *values: Any) -> Any:
        return self.operations(*values)
