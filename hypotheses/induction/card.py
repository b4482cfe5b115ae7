"""The model card: what the shipped model is, how it came to be, and how it fares, as found."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hypotheses.induction.roles import HeadScores
from hypotheses.induction.training import Recipe, Run
from scrubbing import Score
from scrubbing.experiments.suites import Suite
from scrubbing.store.files import write_whole

INPUTS = ("Q", "K", "V", "All")


@dataclass(frozen=True)
class Card:
    """Everything that the card reports."""

    recipe: Recipe
    run: Run
    layers: tuple[HeadScores, HeadScores]
    suite: Suite
    scores: Mapping[str, Score]


def write_card(path: Path, card: Card) -> None:
    """Write the card as Markdown."""
    first = next(iter(card.scores.values()))
    gaps = first.losses["baseline"] - first.losses["original"]
    # The card is Markdown for people to read, so nothing is escaped for HTML.
    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined)
    text = templates.get_template("card.md.j2").render(
        recipe=card.recipe,
        python=platform.python_version(),
        torch=torch.__version__.split("+")[0],
        minutes=round(card.run.seconds / 60),
        curve=card.run.curve[1::2],
        layers=card.layers,
        suite=card.suite,
        first=first,
        gap=gaps.mean(),
        gap_error=gaps.sem(),
        ladder=_ladder(card.scores),
    )
    write_whole(text, path)


def _ladder(scores: Mapping[str, Score]) -> dict[str, list[str]]:
    rungs = dict.fromkeys(name.partition("/")[0] for name in scores)
    return {rung: [_cell(scores.get(f"{rung}/{inputs}")) for inputs in INPUTS] for rung in rungs}


def _cell(score: Score | None) -> str:
    if score is None or score.recovered is None:
        return ""
    interval = f" ({100 * score.interval[0]:.1f} to {100 * score.interval[1]:.1f})" if score.interval else ""
    return f"{100 * score.recovered:.1f}{interval}"
