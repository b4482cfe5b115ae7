"""Tests of scores: at least a fraction, more than another, as much as another."""

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

from scrubbing.errors import DataError
from scrubbing.errors.arguments import check_between
from scrubbing.score import wording
from scrubbing.score.pairing import paired_advantage, same_baseline, same_run
from scrubbing.score.self_donors import hull
from scrubbing.score.statistics import Values, interval_of_mean, interval_of_ratio
from scrubbing.score.verdicts import AtLeast, Equality

if TYPE_CHECKING:
    from scrubbing.score.measured import Measured

LEVEL = "0.05 is right by mistake in at most 5% of runs"


def recovers_more(score: "Measured", other: "Measured") -> bool:
    """Whether the first recovers more: a paired t test on common references, one-sided at 2.5%."""
    advantage = paired_advantage(score, other)
    found = interval_of_mean(advantage, design=score.design, most=score.reach)
    return found is not None and found[0] > 0 and not score.vacuity.nothing_was_tested


def at_least(score: "Measured", fraction: float, level: float) -> AtLeast:
    """Whether the lower end of a one-sided interval reaches a fraction."""
    _check_number("fraction", fraction)
    check_between("level", level, 0, 0.5, LEVEL)
    interval = _fraction(score, score.column("kept"), confidence=1 - 2 * level, signed=False)
    interval = hull(interval, score.self_donors_at(1 - 2 * level))
    bound = None if interval is None else interval[0]
    refused = wording.why_vacuous(score) or wording.why_reversed(score) or wording.why_too_heavy(score)
    return AtLeast(fraction, score.recovered, bound, level, refused)


def equals(score: "Measured", other: "Measured", within: float, level: float) -> Equality:
    """Two one-sided tests of the difference of two fractions, mean(other - own)/mean(baseline - original)."""
    _check_number("within", within)
    check_between("level", level, 0, 0.5, LEVEL)
    if not 0 < within < math.inf:
        raise DataError(f"within={within}, but nothing is shown to be closer than that; give a margin such as 0.02")
    advantage = paired_advantage(score, other)
    if not same_baseline(score, other):
        raise DataError("only scores against the same baseline have fractions to compare; score both in one call")
    if score.interval and same_run(score, other):
        interval = (0.0, 0.0)
    else:
        interval = _fraction(score, advantage, confidence=1 - 2 * level)
    difference = None if interval is None else float(advantage.mean() / score.by_reference.gap.mean())
    return Equality(within, difference, interval, level, wording.why_vacuous(score) or wording.why_vacuous(other))


def _fraction(
    score: "Measured", values: Values, *, confidence: float, signed: bool = True
) -> tuple[float, float] | None:
    """The interval of a mean over references, as a fraction of what there is to recover."""
    if score.recovered is None:
        return None
    return interval_of_ratio(values, score.column("gap"), confidence=confidence, design=score.design, signed=signed)


def _check_number(name: str, value: Any) -> None:
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
        raise DataError(f"{name}={value!r}, but it must be a number: a fraction such as 0.9")
