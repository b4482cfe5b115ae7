"""`scrubbing compare`."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from scrubbing.cli.places import StoreOption, store_to_read
from scrubbing.cli.text import printable
from scrubbing.errors import DataError
from scrubbing.record import load_record
from scrubbing.score import Score, percentage
from scrubbing.statistics import fieller, mean_interval


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A score: its id in the history, or a file of save_record.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The score to compare it with.")],
    store: StoreOption = None,
) -> None:
    """Compare two scores on the references that they share: which recovers more, and by how much.

    Means would hide what is common to both; the difference is taken reference by reference. The last two scores of
    the history, say 41 and 42:

        scrubbing compare 41 42
    """
    scores = [_score(given, store) for given in (a, b)]
    Console().print(comparison(*scores, labels=(a, b)))


def _score(given: str, store: Path | None) -> Score:
    """The score that an id or a file stands for."""
    if given.isdecimal():
        return store_to_read(store).score(int(given))
    path = Path(given)
    if not path.exists():
        raise DataError(f"{given!r} is neither the id of a score (see `scrubbing history`) nor a file")
    try:
        score = load_record(path).score
    except DataError as error:
        raise DataError(f"{error}; compare takes ids of the history, or files that save_record wrote") from None
    if score is None:
        raise DataError(f"{path} records a hypothesis that was not scored")
    return score


def comparison(a: Score, b: Score, *, labels: tuple[str, str]) -> RenderableType:
    """Both scores, their paired difference with its 95% interval, and what follows.

    Raises `DataError` for scores on other references or seeds.
    """
    verdict = _verdict(a, b)  # before all else: it raises where they cannot be compared
    grid = Table.grid(padding=(0, 2))
    for letter, label, score in zip("AB", labels, (a, b), strict=True):
        name = printable(score.name or label)
        grid.add_row(Text(f"{letter}  {name}", "bold"), Text(percentage(score)), Text(f"loss {score.scrubbed:.4g}"))
    return Group(grid, Text(""), Text(_difference(a, b)), Text(verdict, "bold"))


def _verdict(a: Score, b: Score) -> str:
    better = "A" if a > b else "B" if b > a else None
    if a.by_reference.scrubbed == b.by_reference.scrubbed:
        return "they lose the same on every reference"
    if better is None:
        return "which of them recovers more cannot be told (which does not make them equal)"
    return f"{better} recovers more (paired t test on {a.references} common references, one-sided at 2.5%)"


def _difference(a: Score, b: Score) -> str:
    """How much less B loses than A: in points of the loss recovered if both have the same 0% and 100%."""
    A, B = a.by_reference, b.by_reference
    less = np.array(A.scrubbed) - np.array(B.scrubbed)
    interval = mean_interval(-less)
    shown = f"B - A   loss {-less.mean() + 0.0:+.4g}"
    shown += f" [{interval[0] + 0.0:+.4g}, {interval[1] + 0.0:+.4g}]" if interval else ""
    if (A.original, A.baseline) == (B.original, B.baseline) and a.recovered is not None and b.recovered is not None:
        share = fieller(less, np.array(A.baseline) - np.array(A.original))
        shown += f"   {100 * (b.recovered - a.recovered):+.1f} points"
        shown += f" [{100 * share[0]:+.1f}, {100 * share[1]:+.1f}]" if share else ""
    return shown
