"""Computational graphs: named pure functions whose parameter names are their edges.

The network and the explanation are both graphs. A name that a graph reads and does not compute is a column of the data.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from heapq import heapify, heappop, heappush
from typing import Any

import networkx as nx

from scrubbing.errors import GraphError, UnknownNameError, displayed, nearest
from scrubbing.errors.arguments import checked
from scrubbing.graph.nodes import Node


class Graph(Mapping[str, Node]):
    """Named functions, joined by their parameter names, with one output: the node that no other node reads.

    A parameter that names no node is a column of the data. A graph does not change; `graph | {name: function}` is
    another graph, with nodes added or replaced. It is called on a dict of columns, `[row, ...]` each.

    >>> double = Graph(twice=lambda x: 2 * x, loss=lambda twice, y: abs(twice - y))
    >>> double.output, double.columns
    ('loss', ('x', 'y'))
    >>> double({"x": 3, "y": 5})
    1
    >>> half = double | {"loss": lambda twice, y: abs(twice - y) / 2}
    >>> half({"x": 3, "y": 5})
    0.5

    Raises `GraphError` for circles, several outputs, names that are no identifiers, and functions whose parameters
    cannot be read.
    """

    def __init__(self, nodes: Mapping[str, Node | Callable[..., Any]] | None = None, /, **named: Any) -> None:
        written = {**(nodes or {}), **named}
        self._nodes = {name: Node.of(value, name=name) for name, value in written.items()}
        self._origin: Graph | None = None
        problems = list(_problems(self))
        if problems:
            raise GraphError("; ".join(problems))

    def __getstate__(self) -> dict[str, Any]:
        return {"_nodes": self._nodes, "_origin": self._origin}  # hashes of names are others in another process

    # -- what it is

    @cached_property
    def output(self) -> str:
        """The one node that no other reads."""
        return self._unread[0]

    @cached_property
    def _unread(self) -> list[str]:
        return [name for name in self._nodes if name not in self._read]

    @cached_property
    def _read(self) -> frozenset[str]:
        """The nodes and columns that some node reads."""
        return _read(self._nodes)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """All nodes, each after those that it reads; alphabetical where that leaves a choice."""
        unknown = {name: len(node.inputs) for name, node in self._nodes.items()}
        ready = [*self.columns, *(name for name, count in unknown.items() if not count)]
        heapify(ready)
        order: list[str] = []
        while ready:
            order.append(heappop(ready))
            for reader in self._readers.get(order[-1], ()):
                unknown[reader] -= 1
                if not unknown[reader]:
                    heappush(ready, reader)
        return tuple(name for name in order if name in self._nodes)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.order)}

    @cached_property
    def _readers(self) -> dict[str, list[str]]:
        """The nodes that read each node or column that is read."""
        readers: dict[str, list[str]] = {}
        for name, node in self._nodes.items():
            for read in node.inputs:
                readers.setdefault(read, []).append(name)
        return readers

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names that the graph reads and does not compute, sorted."""
        return tuple(sorted(self._read - self._nodes.keys()))

    @cached_property
    def upstream_columns(self) -> dict[str, frozenset[str]]:
        """For every node and column, the columns that its value depends on; equal sets are one object."""
        found = {column: frozenset([column]) for column in self.columns}
        known = {columns: columns for columns in found.values()}
        for name in self.order:
            columns = frozenset().union(*{found[i] for i in self._nodes[name].inputs})
            found[name] = known.setdefault(columns, columns)
        return found

    @checked
    def upstream(self, *names: str) -> tuple[str, ...]:
        """The nodes and all nodes that they depend on, each after what it reads. Raises `GraphError` for no node."""
        for name in names:
            self[name]
        return tuple(sorted(_upstream(self._nodes, names), key=self._place.__getitem__))

    @property
    def origin(self) -> "Graph":
        """The graph before its first rewrite; itself if it was never rewritten."""
        return self._origin or self

    @checked
    def readers(self, name: str) -> tuple[str, ...]:
        """The nodes that read a node or column, in order. Raises `GraphError` for an unknown name."""
        if name not in self._readers:
            self[name]
        return tuple(sorted(self._readers.get(name, ()), key=self._place.__getitem__))

    # -- a mapping of names to nodes

    def __getitem__(self, name: str) -> Node:
        try:
            return self._nodes[name]
        except (KeyError, TypeError):
            raise UnknownNameError(f"there is no node {name!r}{nearest(name, self._nodes)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._nodes

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __eq__(self, other: object) -> bool:
        return self._nodes == other._nodes if isinstance(other, Graph) else NotImplemented

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(frozenset(self._nodes.items()))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return displayed(self)

    def __repr__(self) -> str:
        lines = [f"  {name}({', '.join(self._nodes[name].inputs)})" for name in self.order]
        return "\n".join(
            [f"Graph of {len(self)} nodes, output {self.output!r}, columns {', '.join(self.columns)}", *lines]
        )

    # -- what can be done with it

    @checked
    def __or__(self, changes: Mapping[str, Node | Callable[..., Any]]) -> "Graph":
        """The graph with nodes added or replaced. Old nodes that nothing reads any more are dropped.

        Raises `GraphError` for a new node that nothing reads, beside the output.
        """
        new = {name: Node.of(value, name=name) for name, value in changes.items()}
        merged = self._nodes | new
        read = _read(merged)
        roots = [n for n in merged if n not in read and (n in new or n == self.output)]
        kept = _upstream(merged, roots) or merged.keys()  # a circle has no root
        return Graph({name: node for name, node in merged.items() if name in kept})

    def rewritten(self, changes: Mapping[str, Node | Callable[..., Any]]) -> "Graph":
        """`self | changes`, for changes that alter no value. `scrub` checks that it agrees with its `origin`."""
        graph = self | changes
        graph._origin = self.origin
        return graph

    @checked
    def __call__(self, data: Mapping[str, Any]) -> Any:
        """The value of the output on `data`, all rows at once."""
        return self.activations(data, self.output)[0]

    @checked
    def activations(self, data: Mapping[str, Any], *names: str) -> tuple[Any, ...]:
        """The values `[row, ...]` of the named nodes or columns on `data`, each computed once.

        Raises `GraphError` for unknown names and missing columns.
        """
        values: dict[str, Any] = {}
        for name in names:
            if name not in self and name not in self.columns:
                raise UnknownNameError(f"there is no node or column {name!r}{nearest(name, [*self, *self.columns])}")
        steps = self.upstream(*(name for name in names if name in self))
        read = {i for step in steps for i in self[step].inputs}.union(names) - self.keys()
        for column in sorted(read):
            if column not in data:
                raise GraphError(f"the data have no column {column!r}{nearest(column, data)}")
            values[column] = data[column]
        for name in steps:
            node = self._nodes[name]
            values[name] = node.fn(*(values[i] for i in node.inputs))
        return tuple(values[name] for name in names)


def _read(nodes: Mapping[str, Node]) -> frozenset[str]:
    return frozenset().union(*(node.read for node in nodes.values()))


def _upstream(nodes: Mapping[str, Node], names: Iterable[str]) -> set[str]:
    """Those of the names that are nodes, and all nodes that they depend on."""
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        if name in nodes:
            found.add(name)
            waiting |= nodes[name].read - found
    return found


def _problems(graph: Graph) -> Iterator[str]:
    """Everything that is wrong with a graph, in words."""
    if not graph:
        yield "a graph needs at least one node"
        return
    for name in [*graph, *graph.columns]:
        if not name.isidentifier():
            yield f"{name!r} is not a name that Python allows for a parameter"
    for name, node in graph.items():
        if len(node.read) < len(node.inputs):
            yield from (f"{name!r} reads {i!r} twice" for i, times in sorted(Counter(node.inputs).items()) if times > 1)
    if _has_circle(graph):
        cycle = [edge[0] for edge in nx.find_cycle(_edges(graph))]
        yield f"these nodes read each other in a circle: {' -> '.join([*cycle, cycle[0]])}"
    elif len(graph._unread) > 1:
        unread = sorted(graph._unread)
        misspelt = (
            f"; {name!r} reads {read!r}{hint}"
            for name, node in graph.items()
            for read in node.inputs
            if read not in graph and (hint := nearest(read, [n for n in unread if n != name]))
        )
        yield (
            f"a graph has one output, but nothing reads any of {', '.join(map(repr, unread))}"
            f"{next(misspelt, '; leave out what is not needed or read it')}"
        )


def _has_circle(graph: Graph) -> bool:
    """Whether some nodes can never be computed. (With sets, since networkx takes its time over many edges.)"""
    done, entered = set(graph.columns), set()
    waiting = [*reversed(graph._nodes)]
    while waiting:
        name = waiting[-1]
        missing = () if name in done else graph[name].read - done
        if not missing:
            done.add(waiting.pop())
        elif name in entered:
            return True
        else:
            entered.add(name)
            waiting += missing
    return False


def _edges(nodes: Mapping[str, Node]) -> nx.DiGraph:
    edges = nx.DiGraph()
    edges.add_nodes_from(nodes)
    edges.add_edges_from((i, name) for name, node in nodes.items() for i in node.inputs)
    return edges
