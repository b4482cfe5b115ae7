"""How many references, and draws of donors for each, an interval of a given width takes."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from scrubbing.errors import DataError
from scrubbing.errors.arguments import check_between, checked
from scrubbing.score import Score, paired_advantage, same_baseline
from scrubbing.score.statistics import Column, Design, best_draws, moments
from scrubbing.score.verdicts import points

MOST_DRAWS = 100


@dataclass(frozen=True)
class SamplePlan:
    """The references and draws for which a 95% interval should have a half-width, in a share `assurance` of runs.

    `best_references` and `best_draws` reach it at the least cost; None where the pilot's single draw cannot tell.
    """

    half_width: float
    references: int
    draws: int
    best_references: int | None
    best_draws: int | None
    pilot: int
    assurance: float = 0.5
    of: str = ""

    def __str__(self) -> str:
        plan = f"{self.references:,} references of {_draws(self.draws)} for a half-width of {points(self.half_width)}"
        plan += self.of
        if self.best_references is not None and self.best_draws not in (None, self.draws):
            plan += f"; least work: {self.best_references:,} of {_draws(self.best_draws or 1)}"
        return f"{plan} ({self.assurance:.0%} of runs reach it; by a pilot of {self.pilot:,} references)"


@dataclass(frozen=True)
class EqualityPlan:
    """The references for which two hypotheses that recover the same should be shown to, within a margin."""

    within: float
    references: int
    draws: int
    assurance: float
    pilot: int

    def __str__(self) -> str:
        return (
            f"{self.references:,} references of {_draws(self.draws)} to show that they are equal to within "
            f"{points(self.within)} ({self.assurance:.0%} of runs do, if they are; by a pilot of {self.pilot:,} "
            f"references)"
        )


@checked
def plan_samples(
    pilot: Score,
    width: float,
    *,
    against: Score | None = None,
    draws: int | None = None,
    cost_ratio: float = 1.0,
    confidence: float = 0.95,
    assurance: float = 0.8,
) -> SamplePlan:
    """How many references it takes to know the fraction recovered to within a half-width: n = (z sd(u)/(width gap))^2.

    `width` is a fraction: 0.02 is two percentage points. For a reference of the pilot, u is
    (baseline - scrubbed) - recovered (baseline - original); gap is what there is to recover. Another number of `draws`
    than the pilot's changes the variance within references. The pilot knows that variance if it had several draws, or
    was exact (the baseline's donors are taken as independent of the others). `cost_ratio` is what a reference costs
    beside its draws, in draws: sqrt(cost_ratio within/between) draws are then best. `against` another score, the width
    is that of the difference of the two fractions.

    The pilot knows the variance only so well, and the run that is planned has one of its own. So many references are
    planned that a share `assurance` of runs reaches the width: by the kurtosis of u, and how well the gap is known.
    Where references share rows or groups, the pilot's variance has that in it: it holds for more data of the same kind.

    >>> from hypotheses import toy
    >>> print(plan_samples(toy.case("a threshold too high").score(), 0.02))
    21,008 references of 1 draw for a half-width of 2 points (80% of runs reach it; by a pilot of 1,000 references)

    Raises `DataError` for a pilot without an interval, for a width that is no fraction, and where the pilot cannot tell
    what `draws` would change.

    Source: Cochran, "Sampling Techniques" (3rd edition, 1977), section 10.6; for assurance, Grieve 1991.
    """
    if not 0 < width < 1:
        raise DataError(f"width={width} is no half-width of a fraction; 0.01 is 1 percentage point")
    check_between("confidence", confidence, 0, 1, "0.95 for a 95% interval")
    check_between("cost_ratio", cost_ratio, 0, math.inf, "1 where a reference costs as much as one of its draws")
    if draws is not None and not 1 <= draws <= MOST_DRAWS:
        raise DataError(f"draws={draws}, but there must be 1 to {MOST_DRAWS}")
    if pilot.recovered is None or pilot.interval is None:
        raise DataError(f"this pilot plans nothing: {pilot.why_no_percentage or 'it has a single reference'}")
    if not 0 < assurance < 1:
        raise DataError(f"assurance={assurance} is no share of runs; 0.8 plans for a width that 80% of runs reach")
    if against is not None:
        if draws not in (None, pilot.draws):
            raise DataError(f"a difference is planned for the pilot's draws={pilot.draws}; leave out draws=")
        advantage, gap = _difference(pilot, against), pilot.column("gap")
        z = float(stats.norm.ppf(0.5 + confidence / 2))
        n = _assured(_need(advantage, gap, pilot.design, z / width), advantage, gap, assurance)
        return SamplePlan(width, n, pilot.draws, None, None, pilot.references, assurance, " of the difference")
    chosen, noise = pilot.draws if draws is None else draws, _donor_noise(pilot)
    if noise is None and chosen != pilot.draws:
        raise DataError(f"the pilot's one draw cannot tell what draws={chosen} would do; make it with two or more")
    kept, gap = pilot.by_reference.kept, pilot.by_reference.gap
    shared = _shared(pilot.column("kept"), pilot.column("gap"), pilot.design)
    variance = float(np.var(kept - pilot.recovered * gap, ddof=1))
    held = 0.0 if pilot.settings.get("exact") else (noise or 0.0) / pilot.draws  # of it, what the donors' draws make
    between = max(0.0, variance - held)
    z = float(stats.norm.ppf(0.5 + confidence / 2))

    def references(R: int) -> int:
        alone = (between + (noise or 0.0) / R) * (z / (width * float(np.mean(gap)))) ** 2
        return _assured(shared * alone, pilot.column("kept"), pilot.column("gap"), assurance)

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
        assurance=assurance,
    )


def plan_equality(
    pilot: Score, other: Score, *, within: float, level: float = 0.05, assurance: float = 0.8
) -> EqualityPlan:
    """How many references it takes to show that two hypotheses recover the same fraction, give or take `within`.

    For two one-sided tests at `level`, of hypotheses whose fractions do not differ.

    >>> from hypotheses import toy
    >>> one, other = (toy.case(name).score() for name in ("an or of thresholds", "the digits themselves"))
    >>> plan_equality(one, other, within=0.01).references < 1000
    True

    Raises `DataError` for scores that cannot be compared, and for a margin that is not above 0.

    Source: Phillips 1990, for the power of two one-sided tests.
    """
    if not within > 0:
        raise DataError(f"within={within}, but nothing is shown to be closer than that; give a margin such as 0.02")
    if pilot.recovered is None or pilot.interval is None:
        raise DataError(f"this pilot plans nothing: {pilot.why_no_percentage or 'it has a single reference'}")
    advantage, gap = _difference(pilot, other), pilot.column("gap")
    z = float(stats.norm.ppf(1 - level) + stats.norm.ppf(0.5 + assurance / 2))
    n = _assured(_need(advantage, gap, pilot.design, z / within), advantage, gap, assurance)
    return EqualityPlan(within, n, pilot.draws, assurance, pilot.references)


def _difference(pilot: Score, other: Score) -> Column:
    """What the pilot keeps beyond the other. Raises `DataError` for scores without a common baseline."""
    if not same_baseline(pilot, other):
        raise DataError("only scores against the same baseline have fractions to compare; score both in one call")
    return paired_advantage(pilot, other)


def _need(numerator: Column, gap: Column, design: Design, errors: float) -> float:
    """The references for which so many standard errors of a ratio are 1."""
    found = moments([numerator, gap], design)
    a, b = found.means.tolist()
    return len(numerator) * found.variance([1.0, -a / b]) * (errors / b) ** 2


def _shared(kept: Column, gap: Column, design: Design) -> float:
    """The variance of the fraction over that of independent references."""
    a, b = kept.mean(), gap.mean()
    alone = moments([kept.values, gap.values]).variance([1.0, -a / b])
    return moments([kept, gap], design).variance([1.0, -a / b]) / alone if alone > 0 else 1.0


def _assured(alone: float, numerator: Column, gap: Column, assurance: float) -> int:
    """The references at which a share of runs reaches what `alone` would reach if variance and gap were known.

    The logarithm of the references needed is about normal: its error is that of two variances (kurtosis - 1 over n) and
    twice that of two gaps, the pilot's and the run's own.
    """
    a, b, m = numerator.mean(), gap.mean(), len(numerator)
    u = numerator.values - a - (a / b) * (gap.values - b)
    spread = float(np.mean(u**2))
    if spread == 0 or alone <= 2:
        return max(2, math.ceil(alone))
    kurtosis = max(0.0, float(np.mean(u**4)) / spread**2 - 1) * (1 + 4 / math.sqrt(m))  # a small pilot sees too little
    error = kurtosis + 4 * float(np.var(gap.values)) / b**2
    n = alone
    for _ in range(20):
        student = float(stats.t.ppf(0.975, max(2.0, n - 1)) / stats.norm.ppf(0.975))
        n = alone * student**2 * math.exp(float(stats.norm.ppf(assurance)) * math.sqrt(error * (1 / m + 1 / n)))
    return max(2, math.ceil(n))


def _donor_noise(pilot: Score) -> float | None:
    """The variance of u between the draws of a reference: of (1 - recovered) baseline - scrubbed."""
    if pilot.recovered is None or pilot.variance_within is None:
        return None
    return pilot.variance_within + (1 - pilot.recovered) ** 2 * (pilot.variance_within_baseline or 0.0)


def _draws(count: int) -> str:
    return f"{count} draw{'s' * (count != 1)}"
