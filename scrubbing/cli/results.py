"""Scores as a table for people and as JSON for programs."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scrubbing.experiments.suites import Suite
from scrubbing.score import Score
from scrubbing.store.files import write_whole

SCHEMA = "scrubbing.scores/1"


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
    original: float
    baseline: float
    settings: dict[str, Any]
    hypotheses: list[HypothesisResult]


def results(suite: Suite, scores: Mapping[str, Score], settings: Mapping[str, Any]) -> Results:
    """The numbers of a scored suite."""
    any_score = next(iter(scores.values()))
    return Results(
        original=any_score.original,
        baseline=any_score.baseline,
        settings={**suite.about, "seed": any_score.seed, "level": 0.95, **settings, "notes": list(suite.notes)},
        hypotheses=[_result(name, score) for name, score in scores.items()],
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


def write_json(found: Results, path: Path) -> None:
    """Write results so that a reader sees a whole file or none."""
    write_whole(json.dumps(found.model_dump(by_alias=True, mode="json"), indent=2), path)


def ladder_table(suite: Suite, scores: Mapping[str, Score]) -> RenderableType:
    """One row per hypothesis and one column per input that it is tested on, each with its 95% interval."""
    any_score = next(iter(scores.values()))
    columns = list(dict.fromkeys(name.partition("/")[2] for name in scores))
    rungs = list(dict.fromkeys(name.partition("/")[0] for name in scores))
    title = Text(f"{suite.title}: percent of the loss recovered, with 95% intervals", style="bold")
    table = Table()
    table.add_column("hypothesis", overflow="fold")
    for column in columns:
        table.add_column(column or "recovered", justify="center", no_wrap=True)
    for rung in rungs:
        names = [f"{rung}/{column}" if column else rung for column in columns]
        table.add_row(rung, *(_cell(scores.get(name), suite.published.get(name)) for name in names))
    losses = Text(
        f"original loss {any_score.original:.4f}, baseline {any_score.baseline:.4f} "
        f"(difference {any_score.baseline - any_score.original:.4f}), {any_score.references} references"
    )
    parts: list[RenderableType] = [title, table, losses, _about(suite, any_score)]
    parts += [Text(note, style="yellow") for note in _remarks(suite, scores)]
    return Group(*parts)


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


def _about(suite: Suite, score: Score) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    lines = {k: v for k, v in suite.about.items() if isinstance(v, str)} | {"seed": str(score.seed)}
    if suite.published:
        lines["published"] = "Redwood Research 2022, on another model and other text"
    for name, value in lines.items():
        grid.add_row(Text(name, style="dim"), Text(value))
    return grid


def _remarks(suite: Suite, scores: Mapping[str, Score]) -> list[str]:
    reasons = dict.fromkeys(s.why_no_percentage for s in scores.values() if s.why_no_percentage)
    return [*suite.notes, *reasons, *_reservations(scores)]


def _reservations(scores: Mapping[str, Score]) -> Iterator[str]:
    """What percentages do not say by themselves, one line for each score that has something to be said of."""
    for name, score in scores.items():
        for reservation in (score.why_vacuous, score.why_cancelled, score.why_too_good):
            if reservation:
                yield f"{name}: {reservation}"
