"""Run a plan chunk by chunk of references, in bounded memory, with checkpoints."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from scrubbing.engine.expressions import Call, Expression
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.memory import allocations_of, is_out_of_memory, readable
from scrubbing.engine.row_sharing import Arranged, arranged
from scrubbing.engine.sampling.streams import Sample
from scrubbing.errors import DataError, ScrubbingWarning

Advance = Callable[[int], None]  # is told how many draws are done

Together = Callable[[Sequence[Expression]], Sequence[Expression]]  # the same values, in calls that cost less

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
    """Losses of all references of a sample, as many at a time as fit into memory.

    `together` may rewrite what is computed, where several calls cost less as one.
    """

    interpreter: Interpreter
    together: Together = list
    _sizes: dict[tuple[Expression, ...], int] = field(default_factory=dict, repr=False)
    _has_rows: dict[Callable[..., Any], bool] = field(default_factory=dict, repr=False)

    @property
    def sample(self) -> Sample:
        """The references and their donors."""
        return self.interpreter.sample

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
        work = arranged(roots, self.sample, self._by_row, stacked=not self.interpreter.on_cpu)
        return replace(work, roots=self.together(work.roots))

    def chunk_size(self, work: Arranged) -> int:
        """How many draws at a time keep within the memory, by what one of them takes."""
        first, memory = work.order[:1], self.interpreter.memory
        self.interpreter.make_what_is_kept(work.roots, first)
        one = allocations_of(partial(self.interpreter.values, work.roots, first))
        left = memory - self.interpreter.held_bytes
        if one.peak > left:
            warnings.warn(
                f"one draw takes {readable(one.peak)}, and memory={readable(memory)!r} leaves "
                f"{readable(max(0, left))}; going on all the same, one draw at a time",
                ScrubbingWarning,
                stacklevel=2,
            )
        fitting = left // max(1, one.peak)
        small = int(LARGEST / max(1, one.largest * work.share))
        return max(1, min(fitting, small) if self.interpreter.on_cpu else fitting)

    def _by_row(self, calls: Sequence[Call]) -> list[Call]:
        """The calls whose values are tensors of one entry per row; found on the first draw, once for each function."""
        new = [call for call in calls if call.fn not in self._has_rows]
        for call, value in zip(new, self.interpreter.values(new, slice(0, 1)), strict=True):
            self._has_rows[call.fn] = isinstance(value, Tensor) and value.ndim > 0 and len(value) == 1
        return [call for call in calls if self._has_rows[call.fn]]

    def _finished(self, work: Arranged, start: int, size: int) -> Chunk:
        """The chunk of so many draws, or of as many as fit into memory together."""
        while True:
            rows = min(size, len(self.sample) - start)
            try:
                values = self.interpreter.values(work.roots, work.order[start : start + rows])
                return Chunk(start, start + rows, size, [_one_loss_per_row(value, rows) for value in values])
            except Exception as error:
                if not is_out_of_memory(error) or rows == 1:
                    raise
            size = rows // 2  # outside of the handler, which holds what was computed so far
            _warn_of_smaller_chunks(size)


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
    if loss.is_complex():
        raise DataError("the output of G is complex, and a loss is a real number; give for example loss.abs()")
    loss = loss.detach().cpu()
    return loss if loss.is_floating_point() else loss.double()
