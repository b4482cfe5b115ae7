"""Expressions: what is to be computed, on which rows. Equal expressions are one object, computed once.

An expression is a column on a stream of rows, or a function of other expressions.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import Any

from scrubbing.engine.component import Component
from scrubbing.engine.sampling.agreement import Classes
from scrubbing.engine.sampling.streams import Pool, Stream
from scrubbing.graph import Graph
from scrubbing.graph.nodes import function_key


@dataclass(frozen=True, eq=False)
class Leaf:
    """A column of the data, on the rows of a stream."""

    column: str
    stream: Stream | Pool

    @property
    def arguments(self) -> "tuple[Expression, ...]":
        return ()


@dataclass(frozen=True, eq=False)
class Numbers:
    """What a stream consists of, as a value."""

    stream: Stream

    @property
    def arguments(self) -> "tuple[Expression, ...]":
        return ()


@dataclass(frozen=True, eq=False)
class Call:
    """A node's function, applied."""

    fn: Callable[..., Any]
    arguments: "tuple[Expression, ...]"
    number: int = 0  # in the order of creation, which is the same in every run
    name: str = ""  # of the first node that needed it


@dataclass(frozen=True, eq=False)
class Assembled:
    """A value whose positions come from different rows: position p from the row that the stream has at p."""

    value: "Expression"
    axis: int
    positions: int

    @property
    def arguments(self) -> "tuple[Expression, ...]":
        return ()  # computed position by position, separately


@dataclass(frozen=True, eq=False)
class Averaged:
    """The mean of a value over the class of the stream's row (over all rows, if `classes` has one class)."""

    value: "Expression"
    classes: Classes
    stream: Stream

    @property
    def arguments(self) -> "tuple[Expression, ...]":
        return ()  # computed on the whole dataset, separately

    @property
    def of(self) -> "tuple[Expression, Classes]":
        """What is averaged: whoever asks for one class's mean gets it from the same table."""
        return self.value, self.classes


@dataclass(frozen=True, eq=False)
class Gathered:
    """The rows of one stream, or of a smaller pool, taken from a value that was computed for a pool."""

    value: "Expression"
    pool: Pool
    stream: Stream | Pool

    @property
    def arguments(self) -> "tuple[Expression, ...]":
        return (self.value,)


Expression = Leaf | Numbers | Call | Assembled | Averaged | Gathered

# Makes an expression of a function and its arguments: `Component.lower` writes its value with these.
Caller = Callable[[Callable[..., Any], tuple[Expression, ...]], Expression]


@dataclass(frozen=True)
class Item:
    """One part of a value that is a tuple, or a tuple of tuples; `path` has the index at each level."""

    path: tuple[Any, ...]

    def __call__(self, value: Any) -> Any:
        return reduce(getitem, self.path, value)


class Expressions:
    """Makes the expressions of a run. The same value is always the same object."""

    def __init__(self) -> None:
        self._known: dict[Any, Expression] = {}
        self._folds: dict[Component, dict[tuple[Expression, Expression], Expression]] = {}
        self._forwards: dict[Any, tuple[Graph, dict[str, Expression]]] = {}  # the graph stays, or its id is used again

    def forward(self, graph: Graph, name: str, streams: Mapping[str, Stream]) -> Expression:
        """A node's value where each column comes from the stream given for it."""
        if name not in graph:
            return self.leaf(name, streams[name])

        upstream = graph.upstream_columns
        tables: dict[frozenset[str], dict[str, Expression]] = {}

        def table(step: str) -> dict[str, Expression]:
            """Values that are known already, for nodes that depend on the same columns and streams."""
            columns = upstream[step]
            if columns not in tables:
                key = id(graph), frozenset((c, streams[c]) for c in columns)
                tables[columns] = self._forwards.setdefault(key, (graph, {}))[1]
            return tables[columns]

        waiting = [name]  # a stack: networks may be deep
        while waiting:
            step = waiting[-1]
            inputs, known = graph[step].inputs, table(step)
            absent = () if step in known else [i for i in inputs if i not in known]
            for i in absent:
                value = table(i).get(i) if i in graph else self.leaf(i, streams[i])
                if value is not None:
                    known[i] = value  # shared by all nodes that depend on the same columns
            unknown = [i for i in absent if i not in known]
            waiting += reversed(unknown)
            if not unknown:
                waiting.pop()
                if step not in known:
                    known[step] = self.call(graph[step].fn, tuple(known[i] for i in inputs), step)
        return table(name)[name]

    def compared(
        self, network: Expression, others: Sequence[Expression], rows: int
    ) -> dict[Expression, Mapping[str, Expression]]:
        """The readings of losses against the network's own, for losses that have any; `rows` is their number."""
        if isinstance(network, Call) and isinstance(network.fn, Component):
            return network.fn.compared(network, others, rows, self.call)
        return {}

    def leaf(self, column: str, stream: Stream) -> Expression:
        """A column on a stream."""
        return self._known.setdefault((column, stream), Leaf(column, stream))

    def numbers(self, stream: Stream) -> Expression:
        """The numbers of a stream."""
        return self._known.setdefault((Numbers, stream), Numbers(stream))

    def call(self, fn: Callable[..., Any], arguments: tuple[Expression, ...], name: str = "") -> Expression:
        """A function applied to expressions, lowered if it is a `Component`; `name` is the node's."""
        if isinstance(fn, Component) and fn.folds and len(arguments) > 2:
            return self._folded(fn, arguments)
        key = (fn if isinstance(fn, Component) else function_key(fn), *map(id, arguments))
        found = self._known.get(key)
        if found is None:
            lowered = fn.lower(arguments, self.call) if isinstance(fn, Component) else None
            found = self._known[key] = lowered or Call(fn, arguments, len(self._known), name)
        return found

    def _folded(self, fn: Component, arguments: tuple[Expression, ...]) -> Expression:
        """As `call`, two arguments at a time. (Each term of each stream comes by here.)"""
        known = self._folds.setdefault(fn, {})
        total = arguments[0]
        for argument in arguments[1:]:
            pair = total, argument
            total = known.get(pair) or known.setdefault(pair, self.call(fn, pair))
        return total

    def assembled(self, value: Expression, axis: int, positions: int) -> Expression:
        """An expression whose positions come from different rows."""
        return self._known.setdefault((id(value), axis), Assembled(value, axis, positions))

    def averaged(self, value: Expression, classes: Classes, stream: Stream) -> Expression:
        """The mean of a value over an agreement class."""
        return self._known.setdefault((id(value), classes, stream), Averaged(value, classes, stream))


def evaluation_order(
    roots: Iterable[Expression], read: Callable[[Expression], Sequence[Expression]] = lambda step: step.arguments
) -> list[Expression]:
    """Every expression that the roots need, each after what it reads."""
    order: dict[Expression, None] = {}
    stack = [(root, False) for root in reversed(list(roots))]
    while stack:
        step, ready = stack.pop()
        if ready:
            order[step] = None
        elif step not in order:
            stack.append((step, True))
            stack.extend((argument, False) for argument in reversed(read(step)))
    return list(order)


def streams_by_step(roots: Iterable[Expression]) -> dict[Expression, frozenset[Stream | Pool]]:
    """The streams that each value is computed from, with those of single positions."""
    found: dict[Expression, frozenset[Stream | Pool]] = {}
    for step in evaluation_order(roots):
        match step:
            case Leaf() | Numbers() | Averaged() | Gathered():
                found[step] = frozenset([step.stream])
            case Assembled():
                found[step] = streams_of(step.value)
            case Call():
                found[step] = frozenset().union(*(found[argument] for argument in step.arguments))
    return found


def streams_of(value: Expression) -> frozenset[Stream | Pool]:
    """The streams of rows that a value is computed from."""
    return streams_by_step([value])[value]
