"""Components: functions that the engine knows more about. Any other function is only called."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from scrubbing.graph.fingerprint import tensor_hash
from scrubbing.graph.nodes import function_key

if TYPE_CHECKING:
    from scrubbing.engine.expressions import Call, Caller, Expression


@dataclass(frozen=True, eq=False)
class Component:
    """A function of tensors whose equality is that of its fields; tensors are compared by content.

    A subclass is a frozen dataclass with a `__call__`. It overrides the methods below that apply to it.
    """

    __call__: ClassVar[Callable[..., Any]]
    folds: ClassVar[bool] = False  # whether f(a, b, c) is f(f(a, b), c), which then shares f(a, b) with f(a, b, d)

    def lower(self, arguments: "tuple[Expression, ...]", call: "Caller") -> "Expression | None":
        """The same value, written in calls that are cheaper or shared with other nodes; None if there are none."""
        return None

    def fitted(self, column: Any) -> Callable[[Any], Any]:
        """The function to use on any rows of a column, given the whole of it."""
        return self

    def terms(self, inputs: int) -> slice:
        """Which of its inputs it adds up. A rewrite may replace such an input by several with the same sum."""
        return slice(0)

    @property
    def logits_per_position(self) -> int:
        """How many rows of logits it computes for each non-negative entry of its first input."""
        return 0

    def compared(
        self, network: "Call", others: "Sequence[Expression]", rows: int, call: "Caller"
    ) -> "dict[Expression, Mapping[str, Expression]]":
        """The readings, by name, of a network's loss and of those of the others that can be compared with it.

        All are computed in one pass over `rows` rows; "loss" is one of the readings.
        """
        return {}

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
        opaque = callable(value) and not isinstance(value, Component)
        return function_key(value) if opaque else (type(value), value)
    return value.dtype, tuple(value.shape), str(value.device), tensor_hash(value)
