"""Expressions: what is to be computed, on which rows. Equal expressions are one object, so that nothing is done twice.

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
class Call:
    """A node's function, applied."""

    fn: Callable[..., Any]
    arguments: "tuple[Expression, ...]"
    number: int = 0  # by time of making: an order that is the same in every run
    name: str = ""  # of the node that asked for it first


@dataclass(frozen=True, eq=False)
class Assembled:
    """A value put together along its position axis, each position from the datum that its stream has there."""

    value: "Expression"
    axis: int
    positions: int

    @property
    def arguments(self) -> "tuple[Expression, ...]":
        return ()  # its value is computed by position, in a run of its own


@dataclass(frozen=True, eq=False)
class Averaged:
    """The mean of a value over the rows that agree with the stream's in `classes` (all rows: one class)."""

    value: "Expression"
    classes: Classes
    stream: Stream

    @property
    def arguments(self) -> "tuple[Expression, ...]":
        return ()  # its value is computed on the dataset, in a run of its own


@dataclass(frozen=True, eq=False)
class Gathered:
    """A value of a pool of streams, at the rows of one of them, or of a smaller pool."""

    value: "Expression"
    pool: Pool
    stream: Stream | Pool

    @property
    def arguments(self) -> "tuple[Expression, ...]":
        return (self.value,)


Expression = Leaf | Call | Assembled | Averaged | Gathered

# Makes an expression of a function and expressions: how a function says what it computes in terms of others.
Caller = Callable[[Callable[..., Any], tuple[Expression, ...]], Expression]


@dataclass(frozen=True)
class Item:
    """A part of a value that holds several, which may hold several themselves."""

    path: tuple[Any, ...]

    def __call__(self, value: Any) -> Any:
        return reduce(getitem, self.path, value)


class Expressions:
    """All expressions of a run; asked for the same value twice, it gives the same object twice."""

    def __init__(self) -> None:
        self._known: dict[Any, Expression] = {}
        self._forwards: dict[Any, tuple[Graph, dict[str, Expression]]] = {}  # the graph stays, so that its id does

    def plain(self, graph: Graph, stream: Stream) -> Expression:
        """The graph's output by an ordinary forward pass on one stream."""
        return self.forward(graph, graph.output, dict.fromkeys(graph.columns, stream))

    def forward(self, graph: Graph, name: str, streams: Mapping[str, Stream]) -> Expression:
        """A node's value where each column comes from the stream given for it."""
        if name not in graph:
            return self.leaf(name, streams[name])

        upstream = graph.upstream_columns
        tables: dict[frozenset[str], dict[str, Expression]] = {}

        def table(step: str) -> dict[str, Expression]:
            """What is known of nodes that depend on the same columns, on these streams of theirs."""
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
                    known[i] = value  # found once for all that depend on the same columns as this step
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
        """How losses compare with the network's, where they say how; there will be so many `rows` of them."""
        if isinstance(network, Call) and isinstance(network.fn, Component):
            return network.fn.compared(network, others, rows, self.call)
        return {}

    def leaf(self, column: str, stream: Stream) -> Expression:
        """A column on a stream."""
        return self._known.setdefault((column, stream), Leaf(column, stream))

    def call(self, fn: Callable[..., Any], arguments: tuple[Expression, ...], name: str = "") -> Expression:
        """A function of expressions for the node of that name, in the calls that it prefers to be written in."""
        key = (fn if isinstance(fn, Component) else function_key(fn), *map(id, arguments))
        if key not in self._known:
            lowered = fn.lower(arguments, self.call) if isinstance(fn, Component) else None
            self._known[key] = lowered or Call(fn, arguments, len(self._known), name)
        return self._known[key]

    def assembled(self, value: Expression, axis: int, positions: int) -> Expression:
        """An expression whose positions come from streams of their own."""
        return self._known.setdefault((id(value), axis), Assembled(value, axis, positions))

    def averaged(self, value: Expression, classes: Classes, stream: Stream) -> Expression:
        """The mean of a value over an agreement class."""
        return self._known.setdefault((id(value), classes, stream), Averaged(value, classes, stream))


def evaluation_order(roots: Iterable[Expression]) -> list[Expression]:
    """Every expression that the roots need, each after its arguments."""
    order: dict[Expression, None] = {}
    stack = [(root, False) for root in reversed(list(roots))]
    while stack:
        step, ready = stack.pop()
        if ready:
            order[step] = None
        elif step not in order:
            stack.append((step, True))
            stack.extend((argument, False) for argument in reversed(step.arguments))
    return list(order)


def streams_by_step(roots: Iterable[Expression]) -> dict[Expression, frozenset[Stream | Pool]]:
    """The streams of rows that each value is computed from, those of its single positions included."""
    found: dict[Expression, frozenset[Stream | Pool]] = {}
    for step in evaluation_order(roots):
        match step:
            case Leaf() | Averaged() | Gathered():
                found[step] = frozenset([step.stream])
            case Assembled():
                found[step] = streams_of(step.value)
            case Call():
                found[step] = frozenset().union(*(found[argument] for argument in step.arguments))
    return found


def streams_of(value: Expression) -> frozenset[Stream | Pool]:
    """The streams of rows that a value is computed from."""
    return streams_by_step([value])[value]
