"""A comparison as a table for people."""

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scrubbing.errors import printable

if TYPE_CHECKING:
    from scrubbing.score.comparison.comparison import Comparison, Difference, Standing

CORRECTIONS = {
    "holm": "Holm's correction (chance of any false finding: {level:.0%})",
    "benjamini-hochberg": "Benjamini-Hochberg correction (share of false findings: {level:.0%})",
    "max-t": "max-t correction (chance of any false finding: {level:.0%})",
}

KINDS = {
    None: "of paired differences, uncorrected",
    "pairs": "of paired differences, all at once",
    "best": "behind the best other, all at once",
}


def comparison_table(comparison: "Comparison") -> RenderableType:
    """One row per hypothesis, the best first, with a line where all above are shown to be better than all below."""
    all_pairs = comparison.against is None
    yardstick = comparison.against or comparison.standings[0].name
    losses = comparison.unit == "loss"
    table = Table(box=box.HORIZONTALS, padding=(0, 1, 0, 0), header_style="bold")
    if all_pairs:
        table.add_column("rank", justify="right")
    table.add_column("hypothesis", overflow="fold")
    table.add_column("loss" if losses else "recovered", justify="right")
    table.add_column(_behind(comparison.simultaneous) if all_pairs else _plain(f"beyond {yardstick}"), justify="right")
    table.add_column("p", justify="right")
    if all_pairs:
        table.add_column("ties")
    for standing, following in zip(comparison.standings, (*comparison.standings[1:], None), strict=True):
        behind, p = "", ""
        if standing.name != yardstick:
            pair = (yardstick, standing.name) if all_pairs else (standing.name, yardstick)
            behind, p = _difference(comparison[pair], losses), _p(comparison[pair].corrected)
        if standing.behind is not None:
            behind = _interval(standing.behind, losses)
        cells = [_plain(standing.name), Text(_standing(standing, losses)), Text(behind), Text(p)]
        if standing.rank is not None:
            cells = [Text("-".join(map(str, dict.fromkeys(standing.rank)))), *cells, Text(standing.ties or "")]
        table.add_row(*cells, end_section=following is not None and following.tier != standing.tier)
    return Group(table, *(_plain(line) for line in _notes(comparison)))


def _notes(comparison: "Comparison") -> list[str]:
    made = f"{comparison.tests:,} paired {comparison.test} test{'s' * (comparison.tests != 1)}"
    lines = [f"p: {made}, {CORRECTIONS[comparison.correction].format(level=comparison.level)}"]
    if comparison.tried > len(comparison.standings):
        lines.append(f"counted: {comparison.tried} hypotheses tried, {len(comparison.standings)} of them shown")
    if comparison.against is None:
        lines.append("ties: one letter, no significant difference; a line: all above beat all below")
    what = "losses" if comparison.unit == "loss" else "percent of the loss recovered"
    lines.append(f"{what}; 95% intervals {KINDS[comparison.simultaneous]}")
    if comparison.simultaneous == "best":
        lines.append(f"may be the best: {', '.join(comparison.may_be_best)}")
    lines.append(f"{comparison.references:,} references, seed {comparison.seed}; estimates {comparison.estimand}")
    lines += [] if comparison.held_out is None else [str(comparison.held_out)]
    return lines + list(comparison.remarks)


def _standing(standing: "Standing", losses: bool) -> str:
    if losses or standing.recovered is None:
        return f"{standing.scrubbed:.4f}"
    return _with_interval(standing.recovered, None, losses)  # intervals that overlap invite a wrong conclusion


def _difference(difference: "Difference", losses: bool) -> str:
    return _with_interval(difference.difference, difference.interval, losses)


def _behind(simultaneous: str | None) -> str:
    return "behind the best other" if simultaneous == "best" else "behind the best"


def _with_interval(value: float, interval: tuple[float, float] | None, losses: bool) -> str:
    return _shown(value, losses) + (f" {_interval(interval, losses)}" if interval else "")


def _interval(interval: tuple[float, float], losses: bool) -> str:
    return f"[{_shown(interval[0], losses)}, {_shown(interval[1], losses)}]"


def _shown(number: float, losses: bool) -> str:
    return f"{round(number, 4) + 0.0:.4f}" if losses else f"{round(100 * number, 1) + 0.0:.1f}"


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _plain(text: str) -> Text:
    """Names come from anywhere: nothing in them is markup or moves the cursor."""
    return Text(printable(text))
