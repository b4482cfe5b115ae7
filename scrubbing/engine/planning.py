"""The expressions that a hypothesis is planned with: features, forward passes, and what stands in for an open input."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from scrubbing.engine.expressions import Expression, Expressions
from scrubbing.engine.policy import DonorSampler, Policy, mean
from scrubbing.engine.rules import (
    OpenInput,
    upstream_columns,
)
from scrubbing.engine.sampling.agreement import Classes, PositionClasses, alike, intersection
from scrubbing.engine.sampling.streams import References, Stream
from scrubbing.errors import DataError, HypothesisError
from scrubbing.graph import Graph
from scrubbing.graph.binning import Binning
from scrubbing.graph.hypothesis import Hypothesis

Path = tuple[str, ...]


@dataclass(frozen=True)
class Feature:
    """The feature of a node of I: rows with equal values agree."""

    name: str = field(compare=False)
    value: Expression
    per_position: bool
    binning: Binning | None = None


@runtime_checkable
class Dataset(Protocol):
    """What planning needs to know about the data."""

    @property
    def rows(self) -> int:
        """How many rows there are, those that were made included."""
        ...

    def classes(self, feature: Feature) -> Classes | PositionClasses:
        """Which rows agree on a feature."""
        ...

    def made(self, sampler: DonorSampler, path: Path, parent: Stream, feature: Feature) -> Stream:
        """Donors made to agree with the parent's datums on a feature."""
        ...

    def is_floating(self, value: Expression) -> bool:
        """Whether a value is a tensor of floating-point numbers (or a tuple of such), so that means can be taken."""
        ...


class _Forward(dict[str, Expression]):
    """The nodes and columns of a graph on one stream, as far as they were asked for."""

    def __init__(self, expressions: Expressions, graph: Graph, stream: Stream) -> None:
        super().__init__()
        self.expressions, self.graph, self.stream = expressions, graph, stream

    def __missing__(self, name: str) -> Expression:
        columns = dict.fromkeys(upstream_columns(self.graph, name), self.stream)
        self[name] = self.expressions.forward(self.graph, name, columns)
        return self[name]


class Planner:
    """Turns hypotheses into expressions."""

    def __init__(self, policy: Policy, dataset: Dataset) -> None:
        self.policy = policy
        self.dataset = dataset
        self.expressions = Expressions()
        self._on: dict[tuple[int, Stream], _Forward] = {}
        # With the graphs, whose ids would be used again.
        self._read_alike: dict[tuple[int, str, int], tuple[Graph, Classes]] = {}

    def plain(self, graph: Graph, stream: Stream) -> Expression:
        """The graph's output by an ordinary forward pass on one stream."""
        return self.on(stream, graph, graph.output)

    def on(self, stream: Stream, graph: Graph, name: str) -> Expression:
        """A node or column by an ordinary forward pass on one stream."""
        return self.all_on(stream, graph)[name]

    def all_on(self, stream: Stream, graph: Graph) -> Mapping[str, Expression]:
        """Any node or column by an ordinary forward pass on one stream; each is planned when it is asked for."""
        known = id(graph), stream
        if known not in self._on:
            self._on[known] = _Forward(self.expressions, graph, stream)
        return self._on[known]

    def feature(self, hypothesis: Hypothesis, name: str) -> Feature:
        """The value of a node of I, as a feature of the data."""
        I = hypothesis.I
        return Feature(name, self.on(References(), I, name), I[name].per_position, I[name].binning)

    def classes(self, hypothesis: Hypothesis, name: str) -> Classes | PositionClasses:
        """Which rows agree on a node of I. An error names the node whose value is wrong."""
        I = hypothesis.I
        try:
            parts = _read_through(I, name) if I[name].claims_inputs_alone else []
            return self._agreeing(I, name, parts) if parts else self.dataset.classes(self.feature(hypothesis, name))
        except DataError:
            for upstream in I.upstream(name):
                if not (I[upstream].is_reads and any(i in I and I[i].is_reads for i in I[upstream].inputs)):
                    self.dataset.classes(self.feature(hypothesis, upstream))
            raise

    def _agreeing(self, I: Graph, name: str, parts: Sequence[str]) -> Classes:
        """Which rows agree on some nodes and columns, all that a node of `reads` comes to.

        Its own value is a tuple of tuples, which doubles with every layer of such nodes.
        """
        known = id(I), name, self.dataset.rows
        if known not in self._read_alike:
            features = (Feature(part, self.on(References(), I, part), False) for part in parts)
            found = [self.dataset.classes(feature) for feature in features]
            self._read_alike[known] = I, alike(found, self.dataset.rows)
        return self._read_alike[known][1]

    def column_classes(self, column: str) -> Classes:
        """Which rows agree on a column."""
        classes = self.dataset.classes(Feature(column, self.expressions.leaf(column, References()), False))
        assert isinstance(classes, Classes)  # for the type checker: only claims per position have others
        return classes

    def shared_classes(self, hypothesis: Hypothesis, group: tuple[str, ...]) -> Classes | PositionClasses:
        """Which rows may stand in: those that agree on all nodes of a group that shares its donor."""
        I = hypothesis.I
        if len(group) == 1:
            return self.classes(hypothesis, group[0])
        if len({I.readers(member) for member in group}) > 1 or any(I[member].per_position for member in group):
            raise HypothesisError(
                f"together names {', '.join(group)}, which must be whole claims read by the same node of I"
            )
        partitions = [self.classes(hypothesis, member) for member in group]
        return intersection([part for part in partitions if isinstance(part, Classes)])

    def unclaimed(self, G: Graph, open_: OpenInput, own: Stream, other: Callable[[], Stream]) -> Expression:
        """An input that I's node does not claim, where `own` is the node's datum and `other` gives u.

        A donor's value, or what the policy puts in its place.
        """
        p, instead = open_.input, self.policy.unclaimed
        if p not in G:
            return self.expressions.leaf(p, other())
        streams = dict.fromkeys(open_.own, own)
        streams |= dict.fromkeys(open_.donated, other()) if open_.donated else {}
        donated = self.expressions.forward(G, p, streams)
        if not open_.averaged or not self.dataset.is_floating(donated):
            return donated
        if callable(instead) or instead == "zero":
            return self.expressions.call(Each(instead if callable(instead) else _zeros), (donated,))
        by = instead.by if isinstance(instead, mean) else None
        classes = self.column_classes(by) if by else alike([], self.dataset.rows)
        return self.expressions.averaged(self.on(References(), G, p), classes, own)


@dataclass(frozen=True)
class Each:
    """A function of a tensor; of a tuple of tensors, applied to each."""

    fn: Callable[[Any], Any]

    def __call__(self, value: Any) -> Any:
        return tuple(map(self, value)) if isinstance(value, tuple) else self.fn(value)


def _zeros(value: Tensor) -> Tensor:
    return torch.zeros_like(value)


def _read_through(I: Graph, name: str) -> list[str]:
    """The columns and functions that a node of `reads` reads, itself or through others of `reads`."""
    seen, waiting = {name}, [name]
    while waiting:
        new = [i for i in dict.fromkeys(I[waiting.pop()].inputs) if i not in seen]
        seen.update(new)
        waiting += [i for i in new if i in I and I[i].is_reads]
    return sorted(i for i in seen if i not in I or not I[i].is_reads)
