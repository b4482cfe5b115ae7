"""Count what a run will take, before it runs: streams, calls, floating-point operations, bytes."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from scrubbing.engine.component import Component
from scrubbing.engine.evaluate import Evaluator, chunk_ranges
from scrubbing.engine.expressions import Call, Expression, Gathered, Item, Leaf, streams_by_step
from scrubbing.engine.memory import allocations_of, readable
from scrubbing.engine.row_sharing import Arranged, RowsOfDraws
from scrubbing.engine.sampling.streams import Drawn, Pool, References, Stream
from scrubbing.errors import printable
from scrubbing.score.tables import Printed, titled

AT_ONCE = 4096  # draws whose evaluated positions are counted together

Shape = tuple[int, ...]


# Operations that torch's counter leaves out: in place, or on a CPU.


def _in_place_product(added: Shape, left: Shape, right: Shape, **_: Any) -> int:
    return 2 * left[0] * left[1] * right[1]


def _attention(q: Shape, k: Shape, v: Shape, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(q, k, v)


ALSO_COUNTED = {
    torch.ops.aten.addmm_: _in_place_product,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
}


class Kind(BaseModel):
    """The calls of one kind of function."""

    model_config = ConfigDict(frozen=True)

    name: str
    calls: int
    mixed: int
    flops: int


class Shared(BaseModel):
    """How workers would share a run.

    `sent_bytes` go to each machine once, `returned_bytes` are losses. `balance` is the part of the workers' time in
    which they have work. `repeated` is the work that groups of hypotheses do again, as a part of all that is needed.
    """

    model_config = ConfigDict(frozen=True)

    workers: int
    pieces: int
    groups: int
    sent_bytes: int
    returned_bytes: int
    balance: float
    repeated: float


class Cost(Printed, BaseModel):
    """What a run takes: `print` it.

    A call is one distinct application of a function, or one value that is assembled by position or averaged. It is
    mixed if its inputs come from more than one stream of rows, and else plain (part of an ordinary forward pass).
    `flops` counts matrix products and attention over the whole run, two for each multiply-add; `once` is the part of
    them that does not grow with the number of draws. `peak_bytes` is the memory of a chunk of `chunk` draws, with the
    values that all chunks share. `shared` says how an engine's workers would share it, if one was asked for.
    """

    model_config = ConfigDict(frozen=True)

    hypotheses: int
    draws: int
    streams: int
    plain: dict[str, int]
    mixed: int
    logits_rows: int
    flops: int
    once: int
    chunk: int
    peak_bytes: int
    memory: int
    kinds: tuple[Kind, ...]
    shared: Shared | None = None

    def __rich__(self) -> RenderableType:
        """The totals, and the functions that are called, the most work first."""
        grid = Table.grid(padding=(0, 2))
        for name, value in self._lines():
            grid.add_row(Text(name, style="dim"), Text(value))
        rows = [self._row(kind.name, [kind]) for kind in self.kinds if kind.flops]
        others = [kind for kind in self.kinds if not kind.flops]
        if others:
            rows.append(self._row(f"{len(others)} without matrix products", others))
        return Group(grid, Text(""), titled("by function", ["function", "calls", "mixed", "operations", "share"], rows))

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield "hypotheses", f"{self.hypotheses:,}"
        yield "draws", f"{self.draws:,}, {self.chunk:,} at a time"
        yield "streams of rows", f"{self.streams:,}"
        yield "calls", f"{sum(self.plain.values()):,} plain, {self.mixed:,} mixed"
        yield "rows of logits", f"{self.logits_rows:,}"
        yield "operations", f"{scaled(self.flops)}FLOP, {scaled(self.once)}FLOP of them once"
        yield "memory", f"{readable(self.peak_bytes)} at most, of {readable(self.memory)} allowed"
        if self.shared:
            s = self.shared
            groups = f" ({s.groups} groups of hypotheses, {s.repeated:.0%} done again)" if s.groups > 1 else ""
            yield (
                "workers",
                f"{s.workers:,} for {s.pieces:,} pieces{groups}, busy {s.balance:.0%} of the time",
            )
            yield "sent", f"{readable(s.sent_bytes)} to each machine; {readable(s.returned_bytes)} of losses come back"

    def _row(self, name: str, kinds: Sequence[Kind]) -> tuple[str, ...]:
        calls, mixed, flops = (sum(getattr(kind, field) for kind in kinds) for field in ("calls", "mixed", "flops"))
        share = f"{flops / self.flops:.0%}" if flops else ""
        return printable(name), f"{calls:,}", f"{mixed:,}", f"{scaled(flops)}FLOP", share


def cost(evaluator: Evaluator, roots: Sequence[Expression], hypotheses: int) -> Cost:
    """The cost of computing the roots for all draws, measured on a few of them."""
    work = evaluator.arranged(list(dict.fromkeys(roots)))
    seen = streams_by_step(work.roots)
    order = list(seen)
    calls = [step for step in order if not isinstance(step, Leaf | Gathered) and not _is_item(step)]
    draws = len(evaluator.sample)
    counts = _evaluated_positions(evaluator, order)
    rows_of_logits = sum(_logits_per_position(step) * int(count.sum()) for step, count in counts.items())
    probed = int(np.argmax(sum(counts.values(), np.zeros(draws))))  # a draw with positions to count
    first, second = (operations(evaluator, work, probed) for _ in range(2))  # the second time, constants are known
    once = {step: first[step] - second[step] for step in order}
    chunk = min(draws, evaluator.chunk_size(work))
    times: dict[Expression, Fraction] = {
        step: Fraction(int(c.sum()), int(c[probed])) for step, c in counts.items() if c[probed]
    }
    for pool in {stream for streams in seen.values() for stream in streams if isinstance(stream, Pool)}:
        rows = sum(_rows_of(evaluator, pool, work.order[some]) for some in chunk_ranges(draws, chunk))
        times |= {step: Fraction(rows, _rows_of(evaluator, pool, [probed])) for step in order if seen[step] == {pool}}
    flops = {step: once[step] + int(second[step] * times.get(step, draws)) for step in order}
    peak = (
        allocations_of(partial(evaluator.interpreter.values, work.roots, work.order[:chunk])).peak
        + evaluator.interpreter.held_bytes
    )
    single = [next(iter(seen[step])) for step in calls if len(seen[step]) == 1]
    return Cost(
        hypotheses=hypotheses,
        draws=draws,
        plain=Counter(map(_label, single)),
        mixed=sum(len(seen[step]) > 1 for step in calls),
        streams=len({member for streams in seen.values() for stream in streams for member in _members(stream)}),
        logits_rows=rows_of_logits,
        flops=sum(flops.values()),
        once=sum(once.values()),
        chunk=chunk,
        peak_bytes=peak,
        memory=evaluator.interpreter.memory,
        kinds=_kinds(calls, seen, flops),
    )


def _evaluated_positions(evaluator: Evaluator, order: Sequence[Expression]) -> dict[Call, np.ndarray]:
    """The number of evaluated positions of every draw, for each step whose work depends on them."""
    steps = [step for step in order if isinstance(step, Call) and _logits_per_position(step)]
    counts: list[list[np.ndarray]] = [[] for _ in steps]
    for start in range(0, len(evaluator.sample), AT_ONCE):
        indices = evaluator.interpreter.values([step.arguments[0] for step in steps], slice(start, start + AT_ONCE))
        for count, index in zip(counts, indices, strict=True):
            count.append((index >= 0).sum(dim=1).cpu().numpy())
    return {step: np.concatenate(count) for step, count in zip(steps, counts, strict=True)}


def _logits_per_position(step: Call) -> int:
    return step.fn.logits_per_position if isinstance(step.fn, Component) else 0


def operations(evaluator: Evaluator, work: Arranged, draw: int) -> dict[Expression, int]:
    """The operations of each step for one draw, but for those of steps whose values are kept."""
    with counting_flops() as so_far:
        marks: dict[Expression, int] = {}
        evaluator.interpreter.values(work.roots, np.array([draw]), lambda step, values: marks.update({step: so_far()}))
    return {step: mark - before for (step, mark), before in zip(marks.items(), [0, *marks.values()], strict=False)}


def _rows_of(evaluator: Evaluator, pool: Pool, draws: Sequence[int] | np.ndarray) -> int:
    """How many distinct rows a pool has for some draws."""
    return len(RowsOfDraws(evaluator.sample, np.asarray(draws))(pool))


@contextmanager
def counting_flops() -> Iterator[Callable[[], int]]:
    """Yields a function that returns the number of operations so far."""
    with FlopCounterMode(display=False, custom_mapping=ALSO_COUNTED) as counter:
        yield counter.get_total_flops


def _kinds(
    calls: Sequence[Expression], seen: Mapping[Expression, frozenset[Stream | Pool]], flops: Mapping[Expression, int]
) -> tuple[Kind, ...]:
    kinds: dict[str, list[Expression]] = {}
    for step in calls:
        kinds.setdefault(_name(step.fn if isinstance(step, Call) else step), []).append(step)
    found = [
        Kind(name=n, calls=len(of), mixed=sum(len(seen[c]) > 1 for c in of), flops=sum(flops[c] for c in of))
        for n, of in kinds.items()
    ]
    return tuple(sorted(found, key=lambda kind: -kind.flops))


def _is_item(step: Expression) -> bool:
    return isinstance(step, Call) and isinstance(step.fn, Item)


def _name(fn: Any) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


def _members(stream: Stream | Pool) -> tuple[Stream, ...]:
    return stream.streams if isinstance(stream, Pool) else (stream,)


def _label(stream: Stream | Pool) -> str:
    match stream:
        case Pool(streams):
            return " and ".join(map(_label, streams)) + ", each row once"
        case References():
            return "the references"
        case Drawn(key):
            return "/".join(key)
        case _:
            return "given rows"


def scaled(number: int) -> str:
    """A number with a unit: 12.3 G."""
    power = min(5, max(0, len(str(number)) - 1) // 3)
    return f"{number / 1000**power:.3g} {'kMGTP'[power - 1] if power else ''}"
