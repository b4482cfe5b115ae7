"""The nodes of a graph: functions whose parameter names are their edges, and what a claim says besides."""

import inspect
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

from torch import nn

from scrubbing.errors import GraphError
from scrubbing.graph.binning import Binning, Bins, Within


@dataclass(frozen=True)
class Reads:
    """The function of `reads(...)`: of one input its value, of several their tuple, of none a constant."""

    def __call__(self, *values: Any) -> Any:
        return values[0] if len(values) == 1 else values


@dataclass(frozen=True, eq=False)
class Node:
    """One function and the names it reads, in the order of its parameters.

    `fn` is compared by identity if it is a plain function and by value and type if it is a frozen dataclass; equal
    functions of equal values are computed once. A function gets rows and gives an entry for each; with `constant` it
    gives a value that is the same for all of them. `position_axis` is the axis of the value that runs over positions of
    a sequence. `per_position` marks a claim about each position by itself, `binning` says which unequal numbers agree.
    `swaps` and `keeps` take parts of the scrubbing away: without `swaps` a claimed node's donor is its reader's own
    datum, and unclaimed inputs of its image named in `keeps` are computed on the node's own datum.
    """

    fn: Callable[..., Any]
    inputs: tuple[str, ...]
    position_axis: int | None = None
    per_position: bool = field(default=False, kw_only=True)
    binning: Binning | None = field(default=None, kw_only=True)
    swaps: bool = field(default=True, kw_only=True)
    keeps: frozenset[str] = field(default=frozenset(), kw_only=True)
    constant: bool = field(default=False, kw_only=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and (self is other or self._key == other._key)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _key(self) -> Hashable:
        return function_key(self.fn), *(getattr(self, f.name) for f in fields(self) if f.name != "fn")

    @cached_property
    def _hash(self) -> int:
        return hash(self._key)

    @cached_property
    def read(self) -> frozenset[str]:
        """The names that it reads, in no order."""
        return frozenset(self.inputs)

    @property
    def is_reads(self) -> bool:
        """Whether the node's value is that of its inputs."""
        return isinstance(self.fn, Reads)

    @property
    def claims_inputs_alone(self) -> bool:
        """Whether the node claims nothing but which inputs matter, so that agreement is agreement on all of them."""
        return self.is_reads and not self.per_position and self.binning is None

    @classmethod
    def of(cls, value: "Node | Callable[..., Any]", *, name: str) -> "Node":
        """The node that a user wrote as a plain function: its parameters are what it reads."""
        if isinstance(value, Node):
            return value
        if not callable(value):
            raise GraphError(
                f"{name!r} is {value!r}, which is neither a Node nor a function; "
                f"write {name}=lambda ...: ... or {name}=reads(...)"
            )
        return cls(value, _parameters(value, name))


def function_key(fn: Any) -> Hashable:
    """What tells functions apart: of a frozen dataclass its values with their types, for 2 and 2.0 compute otherwise.

    >>> @dataclass(frozen=True)
    ... class Scale:
    ...     by: float
    >>> Scale(2) == Scale(2.0), function_key(Scale(2)) == function_key(Scale(2.0))
    (True, False)
    """
    return (fn, _types(fn)) if is_dataclass(fn) else fn


def _types(value: Any) -> Hashable:
    if is_dataclass(value) and not isinstance(value, type):
        return type(value), *(_types(getattr(value, f.name)) for f in fields(value))
    if isinstance(value, tuple | list):
        return type(value), *map(_types, value)
    return repr(value) if isinstance(value, float) else type(value)  # -0.0 equals 0.0


def _parameters(fn: Callable[..., Any], name: str) -> tuple[str, ...]:
    try:
        # A torch module is called through a wrapper that takes anything; what it reads is what its `forward` names.
        parameters = inspect.signature(fn.forward if isinstance(fn, nn.Module) else fn).parameters.values()
    except (TypeError, ValueError) as error:
        raise GraphError(
            f"{name!r}: the parameters of {fn!r} cannot be read; name its inputs: Node(fn, ('a', 'b'))"
        ) from error
    unnamed = [p.name for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.KEYWORD_ONLY)]
    if unnamed:
        raise GraphError(
            f"{name!r}: {unnamed[0]!r} of its function is not a plain positional parameter; "
            f"name its inputs: Node(fn, ('a', 'b'))"
        )
    return tuple(p.name for p in parameters)


def reads(*names: str) -> Node:
    """A claim about which inputs matter, and none about what is made of them.

    >>> reads("logits", "labels").inputs
    ('logits', 'labels')
    """
    return Node(Reads(), names)


def per_position(claim: Node | Callable[..., Any]) -> Node:
    """A claim about each position by itself: at position p only `claim(...)[:, p]` matters.

    The function returns `[rows, positions]`; each position of each reference draws its own donor among the rows that
    agree there.
    """
    return replace(Node.of(claim, name="per_position"), per_position=True)


def within(claim: Node | Callable[..., Any], tolerance: float) -> Node:
    """A claim whose values agree if they lie in one cell of a grid of width `tolerance`.

    >>> within(lambda x: x, 0.5).binning
    Within(tolerance=0.5)
    """
    return replace(Node.of(claim, name="within"), binning=Within(tolerance))


def bins(claim: Node | Callable[..., Any], k: int) -> Node:
    """A claim whose values agree if they lie between the same of `k` quantiles of the dataset."""
    return replace(Node.of(claim, name="bins"), binning=Bins(k))
