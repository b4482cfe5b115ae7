"""Print results as tables of 80 columns, with each interval below its estimate."""

import io
import math
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from scrubbing.errors import displayed

WIDTH = 80
NAME = 24  # columns that a name has before it is broken
DIGITS = 4  # significant digits of the largest number in a table

Interval = tuple[float, float] | None


def rendered(renderable: RenderableType, *, width: int = WIDTH) -> str:
    """What a terminal of this width would show, as plain text."""
    file = io.StringIO()
    Console(file=file, width=width, color_system=None, highlight=False).print(renderable)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


class Printed(ABC):
    """A result that shows its table everywhere: as text, in a terminal by rich, in a notebook.

    A dataclass that inherits from it has `repr=False`, else it gets a `__repr__` of its own.
    """

    @abstractmethod
    def __rich__(self) -> RenderableType: ...

    def __str__(self) -> str:
        return rendered(self)

    def __repr__(self) -> str:
        return rendered(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return displayed(self)


def decimals_for(values: Iterable[float]) -> int:
    """How many decimals show the largest of some numbers with four significant digits.

    >>> decimals_for([0.2195, 1e-9]), decimals_for([22.0, 10.0]), decimals_for([12345.0])
    (4, 2, 0)
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return min(12, max(0, DIGITS - 1 - math.floor(math.log10(largest)))) if largest > 0 else DIGITS - 1


def fixed(value: float, decimals: int) -> str:
    """A number with so many decimals, and no sign before zero.

    >>> fixed(-1e-9, 2), fixed(float("nan"), 2)
    ('0.00', '')
    """
    return "" if math.isnan(value) else f"{round(value, decimals) + 0.0:.{decimals}f}"


def estimate(value: float, interval: Interval, decimals: int, *, after: str = "") -> Text:
    """A cell: the estimate, text after it, and its interval below it if it has one."""
    cell = Text(fixed(value, decimals), style="bold").append(after, style="not bold")
    if interval is not None and not math.isnan(value):
        low, high = (fixed(bound, decimals) for bound in interval)
        cell.append(f"\n{low} to {high}", style="not bold dim")
    return cell


def tails(paths: Iterable[str]) -> dict[str, str]:
    """Shorten each path to as few of its last names as keep it unique.

    >>> tails(["loss/a/q/other", "loss/a/k/other", "loss/b"])
    {'loss/a/q/other': 'q/other', 'loss/a/k/other': 'k/other', 'loss/b': 'b'}
    """
    paths = list(dict.fromkeys(paths))
    found: dict[str, str] = {}
    for path in paths:
        names = path.split("/")
        ends = ("/".join(names[-k:]) for k in range(1, len(names)))
        found[path] = next((end for end in ends if sum(f"/{other}".endswith(f"/{end}") for other in paths) == 1), path)
    return found


def titled(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text] | None],
    notes: Iterable[str] = (),
    *,
    left: Sequence[str] = (),
    keys: int = 1,
) -> RenderableType:
    """A table under its title, its first column (and those in `left`) of names; None among the rows draws a line.

    Names come from users and their data: they are shown as they are, and never read as markup. The first `keys`
    columns say what a row is. A row that is short has nothing in its last columns.
    """
    lines = [
        None
        if row is None
        else [c if isinstance(c, Text) else Text(c) for c in (*row, *[""] * (len(columns) - len(row)))]
        for row in rows
    ]
    table = Fitting(columns, lines, {i for i, column in enumerate(columns) if i == 0 or column in left}, keys)
    return Group(Text(title, style="bold"), table, *(Text(note, style="dim") for note in notes))


@dataclass(frozen=True)
class Fitting:
    """A table that breaks no number: where the terminal is too narrow, it has no lines between its columns; where that
    is not enough, it is cut into several, each of which begins with the columns that say what a row is.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Text] | None]  # None draws a line
    names: Collection[int]  # columns of text, which may be broken
    keys: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        widths = [self._width(i) for i in range(len(self.columns))]
        room = options.max_width - 3 * len(widths) - 1
        if sum(least for least, _ in widths) <= room:
            yield self._table(_spread(dict(enumerate(widths)), self.names, room), box=box.HEAVY_HEAD)
            return
        for chosen in _cut([least for least, _ in widths], self.keys, options.max_width):
            room = options.max_width - len(chosen) + 1
            yield self._table(
                _spread({i: widths[i] for i in chosen}, self.names, room),
                box=box.SIMPLE_HEAD,
                padding=0,
                show_edge=False,
            )

    def _table(self, widths: Mapping[int, int], **look: Any) -> Table:
        """The columns of these numbers."""
        table = Table(**look)
        for i, width in widths.items():
            heading = Text("\n".join(textwrap.wrap(self.columns[i], max(1, width))))
            table.add_column(heading, justify="left" if i in self.names else "right", overflow="fold", width=width)
        for row in self.rows:
            if row is None:
                table.add_section()
            else:
                table.add_row(*(row[i] for i in widths))
        return table

    def _width(self, column: int) -> tuple[int, int]:
        """How wide a column is at least, and at most."""
        heading = self.columns[column]
        lines = (line for row in self.rows if row for line in row[column].plain.splitlines())
        cells = max(map(cell_len, lines), default=0)
        least = min(cells, NAME) if column in self.names else cells
        return max([least, *map(cell_len, heading.split())]), max(cells, cell_len(heading))


def _spread(widths: Mapping[int, tuple[int, int]], names: Collection[int], room: int) -> dict[int, int]:
    """A width for each column: the most where all have that, else the least, and what is left for names."""
    if sum(most for _, most in widths.values()) <= room:
        return {i: most for i, (_, most) in widths.items()}
    left = room - sum(least for least, _ in widths.values())
    found = {}
    for i, (least, most) in widths.items():
        found[i] = min(most, least + max(0, left)) if i in names else least
        left -= found[i] - least
    return found


def _cut(needed: Sequence[int], keys: int, width: int) -> Iterator[list[int]]:
    """Columns that fit side by side, one space between them, the first `keys` in each."""
    first = list(range(keys))
    chosen: list[int] = []
    for i in range(keys, len(needed)):
        if chosen and sum(needed[j] + 1 for j in [*first, *chosen, i]) - 1 > width:
            yield first + chosen
            chosen = []
        chosen.append(i)
    yield first + chosen
