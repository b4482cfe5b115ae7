"""Compute expressions on rows of the data. Each distinct call is made once."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

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
    Numbers,
    evaluation_order,
    streams_of,
)
from scrubbing.engine.memory import DEFAULT, held_bytes, is_out_of_memory
from scrubbing.engine.row_sharing import Draws, RowsOfDraws, gathered
from scrubbing.engine.sampling.streams import Pool, Sample, Stream
from scrubbing.engine.sampling.values import mapped, take
from scrubbing.errors import NodeError, ScrubbingError
from scrubbing.graph.nodes import function_key

RowsOf = Callable[[Stream | Pool], np.ndarray]
Observer = Callable[[Expression, Mapping[Expression, Any]], None]
Meter = Callable[[Callable[..., Any] | None, Sequence[Any], Callable[[], Any]], Any]  # `Allocations.counted`

EMPTY: Mapping[Expression, Any] = MappingProxyType({})
PIECE = 8  # rows at a time where the network is computed for all rows of the dataset: at least so many,
PIECE_BYTES = 2**24  # and as many as have values of so many bytes at once


@dataclass(frozen=True)
class Interpreter:
    """Computes expressions on the references of a sample, and keeps the values that all chunks share."""

    columns: dict[str, Tensor | np.ndarray]  # rows of made donors are added at the end
    sample: Sample
    memory: int = DEFAULT  # bytes that values may take together
    _tables: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    _forms: dict[Hashable, int] = field(default_factory=dict, repr=False)
    _constants: dict[tuple[Any, ...], Any] = field(default_factory=dict, repr=False)

    @property
    def rows(self) -> int:
        """The number of rows, made donors included."""
        return len(next(iter(self.columns.values())))

    @property
    def on_cpu(self) -> bool:
        """Whether all columns are held by the processor."""
        return all(column.device.type == "cpu" for column in self.columns.values() if isinstance(column, Tensor))

    @property
    def held_bytes(self) -> int:
        """The bytes of the values that all chunks share."""
        return held_bytes((list(self._constants.values()), list(self._tables.values())))

    def values(
        self, roots: Sequence[Expression], draws: Draws, observe: Observer | None = None, meter: Meter | None = None
    ) -> list[Any]:
        """The roots' values for some draws; `observe` is called after each step, and `meter` makes each."""
        return self.on_rows(roots, RowsOfDraws(self.sample, draws), observe, meter=meter)

    @torch.no_grad()
    def on_rows(
        self,
        roots: Sequence[Expression],
        rows: RowsOf,
        observe: Observer | None = None,
        known: Mapping[Expression, Any] = EMPTY,
        meter: Meter | None = None,
    ) -> list[Any]:
        """The roots' values, where `rows` gives the rows of a stream. A value is freed after its last use.

        Values that are `known` for these rows are not computed again.
        """
        order = evaluation_order(roots, lambda step: () if step in known else step.arguments)
        remaining = Counter(argument for step in order if step not in known for argument in step.arguments)
        remaining.update(roots)
        values: dict[Expression, Any] = {}
        for step in order:
            if step in known:
                values[step] = known[step]
            elif meter is None:
                values[step] = self._value(step, values, rows)
            else:
                fn = step.fn if isinstance(step, Call) and step.arguments else None
                arguments = [values[argument] for argument in step.arguments]
                values[step] = meter(fn, arguments, partial(self._value, step, values, rows))
                del arguments  # or they would be held during the next step
            if observe is not None:
                observe(step, values)
            for argument in () if step in known else step.arguments:
                remaining[argument] -= 1
                if not remaining[argument]:
                    del values[argument]
        return [values[root] for root in roots]

    def make_what_is_kept(self, roots: Sequence[Expression], draws: Draws) -> None:
        """Compute constants, means and tables, which all chunks share."""
        kept = [step for step in evaluation_order(roots) if _has_constant(step)]
        self._make_means([step for step in kept if isinstance(step, Averaged)])
        self.values(kept, draws)

    def _value(self, step: Expression, values: Mapping[Expression, Any], rows: RowsOf) -> Any:
        match step:
            case Leaf(column, stream):
                return take(self.columns[column], rows(stream))
            case Numbers(stream):
                return torch.from_numpy(rows(stream))
            case Call(fn, ()):
                return self._constant((step,), fn)
            case Call(Component() as fn, (Leaf(column, _) as argument,)):
                fitted = self._constant((fn, column, self.rows), lambda: fn.fitted(self.columns[column]))
                return fitted(values[argument])
            case Call():
                name = step.name or type(step.fn).__name__
                return called(name, step.fn, [values[argument] for argument in step.arguments])
            case Gathered(value, pool, stream):
                return gathered(values[value], rows(pool), rows(stream))
            case Assembled():
                return self._assembled(step, rows)
            case Averaged(_, classes, stream):
                self._make_means([step])
                return take(self._tables[step.of], classes.ids[rows(stream)])

    def _constant(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """A value that is the same in every chunk."""
        if key not in self._constants:
            self._constants[key] = make()
        return self._constants[key]

    def _on_dataset(self, values: Sequence[Expression]) -> Iterator[tuple[np.ndarray, list[Any]]]:
        """Values for all rows of the dataset, some at a time, unscrubbed. Pieces grow where values are small."""
        start, size, rows_of_all, most = 0, PIECE, self.sample.dataset_rows, 1

        def observe(_: Expression, values: Mapping[Expression, Any]) -> None:
            nonlocal most
            most = max(most, held_bytes(list(values.values())) // len(rows))

        while start < rows_of_all:
            rows = np.arange(start, min(start + size, rows_of_all))
            yield rows, self.on_rows(values, lambda stream, rows=rows: rows, observe if start == 0 else None)
            start, size = start + len(rows), max(PIECE, PIECE_BYTES // most)

    def _make_means(self, steps: Sequence[Averaged]) -> None:
        """The mean value of each class, over the unscrubbed rows of the dataset: of all steps in one pass."""
        new = list({step.of: step for step in steps if step.of not in self._tables}.values())
        if not new:
            return
        totals: list[dict[int, Any]] = [{} for _ in new]
        for rows, values in self._on_dataset([step.value for step in new]):
            for step, value, total in zip(new, values, totals, strict=True):
                numbers = step.classes.ids[rows]
                for c in np.unique(numbers).tolist():
                    some = mapped(lambda part: part.sum(0), take(value, np.flatnonzero(numbers == c)))
                    total[c] = mapped(torch.add, total[c], some) if c in total else some
        for step, total in zip(new, totals, strict=True):
            sizes = step.classes.sizes.tolist()
            means = [mapped(lambda sum_, size=size: sum_ / size, total[c]) for c, size in enumerate(sizes)]
            self._tables[step.of] = mapped(lambda *rows: torch.stack(rows), *means)

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

            return self.on_rows([step.value], rows_here)[0].select(step.axis, position)

        return torch.stack([at(position) for position in range(step.positions)], dim=step.axis)

    def _table(self, step: Assembled) -> Tensor | None:
        """The value for every row of the dataset, positions second; None where that would be too large.

        All positions and references that drew a row use its entry, so the table costs one pass over the data.
        """
        key = self._constant((step.value, step.axis), lambda: (self._form(step.value), step.axis))
        if key not in self._tables:
            table = None
            for rows, (value,) in self._on_dataset([step.value]):
                piece = value.movedim(step.axis, 1)
                if table is None:
                    if piece[0].nbytes * self.sample.dataset_rows > self.memory // 2:
                        return None
                    table = piece.new_empty(self.sample.dataset_rows, *piece.shape[1:])
                table[torch.from_numpy(rows)] = piece
            self._tables[key] = table
        return self._tables[key]

    def _form(self, value: Expression) -> int:
        """What is computed, on whatever rows: values of one form have one table."""
        numbers: dict[Expression, int] = {}
        for step in evaluation_order([value]):
            match step:
                case Leaf(column, _):
                    form: Hashable = column
                case Call(fn, arguments):
                    same = fn if isinstance(fn, Component) else function_key(fn)
                    form = same, *(numbers[argument] for argument in arguments)
                case _:
                    form = step
            numbers[step] = self._forms.setdefault(form, len(self._forms))
        return numbers[value]


def in_pieces(rows: int, size: int) -> Iterator[np.ndarray]:
    """The dataset's rows, in pieces of `size`."""
    return (np.arange(start, min(start + size, rows)) for start in range(0, rows, size))


def called(name: str, fn: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """The value of a node's function. Raises `NodeError` with what the function raises as its cause."""
    try:
        return fn(*arguments)
    except ScrubbingError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise NodeError(name, error) from error


def _has_constant(step: Expression) -> bool:
    """Whether a step has a value that all chunks share."""
    match step:
        case Assembled() | Averaged() | Call(_, ()) | Call(Component(), (Leaf(),)):
            return True
    return False
