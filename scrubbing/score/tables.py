"""Print results as tables of 80 columns, with each interval below its estimate."""

import io
import math
from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

WIDTH = 80
DIGITS = 4  # significant digits of the largest number in a table

Interval = tuple[float, float] | None


def rendered(renderable: RenderableType, *, width: int = WIDTH) -> str:
    """What a terminal of this width would show, as plain text."""
    file = io.StringIO()
    Console(file=file, width=width, color_system=None, highlight=False).print(renderable)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


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
) -> RenderableType:
    """A table under its title, its first column (and those in `left`) of names; None among the rows draws a line.

    Names come from users and their data: they are shown as they are, and never read as markup.
    """
    table = Table()
    for i, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if i == 0 or column in left else "right", overflow="fold")
    for row in rows:
        if row is None:
            table.add_section()
        else:
            table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return Group(Text(title, style="bold"), table, *(Text(note, style="dim") for note in notes))
