"""The nodes of a graph: functions whose parameter names are their edges, and the options of a claim."""

import inspect
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

from torch import nn

from scrubbing.errors import GraphError
from scrubbing.errors.arguments import check_fields, checked
from scrubbing.graph.binning import Binning, Bins, Within


@dataclass(frozen=True)
class Reads:
    """The function of `reads(...)`: of one input its value, of several their tuple, of none a constant."""

    def __call__(self, *values: Any) -> Any:
        return values[0] if len(values) == 1 else values


@dataclass(frozen=True, eq=False)
class Node:
    """A function, and the names that it reads, in the order of its parameters.

    A plain function in a `Graph` becomes a node by itself; write `Node(...)` to name the inputs or to set an option.

    - `fn`: gets the values of its inputs for some rows, `[row, ...]` each, and returns `[row, ...]`. Two nodes are the
      same if they have one function object, or equal frozen dataclasses; what is the same is computed once
    - `inputs`: names of nodes, or of columns of the data
    - `position_axis`: the axis of the value that runs over positions of a sequence
    - `constant`: the value is the same for all rows, and has no axis of rows

    The others are options of a claim:

    - `per_position`, `binning`: set by `per_position`, `within` and `bins`
    - `swaps`: False leaves the node on the datum of the node that reads it
    - `keeps`: unclaimed inputs that stay on the node's own datum

    >>> from scrubbing import Graph, Node
    >>> Graph(twice=Node(lambda v: 2 * v, ("x",)), loss=lambda twice, y: abs(twice - y))
    Graph of 2 nodes, output 'loss', columns x, y
      twice(x)
      loss(twice, y)

    Raises `GraphError`, when it is put into a graph, for a function whose parameters cannot be read.
    """

    fn: Callable[..., Any]
    inputs: tuple[str, ...]
    position_axis: int | None = None
    per_position: bool = field(default=False, kw_only=True)
    binning: Binning | None = field(default=None, kw_only=True)
    swaps: bool = field(default=True, kw_only=True)
    keeps: frozenset[str] = field(default=frozenset(), kw_only=True)
    constant: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        check_fields(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and (self is other or self._key == other._key)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _key(self) -> Hashable:
        return function_key(self.fn), *(getattr(self, f.name) for f in fields(self) if f.name != "fn")

    @cached_property
    def _hash(self) -> int:
        try:
            return hash(self._key)
        except TypeError as error:
            raise GraphError(
                f"a function is a {type(self.fn).__name__!r}, which has no hash ({error}), and equal functions are "
                f"known by theirs; let what it holds not change: @dataclass(frozen=True), and tuples for lists"
            ) from error

    @cached_property
    def read(self) -> frozenset[str]:
        """The names that it reads, as a set."""
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
    """A key that equal functions share: for a frozen dataclass its fields with their types, since 2 and 2.0 differ.

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


@checked
def reads(*names: str) -> Node:
    """A claim that these inputs matter, and no claim about what is computed from them.

    >>> reads("logits", "labels").inputs
    ('logits', 'labels')
    """
    return Node(Reads(), names)


@checked
def per_position(claim: Node | Callable[..., Any]) -> Node:
    """A claim for each position of a sequence separately: at position p, only `claim(...)[:, p]` matters.

    The function returns `[row, position]`. Each position of a reference draws its own donor, from the rows with the
    same feature at that position.

    >>> import torch
    >>> from scrubbing import Graph, Hypothesis, Node, per_position, reads, scrub
    >>> G = Graph(
    ...     embed=Node(lambda tokens: 10 * tokens, ("tokens",), position_axis=1),
    ...     loss=lambda embed: embed.float().mean(1),
    ... )
    >>> h = Hypothesis(G, Graph(embed=per_position(lambda tokens: tokens % 2), loss=reads("embed")))
    >>> data = {"tokens": torch.tensor([[0, 1], [1, 2], [2, 3], [3, 4]])}
    >>> donors = scrub(h, data, baseline=h).donors["loss/embed"]  # [reference, position]
    >>> (data["tokens"].gather(0, torch.as_tensor(donors)) % 2).tolist()  # as in data: what is even stays even
    [[0, 1], [1, 0], [0, 1], [1, 0]]

    Raises `GraphError` for what is no function. `scrub` raises `DataError` for a feature without positions.
    """
    return replace(Node.of(claim, name="per_position"), per_position=True)


@checked
def within(claim: Node | Callable[..., Any], tolerance: float) -> Node:
    """A claim whose values are equal if they lie in the same cell of a grid of width `tolerance`.

    >>> within(lambda x: x, 0.5).binning
    Within(tolerance=0.5)

    Raises `HypothesisError` for a tolerance that is not above 0.
    """
    return replace(Node.of(claim, name="within"), binning=Within(tolerance))


@checked
def bins(claim: Node | Callable[..., Any], k: int) -> Node:
    """A claim whose values are equal if they lie in the same of `k` quantile bins of the dataset.

    Each entry of a vector has its own bins. With k=4, donors come from the same quarter of the data:

    >>> from scrubbing import Graph, Hypothesis, bins, reads, scrubbed_activations
    >>> G = Graph(a=lambda x: 2 * x, loss=lambda a, y: (a - y) ** 2)
    >>> h = Hypothesis(G, Graph(a=bins(lambda x: x, 4), loss=reads("a", "y")))
    >>> data = {"x": [0, 1, 2, 3, 4, 5, 6, 7], "y": [0] * 8}
    >>> scrubbed_activations(h, data, "a")["a"] // 4
    tensor([0, 0, 1, 1, 2, 2, 3, 3])

    Raises `HypothesisError` for fewer than one bin.
    """
    return replace(Node.of(claim, name="bins"), binning=Bins(k))
