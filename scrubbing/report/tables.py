"""The tables of a suite on its page, each with its plot where the study has one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scrubbing.experiments.suites import Rows, Suite
from scrubbing.report.text import visible
from scrubbing.score import Score


@dataclass(frozen=True)
class Shown:
    """A table as text that is safe to show; `chart` is the specification of its plot, without a style."""

    name: str
    about: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    chart: Mapping[str, Any] | None


def shown_tables(suite: Suite | None, scores: Mapping[str, Score]) -> list[Shown]:
    """The suite's own tables, but for those without rows."""
    tables = suite.tabulated(scores) if suite else {}
    return [_shown(suite, name, rows) for name, rows in tables.items() if suite and rows]


def without_style(chart: Any) -> dict[str, Any]:
    """The specification of a chart, to which the page gives the style of its theme."""
    return {name: part for name, part in chart.to_dict().items() if name != "config"}


def _shown(suite: Suite, name: str, rows: Rows) -> Shown:
    import pandas as pd

    measurement = suite.measurements.get(name)
    columns = dict.fromkeys(column for row in rows for column in row)
    chart = measurement.plot(pd.DataFrame(rows)) if measurement and measurement.plot else None
    return Shown(
        visible(name.replace("_", " ")),
        visible(measurement.about) if measurement else "",
        tuple(visible(column.replace("_", " ")) for column in columns),
        tuple(tuple(_cell(row.get(column)) for column in columns) for row in rows),
        None if chart is None else without_style(chart),
    )


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else visible(str(value))
