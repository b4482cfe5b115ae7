"""`scrubbing explain`."""

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from scrubbing.cli.experiments import (
    DataFile,
    DeviceOption,
    MemoryOption,
    ModelFolder,
    OnlyOption,
    Precision,
    PrecisionOption,
    ReferencesOption,
    SuiteArgument,
    experiments,
    settings,
)
from scrubbing.cli.text import printable
from scrubbing.engine.cost import Cost, Kind, scaled
from scrubbing.engine.memory import readable
from scrubbing.score.tables import titled


def explain(
    suite: SuiteArgument,
    model: ModelFolder = None,
    data: DataFile = None,
    only: OnlyOption = None,
    references: ReferencesOption = None,
    dtype: PrecisionOption = Precision.float32,
    device: DeviceOption = "cpu",
    memory: MemoryOption = None,
) -> None:
    """Count what scoring would take, before it is done: calls, operations and bytes.

    It is found on a few draws; nothing is scored or recorded. All experiments in half a gigabyte:

        scrubbing explain induction --memory 512MiB

    Equal calls are counted once, for they are made once. A call is plain where all that it sees comes from one stream
    of rows, as in an ordinary forward pass, and mixed where it sees several.
    """
    chosen = experiments(suite, model=model, data=data, only=only, dtype=dtype, device=device)
    cost = chosen.cost(**settings(chosen, references=references, memory=memory))
    Console().print(cost_table(cost, title=f"{chosen.title}: what scoring takes"))


def cost_table(cost: Cost, *, title: str) -> RenderableType:
    """The whole, one line each, and the functions that are called, the most work first."""
    grid = Table.grid(padding=(0, 2))
    for name, value in _lines(cost):
        grid.add_row(Text(name, style="dim"), Text(value))
    rows = [_row(printable(kind.name), [kind], cost) for kind in cost.kinds if kind.flops]
    others = [kind for kind in cost.kinds if not kind.flops]
    if others:
        rows.append(_row(f"{len(others)} without matrix products", others, cost))
    functions = titled("by function", ["function", "calls", "mixed", "operations", "share"], rows)
    return Group(Text(title, style="bold"), grid, Text(""), functions)


def _lines(cost: Cost) -> Iterator[tuple[str, str]]:
    yield "hypotheses", f"{cost.hypotheses:,}"
    yield "draws", f"{cost.draws:,}, {cost.chunk:,} at a time"
    yield "streams of rows", f"{cost.streams:,}"
    yield "calls", f"{sum(cost.plain.values()):,} plain, {cost.mixed:,} mixed"
    yield "rows of logits", f"{cost.logits_rows:,}"
    yield "operations", f"{scaled(cost.flops)}FLOP, {scaled(cost.once)}FLOP of them once"
    yield "memory", f"{readable(cost.peak_bytes)} at most, of {readable(cost.memory)} allowed"


def _row(name: str, kinds: Sequence[Kind], cost: Cost) -> tuple[str, ...]:
    calls, mixed, flops = (sum(getattr(kind, field) for kind in kinds) for field in ("calls", "mixed", "flops"))
    share = f"{flops / cost.flops:.0%}" if flops else ""
    return name, f"{calls:,}", f"{mixed:,}", f"{scaled(flops)}FLOP", share
