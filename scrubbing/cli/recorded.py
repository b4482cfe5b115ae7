"""The history of a store as a table: the runs, each with its scores."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scrubbing.errors import printable
from scrubbing.store.entries import Entry

HASH = 6  # digits of a hash that are shown


def history_table(entries: Sequence[Entry], tried: Mapping[tuple[str, str | None], int]) -> RenderableType:
    """The runs, each with its scores, and how many hypotheses were tried on which model and behaviour."""
    if not entries:
        return Text("no scores that fit are recorded")
    width = max(len(str(entry.id)) for entry in entries)
    parts: list[RenderableType] = []
    for _, run in groupby(entries, key=lambda entry: entry.run):
        parts += [*_run(list(run), width), Text("")]
    return Group(*parts, *_tried(tried))


def _run(entries: Sequence[Entry], width: int) -> list[RenderableType]:
    first = entries[0]
    title = Text(f"{first.time.astimezone():%Y-%m-%d %H:%M}", "bold")
    title.append(f"  {printable(first.suite or 'scrub')}")
    draws = f" x {first.draws} draws" if first.draws > 1 else ""
    measured = f"{first.references} references{draws}, seed {first.seed}, "
    title.append(f"   {measured}model {first.model[:HASH]}, data {first.data[:HASH]}", "dim")
    table = Table.grid(padding=(0, 2), expand=False)
    table.add_column(justify="right", width=width, style="dim")
    table.add_column(width=80 - width - 2 - 44, overflow="fold")
    table.add_column(justify="right", width=7, style="bold")
    table.add_column(width=18)
    table.add_column(justify="right", width=13, style="dim")
    for entry in entries:
        table.add_row(str(entry.id), _name(entry), *recovered(entry), Text(f"loss {entry.scrubbed:.4g}"))
    return [title, table]


def recovered(entry: Entry) -> tuple[Text, Text]:
    """The percentage that a score recovers, and its interval."""
    if entry.recovered is None:
        return Text("-"), Text("nothing to recover", "not bold dim")
    low, high = entry.interval or (None, None)
    interval = "unbounded" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"
    return Text(f"{100 * entry.recovered:.1f}%"), Text(interval, "dim")


def _name(entry: Entry) -> Text:
    return Text(printable(entry.name or f"hypothesis {entry.hypothesis[:HASH]}"))


def _tried(tried: Mapping[tuple[str, str | None], int]) -> Iterable[Text]:
    for (model, suite), count in tried.items():
        of = f" of {printable(suite)}" if suite else ""
        said = f"1 hypothesis{of} was" if count == 1 else f"{count} different hypotheses{of} were"
        yield Text(f"{said} tried on model {model[:HASH]}", "dim")
