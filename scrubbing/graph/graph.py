"""Computational graphs: named pure functions whose parameter names are their edges.

The network and the explanation are both graphs. A name that a graph reads and does not compute is a column of the data.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import networkx as nx

from scrubbing.errors import GraphError, UnknownNameError, nearest
from scrubbing.graph.binning import Binning, Bins, Within


@dataclass(frozen=True)
class Reads:
    """The function of `reads(...)`: of one input its value, of several their tuple, of none a constant."""

    def __call__(self, *values: Any) -> Any:
        return values[0] if len(values) == 1 else values


@dataclass(frozen=True)
class Node:
    """One function and the names it reads, in the order of its parameters.

    `fn` is compared by identity if it is a plain function and by value if it is a frozen dataclass; equal functions of
    equal values are computed once. `position_axis` is the axis of the value that runs over positions of a sequence.
    `per_position` marks a claim about each position by itself, `binning` says which unequal numbers agree.
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


def _parameters(fn: Callable[..., Any], name: str) -> tuple[str, ...]:
    try:
        # A torch module is called through a wrapper that takes anything; what it reads is what its `forward` names.
        parameters = inspect.signature(getattr(fn, "forward", fn)).parameters.values()
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

    >>> Graph(loss=reads("logits", "labels")).columns
    ('labels', 'logits')
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


class Graph(Mapping[str, Node]):
    """An immutable set of named nodes with one output: the node that no other reads.

    >>> double = Graph(twice=lambda x: 2 * x, loss=lambda twice, y: abs(twice - y))
    >>> double.output, double.columns
    ('loss', ('x', 'y'))
    """

    def __init__(self, nodes: Mapping[str, Node | Callable[..., Any]] | None = None, /, **named: Any) -> None:
        written = {**(nodes or {}), **named}
        self._nodes = {name: Node.of(value, name=name) for name, value in written.items()}
        problems = _problems(self._nodes)
        if problems:
            raise GraphError("; ".join(problems))
        self._origin: Graph | None = None

    # -- what it is

    @cached_property
    def output(self) -> str:
        """The one node that no other reads."""
        return _unread(self._nodes)[0]

    @cached_property
    def _edges(self) -> nx.DiGraph:
        return _edges(self._nodes)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Every node after all that it reads; among those free to stand anywhere, alphabetically."""
        return tuple(n for n in nx.lexicographical_topological_sort(self._edges) if n in self._nodes)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names that the graph reads and does not compute, sorted."""
        return tuple(sorted({i for node in self._nodes.values() for i in node.inputs} - self._nodes.keys()))

    @cached_property
    def upstream_columns(self) -> dict[str, frozenset[str]]:
        """For every node and column, the columns that its value depends on."""
        found = {column: frozenset([column]) for column in self.columns}
        for name in self.order:
            found[name] = frozenset().union(*(found[i] for i in self._nodes[name].inputs))
        return found

    def upstream(self, name: str) -> tuple[str, ...]:
        """The node and all nodes that it depends on, each after what it reads."""
        wanted = nx.ancestors(self._edges, name) | {name}
        return tuple(n for n in self.order if n in wanted)

    @property
    def origin(self) -> "Graph":
        """The graph that was there before the first rewrite; itself, if it was never rewritten."""
        return self._origin or self

    def readers(self, name: str) -> tuple[str, ...]:
        """The nodes that read the node or column `name`, in order."""
        if name not in self.columns:
            self[name]
        return tuple(n for n in self.order if name in self._nodes[n].inputs)

    # -- a mapping of names to nodes

    def __getitem__(self, name: str) -> Node:
        try:
            return self._nodes[name]
        except KeyError:
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

    def __repr__(self) -> str:
        lines = [f"  {name}({', '.join(self._nodes[name].inputs)})" for name in self.order]
        return "\n".join(
            [f"Graph of {len(self)} nodes, output {self.output!r}, columns {', '.join(self.columns)}", *lines]
        )

    # -- what can be done with it

    def __or__(self, changes: Mapping[str, Node | Callable[..., Any]]) -> "Graph":
        """Add or replace nodes. Old nodes that nothing reads any more are dropped; a new one must be read."""
        new = {name: Node.of(value, name=name) for name, value in changes.items()}
        merged = self._nodes | new
        roots = [n for n in _unread(merged) if n in new or n == self.output]
        edges = _edges(merged)
        kept = set(roots).union(*(nx.ancestors(edges, root) for root in roots)) or merged.keys()  # a circle has no root
        return Graph({name: node for name, node in merged.items() if name in kept})

    def rewritten(self, changes: Mapping[str, Node | Callable[..., Any]]) -> "Graph":
        """`self | changes` for changes that alter no value: the new graph remembers where it came from."""
        graph = self | changes
        graph._origin = self.origin
        return graph

    def __call__(self, data: Mapping[str, Any]) -> Any:
        """The value of the output on `data`, all rows at once."""
        return self.activations(data, self.output)[0]

    def activations(self, data: Mapping[str, Any], *names: str) -> tuple[Any, ...]:
        """The values of the named nodes (or columns) on `data`, each computed once."""
        values: dict[str, Any] = {}
        for name in names:
            if name not in self and name not in self.columns:
                raise UnknownNameError(f"there is no node or column {name!r}{nearest(name, [*self, *self.columns])}")
        steps = set().union(*(self.upstream(name) for name in names if name in self))
        read = {i for step in steps for i in self[step].inputs}.union(names) - self.keys()
        for column in sorted(read):
            if column not in data:
                raise GraphError(f"the data have no column {column!r}{nearest(column, data)}")
            values[column] = data[column]
        for name in self.order:
            if name in steps:
                node = self._nodes[name]
                values[name] = node.fn(*(values[i] for i in node.inputs))
        return tuple(values[name] for name in names)


def _edges(nodes: Mapping[str, Node]) -> nx.DiGraph:
    edges = nx.DiGraph()
    edges.add_nodes_from(nodes)
    edges.add_edges_from((i, name) for name, node in nodes.items() for i in node.inputs)
    return edges


def _unread(nodes: Mapping[str, Node]) -> list[str]:
    read = {i for node in nodes.values() for i in node.inputs}
    return [name for name in nodes if name not in read]


def _problems(nodes: Mapping[str, Node]) -> list[str]:
    """Everything that is wrong with a set of nodes, in words."""
    if not nodes:
        return ["a graph needs at least one node"]
    problems = [
        f"{name!r} is not a name that Python allows for a parameter"
        for name in [*nodes, *(i for node in nodes.values() for i in node.inputs)]
        if not name.isidentifier()
    ]
    problems += [f"{name!r} reads {i!r} twice" for name, node in nodes.items() for i in _twice(node.inputs)]
    edges, unread = _edges(nodes), _unread(nodes)
    if not nx.is_directed_acyclic_graph(edges):
        cycle = [edge[0] for edge in nx.find_cycle(edges)]
        problems.append(f"these nodes read each other in a circle: {' -> '.join([*cycle, cycle[0]])}")
    elif len(unread) > 1:
        problems.append(
            f"a graph has one output, but nothing reads any of {', '.join(map(repr, sorted(unread)))}; "
            f"leave out what is not needed or read it"
        )
    return problems


def _twice(names: tuple[str, ...]) -> list[str]:
    return sorted({n for n in names if names.count(n) > 1})
