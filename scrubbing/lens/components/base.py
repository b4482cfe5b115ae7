"""Functions that compare by value, weights included."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor

from scrubbing.graph.fingerprint import content_hash, tensor_bytes


@dataclass(frozen=True, eq=False)
class Component:
    """A function of tensors whose equality is that of its fields; tensors are compared by content.

    `sums_inputs` says that all its inputs are terms of one sum (a residual stream), so that a term may be replaced by
    several that add up to it.
    """

    sums_inputs: ClassVar[bool] = False

    @cached_property
    def _content(self) -> tuple[Any, ...]:
        return (type(self), *(_content(getattr(self, f.name)) for f in fields(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Component) and (self is other or self._content == other._content)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self._content)


def _content(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.dtype, tuple(value.shape), str(value.device), content_hash(tensor_bytes(value))
