"""What notebooks show: a picture, or a table as HTML, and plain text beside it."""

from collections.abc import Iterable, Mapping
from typing import Any

from scrubbing.engine.cost import Cost, scaled
from scrubbing.experiments.adversary import WorstCase
from scrubbing.experiments.attribution import Attribution
from scrubbing.experiments.swaps import Swaps
from scrubbing.experiments.sweeps import Sweep
from scrubbing.graph import Graph
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.report.picture import draw, templates
from scrubbing.report.text import visible
from scrubbing.score import Score
from scrubbing.score.comparison.comparison import Comparison

ROWS = 50  # of a table

Rows = Iterable[Mapping[str, Any]]


def bundle(value: Any) -> dict[str, str]:
    """A value by MIME type: "text/plain", and "text/html" where there is more to see.

    >>> from hypotheses import toy
    >>> sorted(bundle(toy.case("the first digit alone").hypothesis))
    ['text/html', 'text/plain']
    """
    if isinstance(value, Graph | Hypothesis):
        return draw(value)._repr_mimebundle_() | {"text/plain": repr(value)}
    shown = _table(value)
    return ({"text/html": _html(*shown)} if shown else {}) | {"text/plain": str(value)}


def _html(title: str, rows: Rows, notes: list[str], bar: dict[str, float] | None) -> str:
    rows = [dict(row) for row in rows]
    return templates.get_template("notebook.html.j2").render(
        title=visible(title),
        columns=[visible(str(name)).replace("_", " ") for name in (rows[0] if rows else {})],
        rows=[[_cell(cell) for cell in row.values()] for row in rows[:ROWS]],
        notes=[visible(note) for note in notes] + ([f"and {len(rows) - ROWS} more rows"] if len(rows) > ROWS else []),
        bar=bar,
    )


def _table(value: Any) -> tuple[str, Rows, list[str], dict[str, float] | None] | None:
    """A title, a table, notes, and for a score the percentages that a bar shows; None for what is text only."""
    match value:
        case Score():
            return _score(value)
        case Comparison():
            columns = ["rank", "name", "recovered", "scrubbed", "ties"]
            rows = value.table.loc[:, columns].to_dict("records")
            return "which recovers more", rows, [*value.remarks, f"{value.tests} paired tests"], None
        case Attribution():
            return "loss added by scrubbing", value.effects.to_dict("records"), [value.orders], None
        case Swaps():
            title = f"row {value.reference}: loss {value.original:.4g}, scrubbed {value.scrubbed:.4g}"
            return title, value.damage.to_dict("records"), [], None
        case WorstCase():
            return "the worst permitted donors", value.losses.to_dict("records"), [], None
        case Sweep():
            rows = value.top(len(value.scores)).reset_index().to_dict("records")
            return "change of the loss", rows, [f"{len(value.scores)} members"], None
        case Cost():
            rows = [kind.model_dump() | {"flops": f"{scaled(kind.flops)}FLOP"} for kind in value.kinds]
            totals = [f"{name}: {said}" for name, said in value._lines()]
            return "what the run takes", rows, totals, None
    return None


def _score(score: Score) -> tuple[str, list[dict[str, Any]], list[str], dict[str, float] | None]:
    rows = [
        {"reading": name, "value": metric.value, "95% interval": metric.interval}
        for name, metric in score.readings.items()
    ]
    remarks = [
        score.why_no_percentage,
        score.why_uncounted,
        score.why_reversed,
        score.why_vacuous,
        score.why_cancelled,
        score.why_too_good,
        *score.notes,
    ]
    notes = [f"original {score.original:.4g}, baseline {score.baseline:.4g}, {score.references} references"]
    notes += [remark for remark in remarks if remark]
    if score.recovered is None:
        return score.name or "a score", rows, notes, None
    low, high = score.interval or (score.recovered, score.recovered)
    ends = [100 * min(1.0, max(0.0, end)) for end in (low, high, score.recovered)]
    bar = {"low": ends[0], "width": max(0.5, ends[1] - ends[0]), "at": ends[2]}
    said = f"{100 * score.recovered:.1f}% recovered"
    said += f" [{100 * low:.1f}, {100 * high:.1f}]" if score.interval else ""
    return f"{score.name}: {said}" if score.name else said, rows, notes, bar


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple | list):
        return " to ".join(map(_cell, value))
    return visible(str(value))
