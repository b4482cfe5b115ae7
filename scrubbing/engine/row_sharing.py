"""Pools of streams: if several streams have the same row in a chunk, its values are computed once, and gathered.

Where a row is the donor of several draws, or the donor of one and the reference of another, one ordinary forward pass
on the distinct rows serves them all. Draws with common rows are computed one after the other.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import depth_first_order
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.expressions import Call, Expression, Gathered, Leaf, evaluation_order
from scrubbing.engine.sampling.streams import Pool, References, Sample, Stream
from scrubbing.graph.nodes import function_key

WINDOW = 8  # draws that are looked at together, to see how many rows they have in common
EXAMINED = 512  # draws that are looked at in all
NEW = 0.5  # rows per draw that a stream may add to a pool at most
PAYS = 0.75  # of the rows of pooled streams may be distinct at most
TRIED = 12  # streams that may join a pool, those that most is computed on

Draws = slice | np.ndarray
Order = Int[np.ndarray, " draw"]
Streams = tuple[Stream, ...]

# Of some calls, those whose values hold one entry per row.
Gatherable = Callable[[Sequence[Call]], Iterable[Call]]


@dataclass(frozen=True)
class Arranged:
    """What to compute, and the order of draws.

    `share` is the number of distinct rows per draw in a window of draws, over the number in the first draw.
    """

    roots: Sequence[Expression]
    order: Order
    share: float = 1.0


def arranged(roots: Sequence[Expression], sample: Sample, gatherable: Gatherable, *, stacked: bool = False) -> Arranged:
    """Expressions of the same values, with streams pooled where that saves work.

    With `stacked` all are pooled, also without common rows: several calls become one.
    """
    forms = _Forms.of(roots)
    pool, order = _pool(forms, sample, stacked=stacked)

    def rows_per_draw(streams: Streams) -> float:
        return _distinct_per_draw(sample, streams, order)

    asked = {form: tuple(s for s in pool if s in steps) for form, steps in forms.steps.items()}
    pays = {
        streams: rows_per_draw(streams) <= PAYS * len(streams) or (stacked and len(streams) > 1)
        for streams in set(asked.values())
        if streams
    }
    pooled = {form: streams for form, streams in asked.items() if pays.get(streams)}
    if not pooled:
        return Arranged(roots, order)
    examples = (next(iter(forms.steps[form].values())) for form in pooled)
    gathered = gatherable([step for step in examples if isinstance(step, Call)])
    pooling = _Pooling(forms, pooled, {forms.number[call] for call in gathered})
    widest = max(pooled.values(), key=len)
    share = rows_per_draw(widest) / _distinct_per_draw(sample, widest, order[:1])
    return Arranged(pooling.replaced(roots), order, share)


@dataclass(frozen=True)
class _Forms:
    """Steps that compute the same on different streams share a number, their form.

    Constants have no stream.
    """

    number: dict[Expression, int]
    stream: dict[Expression, Stream | None]
    steps: dict[int, dict[Stream | None, Expression]]

    @classmethod
    def of(cls, roots: Sequence[Expression]) -> "_Forms":
        known: dict[Hashable, int] = {}
        forms = cls({}, {}, {})
        for step in evaluation_order(roots):
            match step:
                case Leaf(column, stream) if not isinstance(stream, Pool) and stream.positions is None:
                    form, streams = column, {stream}
                case Call(fn, arguments) if all(argument in forms.number for argument in arguments):
                    same = fn if isinstance(fn, Component) else function_key(fn)
                    form = same, *(forms.number[argument] for argument in arguments)
                    streams = {forms.stream[argument] for argument in arguments} - {None}
                case _:
                    continue
            if len(streams) < 2:
                forms._add(step, known.setdefault(form, len(known)), next(iter(streams), None))
        return forms

    def _add(self, step: Expression, number: int, stream: Stream | None) -> None:
        self.number[step], self.stream[step] = number, stream
        self.steps.setdefault(number, {})[stream] = step


def _pool(forms: _Forms, sample: Sample, *, stacked: bool) -> tuple[list[Stream], Order]:
    """Streams that have rows in common, and the order of draws in which they do; with `stacked` all streams.

    The references come first; a stream joins if most of its rows are there already.
    """
    calls = Counter(s for steps in forms.steps.values() for s, step in steps.items() if s and isinstance(step, Call))
    if not calls:
        return [], np.arange(len(sample))
    first, *others = sorted(calls, key=lambda stream: (not isinstance(stream, References), -calls[stream]))
    pool, order = [first], np.argsort(sample.rows(first), kind="stable")
    if stacked:
        return [first, *others], order
    for stream in others[:TRIED]:
        tried = _neighbours(sample.rows(first), sample.rows(stream)) if len(pool) == 1 else order
        with_it, without = (_distinct_per_draw(sample, streams, tried) for streams in ([*pool, stream], pool))
        if with_it - without <= NEW:
            pool.append(stream)
            order = tried
    return pool, order


def _neighbours(rows: Order, others: Order) -> Order:
    """An order of draws in which those with a row in common are close to each other.

    Rows are the nodes of a graph and draws its edges. It is walked depth first, from a root that leads to every row.
    """
    names, ends = np.unique(np.concatenate([rows, others]), return_inverse=True)
    root, draws = len(names), len(rows)
    one, other = ends[:draws], ends[draws:]
    edges = np.concatenate([one, np.full(root, root)]), np.concatenate([other, np.arange(root)])
    graph = csr_array((np.ones(draws + root), edges), shape=(root + 1, root + 1))
    place = np.empty(root + 1, dtype=np.int64)
    place[depth_first_order(graph, root, directed=False, return_predecessors=False)] = np.arange(root + 1)
    return np.lexsort((np.minimum(place[one], place[other]), np.maximum(place[one], place[other])))


def _distinct_per_draw(sample: Sample, streams: Sequence[Stream], order: Order) -> float:
    """How many rows a window of draws has, each counted once, over its draws."""
    examined = order[:EXAMINED]
    rows = np.stack([sample.rows(stream)[examined] for stream in streams], axis=1)
    window = np.arange(len(rows))[:, None] // WINDOW
    return np.unique(window * (rows.max() + 1) + rows).size / len(rows)


@dataclass(frozen=True)
class _Pooling:
    """Replaces steps on single streams by what is gathered from steps on pools."""

    forms: _Forms
    streams: Mapping[int, Streams]  # of a form, where it is pooled
    gathered: set[int]  # forms whose values can be gathered
    _made: dict[tuple[int, Streams], Expression] = field(default_factory=dict)

    def replaced(self, roots: Sequence[Expression]) -> list[Expression]:
        """The roots, of equal values."""
        new: dict[Expression, Expression] = {}
        for step in evaluation_order(roots):
            form, stream = self.forms.number.get(step), self.forms.stream.get(step)
            new[step] = step
            if form in self.gathered and stream and stream in self.streams[form]:
                new[step] = self._gathered(step, stream)
            elif isinstance(step, Call):
                arguments = tuple(new[argument] for argument in step.arguments)
                new[step] = step if arguments == step.arguments else replace(step, arguments=arguments)
        return [new[root] for root in roots]

    def _gathered(self, step: Expression, stream: Stream | Pool) -> Gathered:
        streams = self.streams[self.forms.number[step]]
        return Gathered(self._pooled(step, streams), Pool(streams), stream)

    def _pooled(self, step: Expression, streams: Streams) -> Expression:
        """What a step computes, on the pool of these streams."""
        key = self.forms.number[step], streams
        if key not in self._made:
            self._made[key] = self._made_on(step, streams)
        return self._made[key]

    def _made_on(self, step: Expression, streams: Streams) -> Expression:
        if isinstance(step, Leaf):
            return Leaf(step.column, Pool(streams))
        if not isinstance(step, Call) or self.forms.stream[step] is None:
            return step
        return replace(step, arguments=tuple(self._argument(argument, streams) for argument in step.arguments))

    def _argument(self, step: Expression, streams: Streams) -> Expression:
        """An argument on the pool of these streams; gathered from a larger pool if more streams need it."""
        form = self.forms.number[step]
        if form in self.gathered and self.streams[form] != streams:
            return self._gathered(step, Pool(streams))
        return self._pooled(step, streams)


# -- while it runs


@dataclass(frozen=True, eq=False)
class RowsOfDraws:
    """The rows of streams for some draws; for a pool, its distinct rows."""

    sample: Sample
    draws: Draws
    _known: dict[Pool, np.ndarray] = field(default_factory=dict)

    def __call__(self, stream: Stream | Pool) -> np.ndarray:
        if not isinstance(stream, Pool):
            return self.sample.rows(stream)[self.draws]
        if stream not in self._known:
            rows = np.concatenate([self(member) for member in stream.streams])
            _, first = np.unique(rows, return_index=True)
            self._known[stream] = rows[np.sort(first)]
        return self._known[stream]


def gathered(value: Tensor, pool: np.ndarray, rows: np.ndarray) -> Tensor:
    """A value for the rows of a pool, at some of them; as it is where it does not depend on the row."""
    if len(value) != len(pool):
        return value
    order = np.argsort(pool)
    at = order[np.searchsorted(pool, rows, sorter=order)]
    if np.array_equal(at, np.arange(len(at))):
        return value[: len(at)]  # nothing is copied
    return value[torch.from_numpy(at)]
