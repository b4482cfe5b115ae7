"""What can stand in the place of what a node computes, and the run that follows from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from scrubbing.engine.expressions import Call, Expression
from scrubbing.engine.plan import Scrubbed
from scrubbing.engine.planning import Planner
from scrubbing.engine.policy import mean
from scrubbing.engine.sampling.agreement import Classes, alike, intersection
from scrubbing.engine.sampling.streams import Fixed, NumberOfDraw, References, Stream
from scrubbing.errors import DataError, HypothesisError, nearest
from scrubbing.errors.arguments import check, check_fields
from scrubbing.experiments.arguments import Rows, fixed_rows
from scrubbing.experiments.preparation import Prepared
from scrubbing.graph import Graph, Node
from scrubbing.graph.data import of_any_device
from scrubbing.lens.components.choice import Choice
from scrubbing.lens.components.parts import chosen_positions, role_of
from scrubbing.lens.components.positions import Linear


@dataclass(frozen=True, eq=False)
class donor:
    """The value of a node in other rows: `rows[i]` stands in for row i.

    >>> donor([1, 0]).rows
    [1, 0]
    """

    rows: Rows


@dataclass(frozen=True)
class add:
    """The value of a node and `alpha` times that of another in the plain run.

    >>> add("m0", -1.0)
    add(node='m0', alpha=-1.0)
    """

    node: str
    alpha: float = 1.0


@dataclass(frozen=True, eq=False)
class at:
    """Another value at some positions, and the node's own elsewhere; with `elsewhere` the other way round.

    `positions` are those of every row, or the name of a column that has one for each row (a role), or several with -1
    to fill up; or several such columns. Positions are the second axis of the value (of a pattern those of the queries).

    >>> at("end", "zero")
    at(positions='end', instead='zero', elsewhere=False)
    """

    positions: str | Sequence[int] | Sequence[str]
    instead: Any
    elsewhere: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        check_fields(self)
        check("instead", self.instead, Instead)


Instead = Annotated[
    donor | mean | add | at | Node | Callable[..., Any] | Literal["mean", "zero", "clean"],
    'donor(rows), mean(by=column, over=column), "mean", "zero", "clean", add(node, alpha), at(positions, instead) or a '
    "function of the value",
]

Interventions = Mapping[str, Any]  # from nodes to what stands in their place
Plain = Mapping[str, Expression]  # the plain run of a graph, by node and column


@dataclass(frozen=True)
class Added:
    """The sum of a value and a multiple of another."""

    alpha: float

    def __call__(self, value: Tensor, other: Tensor) -> Tensor:
        return value + self.alpha * other


@dataclass(frozen=True)
class Swapped:
    """One value at some positions, another elsewhere; a column that it reads says where, or `places` do."""

    places: tuple[int, ...] = ()

    def __call__(self, value: Tensor, other: Tensor, *columns: Int[Tensor, "batch *place"]) -> Tensor:
        if value.ndim < 2:
            raise DataError(f"values of the shape {list(value.shape)} have no positions")
        chosen = chosen_positions(value, self.places, columns)
        return other.where(chosen.view(*chosen.shape, *[1] * (value.ndim - 2)), value)


def plain_run(G: Graph, prepared: Prepared) -> dict[str, Expression]:
    """What each node and column is in the plain run, which all interventions on a graph share."""
    return {name: prepared.planner.on(References(), G, name) for name in (*G.columns, *G.order)}


def intervened(what: str, G: Graph, nodes: Interventions, prepared: Prepared, plain: Plain) -> Scrubbed:
    """The run of an intervention, in the form of a scrubbed one. Raises what `measure` raises, about `what`.

    `plain` is the `plain_run` of the graph.
    """
    (run,) = intervened_together({what: nodes}, G, prepared, plain)
    return run


def intervened_together(
    members: Mapping[str, Interventions], G: Graph, prepared: Prepared, plain: Plain
) -> list[Scrubbed]:
    """The runs of several interventions with one output: draw i of each reference is under the i-th of them."""
    for what, nodes in members.items():
        _check(what, G, nodes)
    call = prepared.planner.expressions.call
    runs = [_Run(G, prepared, plain, {}) for _ in members]
    values: dict[str, Expression] = {}
    arguments: tuple[Expression, ...] = ()
    for node in G.order:
        instead = {i: nodes[node] for i, nodes in enumerate(members.values()) if node in nodes}
        if instead or not values.keys().isdisjoint(G[node].read):
            arguments = tuple(values.get(i) or plain[i] for i in G[node].inputs)
            values[node] = call(G[node].fn, arguments, node)
        if instead:
            stands = {i: runs[i].replaced(node, of, values[node]) for i, of in instead.items()}
            values[node] = _chosen(values[node], stands, len(members), prepared.planner)
    loss = values.get(G.output) or plain[G.output]
    return [Scrubbed(loss, (), run.streams, values, bool(values), (), arguments, ()) for run in runs]


def _check(what: str, G: Graph, nodes: Interventions) -> None:
    check(what, nodes, Mapping)
    for node, instead in nodes.items():
        check(f"{what}: {node!r}", instead, Instead)
        _ = G[node]  # a wrong name is said before the work
        if node == G.output:
            raise HypothesisError(
                f"{what} replaces the output {node!r}, which is the loss itself; replace what it reads"
            )


def _chosen(value: Expression, stands: Mapping[int, Expression], members: int, planner: Planner) -> Expression:
    """A value, or for some members of a run what stands in its place."""
    by_stand: dict[Expression, list[int]] = {}
    for member, stand in stands.items():
        by_stand.setdefault(stand, []).append(member)
    if len(stands) == members and len(by_stand) == 1:
        return next(iter(by_stand))
    choice = Choice(tuple(map(tuple, by_stand.values())))
    return planner.expressions.call(choice, (planner.expressions.numbers(NumberOfDraw()), value, *by_stand))


@dataclass(frozen=True)
class _Run:
    """A run in the making, and the donors' rows so far."""

    G: Graph
    prepared: Prepared
    plain: Plain
    streams: dict[str, Stream]

    @property
    def planner(self) -> Planner:
        """What makes expressions."""
        return self.prepared.planner

    @property
    def rows(self) -> int:
        """The rows of the data."""
        return self.prepared.evaluator.interpreter.rows

    def replaced(self, node: str, instead: Any, value: Expression) -> Expression:
        """What stands in the place of a node's value."""
        call, plain = self.planner.expressions.call, self.plain[node]
        match instead:
            case donor():
                self.streams[node] = fixed_rows(f"donor of {node!r}", instead.rows, self.rows)
                return self.planner.on(self.streams[node], self.G, node)
            case at():
                return self._placed(node, instead, value)
            case "clean":
                return plain
            case Node() | Callable():
                of = instead if isinstance(instead, Node) else Node(instead, _parameters(node, instead))
                return call(of.fn, (value, *(self._read(node, name) for name in of.inputs[1:])))
        self._refuse_unless_numbers(node, plain)
        if isinstance(instead, add):
            other = self._read(node, instead.node)
            self._refuse_unless_numbers(instead.node, other)
            return call(Added(float(instead.alpha)), (value, other))
        if instead == "zero":
            return call(torch.zeros_like, (plain,))
        return self._averaged(plain, instead if isinstance(instead, mean) else mean())

    def _placed(self, node: str, instead: at, value: Expression) -> Expression:
        """The value where it stays, and another at some positions, or at all others."""
        call = self.planner.expressions.call
        given = [instead.positions] if isinstance(instead.positions, str) else list(instead.positions)
        columns = [place for place in given if isinstance(place, str)]
        places = tuple(int(place) for place in given if not isinstance(place, str))
        roles = tuple(role_of(self._read(node, column), call) for column in columns)
        both = value, self.replaced(node, instead.instead, value)
        return call(Swapped(places), (*(reversed(both) if instead.elsewhere else both), *roles))

    def _read(self, node: str, name: str) -> Expression:
        """A node in the plain run, or a column."""
        if name in self.G:
            return self.plain[name]
        self._refuse_unknown(f"what stands in for {node!r} reads {name!r}, which is neither a node nor a column", name)
        return self.planner.expressions.leaf(name, References())

    def _averaged(self, plain: Expression, of: mean) -> Expression:
        match plain:
            case Call(Linear() as write, (written,)) if write.is_cheap:  # narrower, and added up with what others write
                return self.planner.expressions.call(write, (self._averaged(written, of),))
        classes = self._classes(of, of.by) if of.by else alike([], self.rows)
        if of.over is None:
            return self.planner.expressions.averaged(plain, classes, References())
        inside = self._classes(of, of.over)
        both = intersection([classes, inside])
        chosen = of_any_device(self.prepared.data[of.over]).astype(bool)
        first = {int(classes.ids[row]): row for row in np.flatnonzero(chosen)[::-1]}
        missing = [row for row in range(self.rows) if int(classes.ids[row]) not in first]
        if missing:
            raise DataError(f"{of}: no row over which it is taken is in the group of row {missing[0]}")
        of_group = Fixed(np.array([first[int(i)] for i in classes.ids]))
        return self.planner.expressions.averaged(plain, both, of_group)

    def _classes(self, of: mean, column: str) -> Classes:
        self._refuse_unknown(f"{of}: the data have no column {column!r}", column)
        return self.planner.column_classes(column)

    def _refuse_unknown(self, said: str, column: str) -> None:
        if column not in self.prepared.data:
            raise DataError(f"{said}{nearest(column, [*self.G, *self.prepared.data])}")

    def _refuse_unless_numbers(self, name: str, value: Expression) -> None:
        if not self.planner.dataset.is_floating(value):
            raise DataError(f"{name!r} computes no floating-point numbers, so that it has no mean, zero or multiple")


def _parameters(node: str, fn: Callable[..., Any]) -> tuple[str, ...]:
    """What a function reads: first the value that it replaces, whatever it calls that."""
    names = Node.of(fn, name=node).inputs
    if not names:
        raise HypothesisError(
            f"what stands in for {node!r} takes nothing; its first parameter is the value of the node"
        )
    return names
