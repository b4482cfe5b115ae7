"""Run a plan chunk by chunk of references, in bounded memory, with checkpoints."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from scrubbing.engine.expressions import Call, Expression
from scrubbing.engine.interpreter import Interpreter, Meter
from scrubbing.engine.memory import Allocations, is_out_of_memory, readable, uncollected
from scrubbing.engine.row_sharing import Arranged, arranged
from scrubbing.engine.sampling.streams import Sample
from scrubbing.errors import DataError, warn

Advance = Callable[[int], None]  # gets the number of draws that are done

Together = Callable[[Sequence[Expression]], Sequence[Expression]]  # the same values, in calls that cost less

LARGEST = 2**24  # bytes of one tensor on a CPU: for larger ones the allocator asks the system each time, slowly


@dataclass(frozen=True)
class Chunk:
    """The losses of the draws from `start` to `stop`, one tensor per root, and how many draws the next chunk has."""

    start: int
    stop: int
    next_size: int
    losses: list[Tensor]


@runtime_checkable
class Checkpoints(Protocol):
    """Keeps finished chunks, so that a killed run can continue from them."""

    def find(self, start: int) -> Chunk | None:
        """The chunk that starts at a draw, if it was kept."""
        ...

    def keep(self, chunk: Chunk) -> None:
        """Keep a finished chunk."""
        ...


@runtime_checkable
class Workers(Protocol):
    """Other processes that compute the losses of one run, all of its roots, for the draws of a sample."""

    def chunk_size(self, sample: Sample) -> int:
        """How many draws at a time fit into the memory that values may take."""
        ...

    def chunks(self, sample: Sample, ranges: Sequence[range], missing: Sequence[range]) -> Iterator[Chunk]:
        """Of the chunks of a run, which are these ranges of draws, those that are missing, in any order."""
        ...


@dataclass(frozen=True)
class Evaluator:
    """Computes the losses of all references of a sample, as many at a time as fit into memory.

    `narrowed` may compute values at fewer positions, and `together` replace several calls by one that costs less.
    `workers`, if there are any, compute the losses in place of this process.
    """

    interpreter: Interpreter
    narrowed: Together = list
    together: Together = list
    workers: Workers | None = None
    _sizes: dict[tuple[Expression, ...], int] = field(default_factory=dict, repr=False)
    _has_rows: dict[Callable[..., Any], bool] = field(default_factory=dict, repr=False)

    @property
    def sample(self) -> Sample:
        """The references and their donors."""
        return self.interpreter.sample

    def on(self, sample: Sample) -> "Evaluator":
        """The same for other draws; values that all chunks share are shared with them."""
        return replace(self, interpreter=replace(self.interpreter, sample=sample))

    def losses(
        self,
        roots: Sequence[Expression],
        progress: Advance = lambda done: None,
        checkpoints: Checkpoints | None = None,
    ) -> list[Tensor]:
        """Each root's value, one number per draw: `[references * draws]`, on the CPU.

        `progress` gets the number of finished draws after each chunk. Chunks that `checkpoints` has are not computed
        again. They also fix where later chunks end, since rounding depends on what is computed together. If a chunk
        does not fit into memory, its size and that of later chunks is halved.
        """
        work = self.arranged(roots)
        computed = self._by_workers(checkpoints) if self.workers else self._in_turn(work, tuple(roots), checkpoints)
        pieces: dict[int, list[Tensor]] = {}
        done = 0
        with closing(computed):  # workers stop at once when something is raised here
            for chunk in computed:
                pieces[chunk.start] = chunk.losses
                done += chunk.stop - chunk.start
                progress(done)
        in_order = torch.from_numpy(np.argsort(work.order))
        return [torch.cat(piece)[in_order] for piece in zip(*(pieces[start] for start in sorted(pieces)), strict=True)]

    def on_range(
        self, work: Arranged, draws: range, size: int | None = None, checkpoints: Checkpoints | None = None
    ) -> Iterator[Chunk]:
        """The chunks of some draws, of `size` at most. Where none is given, the first is a draw that is measured."""
        start = draws.start
        while start < draws.stop:
            chunk = checkpoints.find(start) if checkpoints else None
            if chunk is None or chunk.stop > draws.stop:
                values, stop, size = self._next(work, range(start, draws.stop), size)
                chunk = Chunk(start, stop, size, [_one_loss_per_row(value, stop - start) for value in values])
                if checkpoints:
                    checkpoints.keep(chunk)
            yield chunk
            start, size = chunk.stop, chunk.next_size

    def _in_turn(
        self, work: Arranged, key: tuple[Expression, ...], checkpoints: Checkpoints | None
    ) -> Generator[Chunk]:
        for chunk in self.on_range(work, range(len(self.sample)), self._sizes.get(key), checkpoints):
            self._sizes[key] = chunk.next_size
            yield chunk

    def _by_workers(self, checkpoints: Checkpoints | None) -> Generator[Chunk]:
        """The chunks that were kept, then those that the workers compute, as they come."""
        assert self.workers is not None
        start, size, ranges, missing = 0, None, list[range](), list[range]()
        while start < len(self.sample):
            chunk = checkpoints.find(start) if checkpoints else None
            if chunk is None:
                size = size or self.workers.chunk_size(self.sample)
                ranges.append(range(start, min(start + size, len(self.sample))))
                missing.append(ranges[-1])
            else:
                yield chunk
                ranges.append(range(start, chunk.stop))
                size = chunk.next_size
            start = ranges[-1].stop
        for chunk in self.workers.chunks(self.sample, ranges, missing):
            if checkpoints:
                checkpoints.keep(chunk)
            yield chunk

    def chunks(self, roots: Sequence[Expression]) -> Iterator[tuple[slice, list[Any]]]:
        """The roots' values, whatever they are, for some draws at a time, in the order of the draws."""
        work = Arranged(self.together(self.narrowed(roots)), np.arange(len(self.sample)))
        start, size = 0, self.chunk_size(work)
        while start < len(self.sample):
            values, stop, size = self._next(work, range(start, len(self.sample)), size)
            yield slice(start, stop), values
            start = stop

    @uncollected()
    def arranged(self, roots: Sequence[Expression]) -> Arranged:
        """Cheaper expressions of the same values, and the order of draws for which they are cheaper.

        On a GPU, streams are stacked: small networks spend their time on the number of calls there.
        """
        work = arranged(self.narrowed(roots), self.sample, self._by_row, stacked=not self.interpreter.on_cpu)
        return replace(work, roots=self.together(work.roots))

    def chunk_size(self, work: Arranged) -> int:
        """How many draws at a time fit into memory, measured on one of them."""
        return self._measured(work, 0)[1]

    def _measured(self, work: Arranged, draw: int) -> tuple[list[Any], int]:
        """The values of one draw, and how many draws at a time fit into memory by what it took."""
        self.interpreter.make_what_is_kept(work.roots, work.order[draw : draw + 1])
        one = Allocations()
        values, _, _ = self._finished(work, range(draw, draw + 1), 1, one.counted)
        return values, self.fitting(one, work.share)

    def fitting(self, one: Allocations, share: float) -> int:
        """How many draws at a time fit into memory, if one takes so much and each shares rows with others."""
        memory = self.interpreter.memory
        left = memory - self.interpreter.held_bytes
        if one.peak > left:
            warn(
                f"one draw takes {readable(one.peak)}, and memory={readable(memory)!r} leaves "
                f"{readable(max(0, left))}; going on all the same, one draw at a time"
            )
        fitting = left // max(1, one.peak)
        small = int(LARGEST / max(1, one.largest * share))
        return max(1, min(fitting, small) if self.interpreter.on_cpu else fitting)

    def _by_row(self, calls: Sequence[Call]) -> list[Call]:
        """The calls whose values are tensors with one entry per row, tried on the first draw for each function."""
        new = [call for call in calls if call.fn not in self._has_rows]
        for call, value in zip(new, self.interpreter.values(new, slice(0, 1)), strict=True):
            self._has_rows[call.fn] = isinstance(value, Tensor) and value.ndim > 0 and len(value) == 1
        return [call for call in calls if self._has_rows[call.fn]]

    def _next(self, work: Arranged, draws: range, size: int | None) -> tuple[list[Any], int, int]:
        """The values of the first of some draws, where these stop, and the size of chunks from then on."""
        if size is None:
            values, size = self._measured(work, draws.start)
            return values, draws.start + 1, size
        return self._finished(work, draws[:size], size)

    def _finished(
        self, work: Arranged, draws: range, size: int, meter: Meter | None = None
    ) -> tuple[list[Any], int, int]:
        """The values of some draws, or of fewer if memory runs out; where they stop, and the size from then on."""
        while True:
            try:
                some = work.order[draws.start : draws.stop]
                return self.interpreter.values(work.roots, some, meter=meter), draws.stop, size
            except Exception as error:
                if not is_out_of_memory(error) or len(draws) == 1:
                    raise
            size = len(draws) // 2  # outside the handler, which keeps the chunk's tensors alive
            draws = draws[:size]
            _warn_of_smaller_chunks(size)


def chunk_ranges(draws: int, size: int) -> list[range]:
    """The chunks of a run whose draws are computed `size` at a time: the first draw, which is measured, is alone.

    >>> chunk_ranges(10, 4)
    [range(0, 1), range(1, 5), range(5, 9), range(9, 10)]
    """
    starts = [0, *range(1, draws, size)]
    return [range(start, stop) for start, stop in zip(starts, [*starts[1:], draws], strict=True)]


def _warn_of_smaller_chunks(size: int) -> None:
    what = "1 draw" if size == 1 else f"{size} draws"
    warn(f"out of memory; going on with {what} at a time")


def _one_loss_per_row(value: Any, rows: int) -> Tensor:
    loss = torch.as_tensor(value)
    if loss.shape != (rows,):
        raise DataError(
            f"the output of G has shape {list(loss.shape)} for {rows} row{'s' * (rows != 1)}; it must be one loss per "
            f"row, for example loss.mean(dim=-1)"
        )
    if loss.is_complex():
        raise DataError("the output of G is complex, and a loss is a real number; give for example loss.abs()")
    loss = loss.detach().cpu()
    return loss if loss.is_floating_point() else loss.double()
