"""The model card: what the shipped model is, how it came to be, and how it fares, as found."""

import math
import platform
from collections.abc import Mapping
from pathlib import Path

from hypotheses import shipped
from hypotheses.induction.roles import HeadScores
from hypotheses.induction.training import Recipe
from hypotheses.runs import Run
from scrubbing import Score
from scrubbing.experiments.suites import Suite
from scrubbing.score.statistics import moments

INPUTS = ("Q", "K", "V", "All")


def write_card(
    out: Path,
    recipe: Recipe,
    run: Run,
    layers: tuple[HeadScores, HeadScores],
    suite: Suite,
    scores: Mapping[str, Score],
) -> None:
    """Write the card as Markdown."""
    first = next(iter(scores.values()))
    gaps = first.losses["baseline"] - first.losses["original"]
    shipped.write_card(
        out,
        Path(__file__).with_name("card.md.j2"),
        recipe,
        run,
        python=platform.python_version(),
        curve=run.curve[1::2],
        layers=layers,
        suite=suite,
        first=first,
        gap=gaps.mean(),
        gap_error=math.sqrt(moments([first.column("gap")], first.design).variance([1.0])),
        ladder=_ladder(scores),
    )


def _ladder(scores: Mapping[str, Score]) -> dict[str, list[str]]:
    rungs = dict.fromkeys(name.partition("/")[0] for name in scores)
    return {rung: [_cell(scores.get(f"{rung}/{inputs}")) for inputs in INPUTS] for rung in rungs}


def _cell(score: Score | None) -> str:
    if score is None or score.recovered is None:
        return ""
    interval = f" ({100 * score.interval[0]:.1f} to {100 * score.interval[1]:.1f})" if score.interval else ""
    return f"{100 * score.recovered:.1f}{interval}"
