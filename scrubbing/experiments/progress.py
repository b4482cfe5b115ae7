"""A progress bar that appears only where it is of use: on a terminal, when the work takes longer than two seconds."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from scrubbing.engine.evaluate import Advance

PATIENCE = 2.0  # seconds

ShowProgress = Annotated[
    bool | Callable[[int, int], None] | None, "True, False, None (on a terminal), or a function of (done, total)"
]


@contextmanager
def showing_progress(progress: ShowProgress, total: int, *, unit: str = "references") -> Iterator[Advance]:
    """A function to be told how much is done, and what it tells the user: a bar with rate and remaining time.

    `progress` is True, False, None (a bar if standard error is a terminal), or a function of (done, total).
    """
    if callable(progress):
        yield lambda done: progress(done, total)
        return
    console = Console(stderr=True)
    if progress is False or (progress is None and not console.is_terminal):
        yield lambda done: None
        return
    with _bar(console, unit) as bar:
        task = bar.add_task("", total=total, rate="", visible=False)
        started = time.monotonic()

        def advance(done: int) -> None:
            elapsed = time.monotonic() - started
            rate = f"{done / elapsed:,.0f} {unit}/s" if elapsed else ""
            bar.update(task, completed=done, rate=rate, visible=elapsed > PATIENCE)

        yield advance


def _bar(console: Console, unit: str) -> Progress:
    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
