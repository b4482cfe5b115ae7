"""How many references, and draws of donors for each, an interval of a given width takes."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from scrubbing.errors import DataError
from scrubbing.score import Score
from scrubbing.score.statistics import best_draws
from scrubbing.score.verdicts import points

MOST_DRAWS = 100


@dataclass(frozen=True)
class SamplePlan:
    """The references and draws for which the 95% interval of the fraction recovered should have a half-width.

    `best_references` and `best_draws` reach it at the least cost; None where the pilot's single draw cannot tell.
    """

    half_width: float
    references: int
    draws: int
    best_references: int | None
    best_draws: int | None
    pilot: int

    def __str__(self) -> str:
        plan = f"{self.references:,} references of {_draws(self.draws)} for a half-width of {points(self.half_width)}"
        if self.best_references is not None and self.best_draws not in (None, self.draws):
            plan += f"; least work: {self.best_references:,} of {_draws(self.best_draws or 1)}"
        return f"{plan} (by a pilot of {self.pilot:,} references)"


def plan_samples(
    pilot: Score, width: float, *, draws: int | None = None, cost_ratio: float = 1.0, confidence: float = 0.95
) -> SamplePlan:
    """How many references it takes to know the fraction recovered to within a half-width: n = (z sd(u)/(width gap))^2.

    `width` is a fraction: 0.02 is two percentage points. For a reference of the pilot, u is
    (baseline - scrubbed) - recovered (baseline - original); gap is what there is to recover. Another number of `draws`
    than the pilot's changes the variance within references. The pilot knows that variance if it had several draws, or
    was exact (the baseline's donors are taken as independent of the others). `cost_ratio` is what a reference costs
    beside its draws, in draws: sqrt(cost_ratio within/between) draws are then best.

    >>> from hypotheses import toy
    >>> print(plan_samples(toy.case("a threshold too high").score(), 0.02))
    12,984 references of 1 draw for a half-width of 2 points (by a pilot of 1,000 references)

    Raises `DataError` for a pilot without an interval, for a width that is no fraction, and where the pilot cannot tell
    what `draws` would change.

    Source: Cochran, "Sampling Techniques" (3rd edition, 1977), section 10.6.
    """
    if not 0 < width < 1:
        raise DataError(f"width={width} is no half-width of a fraction; 0.01 is 1 percentage point")
    if pilot.recovered is None or pilot.interval is None:
        raise DataError(f"this pilot plans nothing: {pilot.why_no_percentage or 'it has a single reference'}")
    chosen, noise = pilot.draws if draws is None else draws, _donor_noise(pilot)
    if noise is None and chosen != pilot.draws:
        raise DataError(f"the pilot's one draw cannot tell what draws={chosen} would do; make it with two or more")
    kept, gap = pilot.by_reference.kept, pilot.by_reference.gap
    variance = float(np.var(kept - pilot.recovered * gap, ddof=1))
    held = 0.0 if pilot.settings.get("exact") else (noise or 0.0) / pilot.draws  # of it, what the donors' draws make
    between = max(0.0, variance - held)
    z = float(stats.norm.ppf(0.5 + confidence / 2))

    def references(R: int) -> int:
        return max(2, math.ceil((between + (noise or 0.0) / R) * (z / (width * float(np.mean(gap)))) ** 2))

    best = None
    if noise is not None:
        R = min(best_draws(between, noise, cost_ratio=cost_ratio), MOST_DRAWS)
        best = min((math.floor(R), math.ceil(R)), key=lambda R: references(R) * (cost_ratio + R))
    return SamplePlan(
        half_width=width,
        references=references(chosen),
        draws=chosen,
        best_references=None if best is None else references(best),
        best_draws=best,
        pilot=pilot.references,
    )


def _donor_noise(pilot: Score) -> float | None:
    """The variance of u between the draws of a reference: of (1 - recovered) baseline - scrubbed."""
    if pilot.recovered is None or pilot.variance_within is None:
        return None
    return pilot.variance_within + (1 - pilot.recovered) ** 2 * (pilot.variance_within_baseline or 0.0)


def _draws(count: int) -> str:
    return f"{count} draw{'s' * (count != 1)}"
