"""Causal scrubbing as the paper writes it, one datum at a time: slow, obvious, and the judge of the fast evaluator.

It shares with the library the graphs, the hypothesis and the keyed random numbers, so that both draw the same donors;
how these are drawn, and what is computed on them, is written out here a second time.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scrubbing import Graph, Hypothesis, mean
from scrubbing.engine.sampling.randomness import keyed_uniforms
from scrubbing.graph.binning import Bins, Within

Row = int  # a datum, by its row in the dataset
Path = tuple[str, ...]  # names of I from the output to a node


@dataclass(frozen=True)
class Repetition:
    """One run of one reference; `position` is set below a claim that draws a donor for each position."""

    reference: Row
    occurrence: int  # how often the same row was a reference before
    number: int
    position: int | None = None


@dataclass(frozen=True)
class ReferenceScrub:
    """`run` and `estimate` of the paper, for one hypothesis on one dataset."""

    h: Hypothesis
    data: Mapping[str, Tensor]
    others: str | Sequence[Row] = "node"
    donors: Mapping[str, Any] = field(default_factory=dict)
    exclude_self: bool = False
    unclaimed: Any = "resample"
    together: Sequence[Collection[str]] = ()
    seed: int = 0
    _features: dict[Any, Any] = field(default_factory=dict)

    @property
    def dataset(self) -> list[Row]:
        return list(range(len(next(iter(self.data.values())))))

    def estimate(self, references: Sequence[Row], *, draws: int = 1) -> list[float]:
        """The scrubbed loss of each reference, as the mean of its draws."""
        losses = []
        for i, x in enumerate(references):
            occurrence = list(references[:i]).count(x)
            runs = [self.output(Repetition(x, occurrence, number)) for number in range(draws)]
            losses.append(sum(runs) / draws)
        return losses

    def output(self, repetition: Repetition) -> float:
        root = self.h.I.output
        return float(self.run(root, repetition.reference, (root,), repetition))

    def run(self, n: str, x: Row, path: Path, repetition: Repetition) -> Any:
        """An activation of c(n), where x is n's own datum."""
        image = self.h.G[self.h.image(n)]
        claimed = {self.h.image(m): m for m in self.h.I[n].inputs if m in self.h.I}
        columns = [m for m in self.h.I[n].inputs if m not in self.h.I]
        arguments = []
        for p in image.inputs:
            if p in claimed:
                value = self.claimed(claimed[p], x, (*path, claimed[p]), repetition)
            elif p in self.h.G:
                u = self.other(p, x, path, repetition)
                passed = {c for c in columns if c not in image.inputs} & self.h.G.upstream_columns[p]
                value = self.forward(p, {c: x if c in passed else u for c in self.data})
                if not passed and value.is_floating_point():
                    value = self.stand_in(p, value, x)
            else:
                value = self.data[p][[x if p in columns else self.other(p, x, path, repetition)]]
            arguments.append(value)
        return image.fn(*arguments)

    def forward(self, name: str, row_of: Mapping[str, Row]) -> Any:
        """The value of G's node, each column from the row given for it."""
        return forward(self.h.G, name, {c: self.data[c][[row]] for c, row in row_of.items()})

    def stand_in(self, p: str, donated: Tensor, x: Row) -> Tensor:
        """What stands in for an unclaimed number, in place of a donor's."""
        if isinstance(self.unclaimed, mean) or self.unclaimed == "mean":
            by = self.unclaimed.by if isinstance(self.unclaimed, mean) else None
            group = [d for d in self.dataset if by is None or plain(self.data[by][d]) == plain(self.data[by][x])]
            return sum(self.forward(p, dict.fromkeys(self.data, d)) for d in group) / torch.tensor(len(group))
        if self.unclaimed == "zero":
            return 0 * donated
        return donated if self.unclaimed == "resample" else self.unclaimed(donated)

    def claimed(self, m: str, x: Row, path: Path, repetition: Repetition) -> Any:
        """An activation of c(m) on a datum that agrees on m with its parent's own, x."""
        fixed = np.asarray(self.donors[m]) if m in self.donors else None
        by_position = self.h.I[m].per_position and (fixed is None or fixed.ndim == 2)
        if not by_position:
            donor = self.agreeing(m, x, path, repetition) if fixed is None else int(fixed[repetition.reference])
            return self.run(m, donor, path, repetition)
        axis = self.h.G[self.h.image(m)].position_axis
        assert axis is not None
        pieces = []
        for position in range(positions_of(self.feature(m, x)) if fixed is None else fixed.shape[1]):
            here = replace(repetition, position=position)
            donor = self.agreeing(m, x, path, here) if fixed is None else int(fixed[repetition.reference, position])
            pieces.append(self.run(m, donor, path, here).select(axis, position))
        return torch.stack(pieces, dim=axis)

    def agreeing(self, m: str, x: Row, path: Path, repetition: Repetition) -> Row:
        """x' <- uniform{d in D: m(d) = m(x)}; of a claim per position, at the position; of a group, on all of it."""
        group = next((sorted(group) for group in self.together if m in group), [m])

        def seen(d: Row) -> list[Any]:
            values = [self.feature(member, d) for member in group]
            return [at_position(v, repetition.position) for v in values] if self.h.I[m].per_position else values

        key = (*path[:-1], "+".join(group))
        return self.uniform([d for d in self.dataset if seen(d) == seen(x)], x, key, repetition)

    def other(self, p: str, x: Row, path: Path, repetition: Repetition) -> Row:
        """u, the donor of an input p that is not claimed."""
        if not isinstance(self.others, str):
            return int(self.others[repetition.reference])
        if self.others == "reference":
            whole = replace(repetition, position=None)
            return self.uniform(self.dataset, repetition.reference, ("other",), whole)
        key = {"node": (*path, "other"), "input": (*path, p, "other")}[self.others]
        return self.uniform(self.dataset, x, key, repetition)

    def uniform(self, rows: list[Row], own: Row, key: Path, repetition: Repetition) -> Row:
        """One of the rows, in dataset order; with `exclude_self` not one's own, unless there is no other."""
        if self.exclude_self:
            rows = [row for row in rows if row != own] or rows
        counters = [repetition.reference, repetition.occurrence, repetition.number, repetition.position]
        u = keyed_uniforms(self.seed, key, *(np.array([c]) for c in counters if c is not None))
        return rows[int(u[0] * len(rows))]

    def feature(self, m: str, d: Row) -> Any:
        """The value of I's node m on the datum d, as plain Python; coarse, where m says so."""
        if m not in self._features:
            rows = [{c: column[[d]] for c, column in self.data.items()} for d in self.dataset]
            self._features[m] = coarse([plain(forward(self.h.I, m, row)) for row in rows], self.h.I[m].binning)
        return self._features[m][d]


def forward(graph: Graph, name: str, datum: Mapping[str, Any]) -> Any:
    """The value of a node or a column on one datum, each node computed once."""
    values = dict(datum)

    def value(n: str) -> Any:
        if n not in values:
            values[n] = graph[n].fn(*(value(i) for i in graph[n].inputs))
        return values[n]

    return value(name)


def coarse(values: list[Any], binning: Within | Bins | None) -> list[Any]:
    """For each number of a feature the cell of the grid that it lies in, or how many quantiles it exceeds."""
    match binning:
        case None:
            return values
        case Within(tolerance):
            return np.floor(np.array(values) / tolerance).tolist()
        case Bins(k):
            edges = np.quantile(values, np.arange(1, k) / k, axis=0)
            return (np.array(values) > edges[:, None]).sum(axis=0).tolist()


def at_position(value: Any, position: int | None) -> Any:
    """What a datum's value (a tuple in each part) is at one position."""
    return tuple(at_position(v, position) for v in value) if isinstance(value, tuple) else value[0][position]


def positions_of(value: Any) -> int:
    """How many positions a datum's value has; an empty tuple has none."""
    return max((positions_of(v) for v in value), default=0) if isinstance(value, tuple) else len(value[0])


def plain(value: Any) -> Any:
    """A value that Python's == compares: tensors as lists, tuples part by part."""
    return tuple(map(plain, value)) if isinstance(value, tuple) else torch.as_tensor(value).tolist()
