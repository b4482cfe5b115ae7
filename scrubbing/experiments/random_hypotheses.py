"""Random hypotheses of the shape of a given one: with other features, or about other nodes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.features import Features
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.planning import Planner
from scrubbing.engine.policy import Policy
from scrubbing.engine.sampling.agreement import Classes, PositionClasses
from scrubbing.engine.sampling.randomness import keyed_uniforms
from scrubbing.engine.sampling.streams import Sample
from scrubbing.errors import DataError, HypothesisError
from scrubbing.errors.arguments import checked
from scrubbing.graph import Graph, Node
from scrubbing.graph.data import Columns, Data, as_columns, seed_number
from scrubbing.graph.hypothesis import Hypothesis

ROW = "row_number"  # the column by which a random feature tells rows apart

Partition = Classes | PositionClasses


# -- random features


@dataclass(frozen=True, eq=False)
class LookUp:
    """A feature that is given for each row of the dataset; its last input is the row's number."""

    values: Int[Tensor, "row *position"]

    def __call__(self, *inputs: Any) -> Int[Tensor, "row *position"]:
        return self.values.to(inputs[-1].device)[inputs[-1]]


@checked
def with_row_numbers(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data with one more column `[row]`: `row_number`, which random features read.

    >>> with_row_numbers({"x": [5, 6, 7]})["row_number"]
    tensor([0, 1, 2])

    Raises `DataError` where the data have a column of that name.
    """
    columns = dict(as_columns(data))
    if ROW in columns:
        raise DataError(f"the data have a column {ROW!r} already, which random features need for themselves: rename it")
    return columns | {ROW: torch.arange(len(next(iter(columns.values()))))}


@checked
def random_features(hypothesis: Hypothesis, data: Data, *, seed: int = 0) -> Hypothesis:
    """The hypothesis with each feature replaced by a random partition of the rows into classes of the same sizes.

    One permutation of the rows for each node deals its classes out anew (for a claim per position: one permutation for
    all positions). Which inputs are claimed stays as it is, and so does a claim that says nothing else (`reads`). The
    data need row numbers: `scrub(random_features(h, data), with_row_numbers(data), ...)`.

    >>> from hypotheses import toy
    >>> case = toy.case("an or of thresholds")
    >>> random_features(case.hypothesis, case.data, seed=1).I["A"].inputs
    ('z1', 'row_number')

    Raises `HypothesisError` for a hypothesis without a feature.
    """
    columns = dict(as_columns(data))
    return with_features(hypothesis, partitions_of(hypothesis, columns), seed)


def partitions_of(h: Hypothesis, columns: Columns) -> dict[str, Partition]:
    """The classes of each node that claims a feature. Raises `HypothesisError` where none does."""
    featured = [name for name, node in h.I.items() if name != h.I.output and not node.claims_inputs_alone]
    if not featured:
        raise HypothesisError(
            "this hypothesis claims no feature, only which inputs matter, so it has none to make random; "
            'score it among random nodes (controls="nodes"), or among hypotheses of your own'
        )
    rows = len(next(iter(columns.values())))
    planner = Planner(Policy(), Features(Interpreter(dict(columns), Sample(np.arange(1), rows))))
    return {name: planner.classes(h, name) for name in featured}


def with_features(h: Hypothesis, partitions: Mapping[str, Partition], seed: int) -> Hypothesis:
    """The hypothesis with the classes of its features dealt out anew."""
    changes: dict[str, Node] = {}
    for name, partition in partitions.items():
        ids = _ids(partition)
        order = np.argsort(keyed_uniforms(seed_number(seed), ("features", name), np.arange(len(ids))))
        node = h.I[name]
        changes[name] = replace(node, fn=LookUp(torch.from_numpy(ids[order])), inputs=(*node.inputs, ROW), binning=None)
    return replace(h, I=h.I | changes, columns=(*h.columns, ROW))


def classes_of(h: Hypothesis, partitions: Mapping[str, Partition]) -> tuple[bytes, ...]:
    """Which rows agree at each node that has a feature, whatever the numbers of its classes are."""
    held = {name: h.I[name].fn for name in partitions}
    ids = [fn.values.numpy() if isinstance(fn, LookUp) else _ids(partitions[name]) for name, fn in held.items()]
    return tuple(_first_seen(of).tobytes() for of in ids)


def _ids(partition: Partition) -> Int[np.ndarray, "row *position"]:
    """The number of each row's class, by position where a claim is per position."""
    if isinstance(partition, PositionClasses):
        return np.stack([c.ids for c in partition.at], axis=1)
    return partition.ids


def _first_seen(ids: Int[np.ndarray, "row *position"]) -> Int[np.ndarray, "row position"]:
    """For each row the first one of its class."""
    columns = ids.reshape(len(ids), -1).T
    return np.stack(
        [(found := np.unique(of, return_index=True, return_inverse=True))[1][found[2]] for of in columns], 1
    )


# -- random nodes


@checked
def random_nodes(hypothesis: Hypothesis, *, seed: int = 0) -> Hypothesis:
    """The hypothesis about other nodes of G: each claim moves to a random node of the same kind as the one it is about.

    Nodes are of one kind if they have the same type of function (and weights of the same shapes), read the same inputs
    and have the same readers: the heads of one layer, the terms of one sum. All claims about a node move together. The
    hypothesis itself is one of those that can come out.

    >>> G = Graph(a=lambda x: x, b=lambda x: 2 * x, loss=lambda a, b, y: a + b - y)
    >>> h = Hypothesis(G, Graph(a=lambda x: x > 0, loss=lambda a, y: y))
    >>> [random_nodes(h, seed=seed).image("a") for seed in range(4)]
    ['a', 'a', 'b', 'b']

    Raises `HypothesisError` where no claim can move.
    """
    h = hypothesis
    claimed = {h.image(name) for name in h.I}
    moved: dict[str, str] = {}
    for kind in kinds(h.G):
        if len(kind) > 1 and claimed & set(kind):
            order = np.argsort(keyed_uniforms(seed_number(seed), ("nodes", *kind), np.arange(len(kind))))
            moved |= zip(kind, (kind[i] for i in order), strict=True)
    if not moved:
        raise HypothesisError(
            "no claim is about a node that has another of its kind (the same function, inputs and readers), so none "
            "can move; give random hypotheses of your own (controls=...)"
        )
    return replace(h, c={name: moved.get(h.image(name), h.image(name)) for name in h.I})


def kinds(G: Graph) -> list[tuple[str, ...]]:
    """The nodes of a graph, in groups that could stand in each other's place."""
    found: dict[Any, list[str]] = {}
    for name in G.order:
        node = G[name]
        fn = (type(node.fn), _shapes(node.fn)) if isinstance(node.fn, Component) else "function"
        found.setdefault((fn, frozenset(node.inputs), G.readers(name), node.position_axis), []).append(name)
    return [tuple(names) for names in found.values()]


def _shapes(component: Component) -> tuple[Any, ...]:
    """The shapes of the tensors that a component holds, those of its parts as well."""
    held = (getattr(component, f.name) for f in fields(component))
    parts = (tuple(v.shape) if isinstance(v, Tensor) else _shapes(v) for v in held if isinstance(v, Tensor | Component))
    return tuple(parts)
