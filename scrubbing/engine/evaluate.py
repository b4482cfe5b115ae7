"""Run a plan: the distinct calls, once each, chunk by chunk of references."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.expressions import (
    Assembled,
    Averaged,
    Call,
    Expression,
    Gathered,
    Leaf,
    evaluation_order,
    streams_of,
)
from scrubbing.engine.memory import DEFAULT, allocations_of, held_bytes, is_out_of_memory, readable
from scrubbing.engine.plan import Feature
from scrubbing.engine.policy import DonorSampler
from scrubbing.engine.row_sharing import Arranged, Draws, RowsOfDraws, arranged, gathered
from scrubbing.engine.sampling.agreement import Classes, Piece, PositionClasses, agreement, agreement_by_position
from scrubbing.engine.sampling.randomness import keyed_uniforms
from scrubbing.engine.sampling.streams import Given, Pool, Sample, Stream
from scrubbing.errors import DataError, HypothesisError, ScrubbingWarning
from scrubbing.graph.data import appended

RowsOf = Callable[[Stream | Pool], np.ndarray]
Advance = Callable[[int], None]  # is told how many draws are done
Observer = Callable[[Expression, Mapping[Expression, Any]], None]

PIECE = 8  # rows at a time where the network is computed for all rows of the dataset
READ = 2**24  # bytes of columns at a time where a feature is
LARGEST = 2**24  # bytes of one tensor on a processor: larger ones are fetched from the system anew each time, slowly


@dataclass(frozen=True)
class Chunk:
    """The losses of the draws from `start` to `stop`, one tensor per root, and how many draws the next chunk has."""

    start: int
    stop: int
    next_size: int
    losses: list[Tensor]


@runtime_checkable
class Checkpoints(Protocol):
    """Keeps the chunks of a run, so that the run can go on from them after it was killed."""

    def find(self, start: int) -> Chunk | None:
        """The chunk that starts here, if it was kept."""
        ...

    def keep(self, chunk: Chunk) -> None:
        """A chunk is finished."""
        ...


@dataclass(frozen=True)
class Evaluator:
    """Values of expressions on the references of a sample."""

    columns: dict[str, Tensor | np.ndarray]  # rows that are made are added at their end
    sample: Sample
    memory: int = DEFAULT  # bytes that values may take together
    _tables: dict[Expression, Tensor] = field(default_factory=dict, repr=False)
    _constants: dict[tuple[Any, ...], Any] = field(default_factory=dict, repr=False)
    _classes: dict[tuple[Feature, int], Classes | PositionClasses] = field(default_factory=dict, repr=False)
    _sizes: dict[tuple[Expression, ...], int] = field(default_factory=dict, repr=False)
    _has_rows: dict[Callable[..., Any], bool] = field(default_factory=dict, repr=False)

    def losses(
        self,
        roots: Sequence[Expression],
        progress: Advance = lambda done: None,
        checkpoints: Checkpoints | None = None,
    ) -> list[Tensor]:
        """Each root's value, one number per draw: `[references * draws]`, on the CPU.

        `progress` is told how many draws are done, chunk by chunk. Chunks that `checkpoints` has are not computed
        again; they say where chunks end too, since rounding depends on what is computed together. Where a chunk
        does not fit into memory after all, it and those after it have half the size.
        """
        work, key = self.arranged(roots), tuple(roots)
        pieces: list[list[Tensor]] = []
        start = 0
        while start < len(self.sample):
            chunk = checkpoints.find(start) if checkpoints else None
            if chunk is None:
                chunk = self._finished(work, start, self._sizes.get(key) or self.chunk_size(work))
                if checkpoints:
                    checkpoints.keep(chunk)
            pieces.append(chunk.losses)
            start, self._sizes[key] = chunk.stop, chunk.next_size
            progress(start)
        in_order = torch.from_numpy(np.argsort(work.order))
        return [torch.cat(piece)[in_order] for piece in zip(*pieces, strict=True)]

    def arranged(self, roots: Sequence[Expression]) -> Arranged:
        """Expressions of the roots' values that take less to compute, and an order of draws in which they do.

        Off the processor streams are stacked: small networks are bound by the number of calls there.
        """
        return arranged(roots, self.sample, self._by_row, stacked=not self._on_cpu)

    def _by_row(self, calls: Sequence[Call]) -> list[Call]:
        """The calls whose values are tensors of one entry per row; found on the first draw, once for each function."""
        new = [call for call in calls if call.fn not in self._has_rows]
        for call, value in zip(new, self.values(new, slice(0, 1)), strict=True):
            self._has_rows[call.fn] = isinstance(value, Tensor) and value.ndim > 0 and len(value) == 1
        return [call for call in calls if self._has_rows[call.fn]]

    def _finished(self, work: Arranged, start: int, size: int) -> Chunk:
        """The chunk of so many draws, or of as many as fit into memory together."""
        while True:
            rows = min(size, len(self.sample) - start)
            try:
                values = self.values(work.roots, work.order[start : start + rows])
                return Chunk(start, start + rows, size, [_one_loss_per_row(value, rows) for value in values])
            except Exception as error:
                if not is_out_of_memory(error) or rows == 1:
                    raise
            size = rows // 2  # outside of the handler, which holds what was computed so far
            _warn_of_smaller_chunks(size)

    def chunk_size(self, work: Arranged) -> int:
        """How many draws at a time keep within the memory, by what one of them takes."""
        first = work.order[:1]
        self._make_what_is_kept(work.roots, first)
        one = allocations_of(partial(self.values, work.roots, first))
        left = self.memory - self.held_bytes
        if one.peak > left:
            warnings.warn(
                f"one draw takes {readable(one.peak)}, and memory={readable(self.memory)!r} leaves "
                f"{readable(max(0, left))}; going on all the same, one draw at a time",
                ScrubbingWarning,
                stacklevel=2,
            )
        fitting = left // max(1, one.peak)
        return max(1, min(fitting, int(LARGEST / max(1, one.largest * work.share))) if self._on_cpu else fitting)

    def _make_what_is_kept(self, roots: Sequence[Expression], draws: Draws) -> None:
        """Constants, means and tables: they belong to no chunk."""
        self.values([step for step in evaluation_order(roots) if _has_constant(step)], draws)

    @property
    def _on_cpu(self) -> bool:
        return all(column.device.type == "cpu" for column in self.columns.values() if isinstance(column, Tensor))

    @property
    def held_bytes(self) -> int:
        """What is kept for all chunks."""
        return held_bytes((list(self._constants.values()), list(self._tables.values())))

    def classes(self, feature: Feature) -> Classes | PositionClasses:
        """Which rows of the dataset agree on a feature."""
        if (feature, self._rows) not in self._classes:
            classify = agreement_by_position if feature.per_position else agreement
            pieces = (
                Piece(self._values([feature.value], lambda stream, rows=rows: rows)[0], int(rows[0]), int(rows[-1]) + 1)
                for rows in _in_pieces(self._rows, self._rows_at_once)
            )
            try:
                donors = self.sample.dataset_rows
                self._classes[feature, self._rows] = classify(pieces, feature.binning, donors=donors)
            except DataError as error:
                raise DataError(f"the feature of {feature.name!r} cannot be used: {error}") from error
        return self._classes[feature, self._rows]

    def made(self, maker: DonorSampler, path: tuple[str, ...], parent: Stream, feature: Feature) -> Stream:
        """Donors made for the draws: new rows after the dataset's, checked to agree with what they stand in for."""
        own = self.sample.rows(parent)
        if own.ndim > 1:
            raise HypothesisError(f"donors of {feature.name!r} cannot be made below a claim per position")
        key = int(keyed_uniforms(self.sample.seed, (*path, "made")) * 2**53)
        datums = {name: column[own] for name, column in self.columns.items()}
        changed = maker(dict(datums), np.random.default_rng(key))
        start = self._rows
        for name, column in appended(self.columns, datums, changed, feature.name).items():
            self.columns[name] = column
        rows = start + np.arange(len(own))
        ids = self._ids(feature)
        wrong = (ids[own] != ids[rows]).reshape(len(own), -1).any(axis=1)
        if wrong.any():
            raise DataError(
                f"the donors made for {feature.name!r} must agree with the datums that they stand in for; "
                f"the one for row {own[wrong.argmax()]} does not"
            )
        return Given(rows)

    def _ids(self, feature: Feature) -> np.ndarray:
        classes = self.classes(feature)
        return classes.ids if isinstance(classes, Classes) else np.stack([c.ids for c in classes.at], axis=1)

    @property
    def _rows(self) -> int:
        """The rows of the dataset and those that were made."""
        return len(next(iter(self.columns.values())))

    @property
    def _rows_at_once(self) -> int:
        """So many rows of the dataset that their columns are not too large for a feature to be computed of them."""
        size = sum(column.nbytes for column in self.columns.values())
        return max(PIECE, READ * self._rows // max(1, size))

    def is_floating(self, value: Expression) -> bool:
        """Whether a value is a tensor of floating-point numbers; found on the first row."""
        first = self._values([value], lambda stream: np.zeros(1, dtype=np.int64))[0]
        return isinstance(first, Tensor) and first.is_floating_point()

    def values(self, roots: Sequence[Expression], draws: Draws, observe: Observer | None = None) -> list[Any]:
        """The roots' values for some draws; `observe` is told of each step when it is done."""
        return self._values(roots, RowsOfDraws(self.sample, draws), observe)

    @torch.no_grad()
    def _values(self, roots: Sequence[Expression], rows: RowsOf, observe: Observer | None = None) -> list[Any]:
        """Compute each expression once, and let go of each value after its last use."""
        order = evaluation_order(roots)
        remaining = Counter(argument for step in order for argument in step.arguments)
        remaining.update(roots)
        values: dict[Expression, Any] = {}
        for step in order:
            values[step] = self._value(step, values, rows)
            if observe is not None:
                observe(step, values)
            for argument in step.arguments:
                remaining[argument] -= 1
                if not remaining[argument]:
                    del values[argument]
        return [values[root] for root in roots]

    def _value(self, step: Expression, values: Mapping[Expression, Any], rows: RowsOf) -> Any:
        match step:
            case Leaf(column, stream):
                held = self.columns[column]
                return held[torch.from_numpy(rows(stream)) if isinstance(held, Tensor) else rows(stream)]
            case Call(fn, ()):
                return self._constant((step,), fn)
            case Call(Component() as fn, (Leaf(column, _) as argument,)):
                fitted = self._constant((fn, column, self._rows), lambda: fn.fitted(self.columns[column]))
                return fitted(values[argument])
            case Call(fn, arguments):
                return fn(*(values[argument] for argument in arguments))
            case Gathered(value, pool, stream):
                return gathered(values[value], rows(pool), rows(stream))
            case Assembled():
                return self._assembled(step, rows)
            case Averaged(_, classes, stream):
                return self._means(step)[torch.from_numpy(classes.ids[rows(stream)])]

    def _constant(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """A value that is the same in every chunk."""
        if key not in self._constants:
            self._constants[key] = make()
        return self._constants[key]

    def _means(self, step: Averaged) -> Tensor:
        """The mean value of each class, on unmixed rows of the whole dataset."""
        if step not in self._tables:
            totals: dict[int, Tensor] = {}
            for rows in _in_pieces(self.sample.dataset_rows, PIECE):
                value = self._values([step.value], lambda stream, rows=rows: rows)[0]
                for c, row in zip(step.classes.ids[rows].tolist(), value, strict=True):
                    totals[c] = totals[c] + row if c in totals else row
            sizes = step.classes.sizes.tolist()
            self._tables[step] = torch.stack([totals[c] / size for c, size in enumerate(sizes)])
        return self._tables[step]

    # -- values whose positions come from different rows

    def _assembled(self, step: Assembled, rows: RowsOf) -> Tensor:
        streams = streams_of(step.value)
        if len(streams) == 1:
            table = self._table(step)
            if table is not None:
                donors = torch.from_numpy(rows(next(iter(streams))))
                donors = donors if donors.ndim == 2 else donors[:, None]  # one row for all positions
                return table[donors, torch.arange(step.positions)].movedim(1, step.axis)

        def at(position: int) -> Tensor:
            def rows_here(stream: Stream | Pool) -> np.ndarray:
                here = rows(stream)
                return here[:, position] if here.ndim == 2 else here

            value = self._values([step.value], rows_here)[0]
            return value.select(step.axis, position)

        return torch.stack([at(position) for position in range(step.positions)], dim=step.axis)

    def _table(self, step: Assembled) -> Tensor | None:
        """The value for every row of the dataset, positions second; None where that would be too large.

        Each row of a pass serves all positions and references that drew it, so the table costs one pass over the data.
        """
        if step.value not in self._tables:
            rows, *others = _in_pieces(self.sample.dataset_rows, PIECE)
            first = self._piece(step, rows)
            if first[0].nbytes * self.sample.dataset_rows > self.memory // 2:
                return None
            table = first.new_empty(self.sample.dataset_rows, *first.shape[1:])
            table[torch.from_numpy(rows)] = first
            for rows in others:
                table[torch.from_numpy(rows)] = self._piece(step, rows)
            self._tables[step.value] = table
        return self._tables[step.value]

    def _piece(self, step: Assembled, rows: np.ndarray) -> Tensor:
        return self._values([step.value], lambda stream: rows)[0].movedim(step.axis, 1)


def _in_pieces(rows: int, size: int) -> Iterator[np.ndarray]:
    """The dataset's rows, so many at a time."""
    return (np.arange(start, min(start + size, rows)) for start in range(0, rows, size))


def _has_constant(step: Expression) -> bool:
    """Whether something is made for a step that all chunks share."""
    match step:
        case Assembled() | Averaged() | Call(_, ()) | Call(Component(), (Leaf(),)):
            return True
    return False


def _warn_of_smaller_chunks(size: int) -> None:
    what = "1 draw" if size == 1 else f"{size} draws"
    warnings.warn(f"out of memory; going on with {what} at a time", ScrubbingWarning, stacklevel=4)


def _one_loss_per_row(value: Any, rows: int) -> Tensor:
    loss = torch.as_tensor(value)
    if loss.shape != (rows,):
        raise DataError(
            f"the output of G has shape {list(loss.shape)} for {rows} rows; it must be one loss per row, "
            f"for example loss.mean(dim=-1)"
        )
    loss = loss.detach().cpu()
    return loss if loss.is_floating_point() else loss.double()
