"""Scores as a table for people and as JSON for programs."""

import json
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scrubbing.experiments.suites import Rows, Suite
from scrubbing.score import Score
from scrubbing.score.tables import decimals_for, fixed, titled
from scrubbing.store.files import write_whole

SCHEMA = "scrubbing.scores/1"
KEYS = 4  # columns of a table that say what a row is, at most


class HypothesisResult(BaseModel):
    """One experiment's numbers; `recovered` and `interval` are fractions, null where none exists."""

    model_config = ConfigDict(frozen=True)

    name: str
    inputs: str
    loss: float
    recovered: float | None
    interval: tuple[float, float] | None
    references: int


class Results(BaseModel):
    """The scores of a suite, as a file."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    schema_: str = Field(default=SCHEMA, alias="schema")
    original: float | None  # none where tables alone were asked for
    baseline: float | None
    settings: dict[str, Any]
    hypotheses: list[HypothesisResult]
    about: dict[str, Any] = Field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = Field(default_factory=dict)


def results(
    suite: Suite, scores: Mapping[str, Score], tables: Mapping[str, Rows], settings: Mapping[str, Any]
) -> Results:
    """The numbers of a scored suite, and its tables."""
    first = next(iter(scores.values()), None)
    seed = {} if first is None else {"seed": first.seed, "level": 0.95}
    return Results(
        original=None if first is None else first.original,
        baseline=None if first is None else first.baseline,
        settings={**suite.about, **seed, **settings, "notes": list(suite.notes)},
        hypotheses=[_result(name, score) for name, score in scores.items()],
        about=dict(suite.about) if suite.tables or suite.measurements else {},
        tables={name: [dict(row) for row in rows] for name, rows in tables.items()},
    )


def _result(name: str, score: Score) -> HypothesisResult:
    rung, _, inputs = name.partition("/")
    return HypothesisResult(
        name=rung,
        inputs=inputs,
        loss=score.scrubbed,
        recovered=score.recovered,
        interval=score.interval,
        references=score.references,
    )


def as_json(found: Results) -> str:
    """Results as text for programs."""
    without = {name for name in ("about", "tables") if not getattr(found, name)}  # of suites that have no tables
    return json.dumps(found.model_dump(by_alias=True, mode="json", exclude=without), indent=2)


def write_json(found: Results, path: Path) -> None:
    """Write results so that a reader sees a whole file or none."""
    write_whole(as_json(found), path)


def shown(suite: Suite, scores: Mapping[str, Score], tables: Mapping[str, Rows]) -> RenderableType:
    """All that a run found: the ladder, further tables, and what it was measured on."""
    parts: list[RenderableType] = []
    if scores:
        title = Text(f"{suite.title}: percent of the loss recovered, with 95% intervals", style="bold")
        parts += [title, ladder(suite, scores)]
    parts += [_table_of(suite, name, rows) for name, rows in tables.items()]
    if scores:
        first = next(iter(scores.values()))
        losses = (
            f"original loss {first.original:.4f}, baseline {first.baseline:.4f} "
            f"(difference {first.baseline - first.original:.4f}), {first.references} references"
        )
        parts += [Text(losses), _intervals(scores)]
    parts.append(_about(suite, scores))
    parts += [Text(note, style="yellow") for note in _remarks(suite, scores)]
    return Group(*parts)


def ladder(suite: Suite, scores: Mapping[str, Score]) -> Table:
    """One row per hypothesis and one column per input that it is tested on, each with its 95% interval."""
    columns = list(dict.fromkeys(name.partition("/")[2] for name in scores))
    rungs = list(dict.fromkeys(name.partition("/")[0] for name in scores))
    table = Table()
    table.add_column("hypothesis", overflow="fold")
    for column in columns:
        table.add_column(column or "recovered", justify="center", no_wrap=True)
    for rung in rungs:
        names = [f"{rung}/{column}" if column else rung for column in columns]
        table.add_row(rung, *(_cell(scores.get(name), suite.published.get(name)) for name in names))
    return table


def _intervals(scores: Mapping[str, Score]) -> Text:
    """What the intervals are of, and how many independent observations they rest on."""
    any_score = next(iter(scores.values()))
    found = [clustering for score in scores.values() if (clustering := score.clustering) is not None]
    groups = (
        f", {found[0].groups} groups (design effect up to {max(c.design_effect for c in found):.1f})" if found else ""
    )
    return Text(f"intervals of {any_score.estimand}{groups}")


def _table_of(suite: Suite, name: str, rows: Rows) -> RenderableType:
    """A further table of a suite."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    values = {column: [row.get(column) for row in rows] for column in columns}
    numbers = {c: [v for v in values[c] if isinstance(v, float)] for c in columns}
    decimals = {column: decimals_for(numbers[column]) for column in columns}
    cells = [[_plain(row.get(column), decimals[column]) for column in columns] for row in rows]
    measurement = suite.measurements.get(name)
    notes = [measurement.about] if measurement is not None and measurement.about else []
    heads = [column.replace("_", " ") for column in columns]
    keys = len(list(takewhile(lambda column: not numbers[column], columns)))
    texts = [
        head for head, column in zip(heads, columns, strict=True) if any(isinstance(v, str) for v in values[column])
    ]
    return titled(name.replace("_", " "), heads, cells, notes, left=texts, keys=max(1, min(keys, KEYS)))


def _plain(value: Any, decimals: int) -> str:
    """A value as text, a number with the decimals of its column."""
    if value is None:
        return ""
    return fixed(value, decimals) if isinstance(value, float) else str(value)


def _cell(score: Score | None, published: int | float | None) -> Text:
    if score is None:
        return Text("")
    if score.recovered is None:
        return Text(f"loss {score.scrubbed:.4f}")
    cell = Text(f"{100 * score.recovered:.1f}", style="bold")
    if score.interval:
        low, high = score.interval
        cell.append(f"\n{100 * low:.1f} to {100 * high:.1f}", style="not bold dim")
    if published is not None:
        cell.append(f"\npublished {published:.0f}", style="not bold dim cyan")
    return cell


def _about(suite: Suite, scores: Mapping[str, Score]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    lines = {k: v for k, v in suite.about.items() if isinstance(v, str)}
    if scores:
        lines["seed"] = str(next(iter(scores.values())).seed)
    if suite.published and scores:
        lines["published"] = suite.published_by
    for name, value in lines.items():
        grid.add_row(Text(name, style="dim"), Text(value))
    return grid


def _remarks(suite: Suite, scores: Mapping[str, Score]) -> list[str]:
    reasons = dict.fromkeys(s.why_no_percentage for s in scores.values() if s.why_no_percentage)
    return [*suite.notes, *reasons, *_reservations(scores)]


def _reservations(scores: Mapping[str, Score]) -> Iterator[str]:
    """What percentages do not say by themselves, one line for each score that has something to be said of."""
    for name, score in scores.items():
        for reservation in (
            score.self_donors,
            score.why_uncounted,
            score.why_vacuous,
            score.why_cancelled,
            score.why_too_good,
        ):
            if reservation:
                yield f"{name}: {reservation}"
