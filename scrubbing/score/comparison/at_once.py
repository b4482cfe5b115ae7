"""Intervals of several hypotheses that hold all at once: of each, of pairs, and of how far each is behind the best.

Each interval is that of a single hypothesis or pair, by whatever law fits its losses, at a higher confidence: the one
at which multivariate t statistics with the correlations of these losses hold at once.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from scrubbing.score import Score, paired_advantage
from scrubbing.score.pairing import same_run
from scrubbing.score.self_donors import hull
from scrubbing.score.statistics import (
    added_by_unit,
    confidence_at_once,
    interval_of_mean,
    interval_of_ratio,
    with_the_best,
)

CONFIDENCE = 0.95

Interval = tuple[float, float] | None


def difference_interval(first: Score, second: Score, *, losses: bool, confidence: float = CONFIDENCE) -> Interval:
    """The interval of how much more the first recovers: a fraction of what there is to recover, or a loss."""
    if same_run(first, second):
        return 0.0, 0.0
    advantage, design = paired_advantage(first, second), first.design
    if losses:
        return interval_of_mean(advantage, design=design, most=first.reach, confidence=confidence)
    return interval_of_ratio(advantage, first.column("gap"), design=design, confidence=confidence)


def confidence_of_pairs(scores: Sequence[Score], pairs: Sequence[tuple[int, int]], *, tests: int) -> float:
    """The confidence of each of some paired intervals; by Bonferroni's inequality where `tests` has unseen ones."""
    if tests > len(pairs) or not _have_a_joint_law(scores):
        return 1 - (1 - CONFIDENCE) / tests
    return confidence_at_once(_covariance(scores), scores[0].design.units - 1, _differences(len(scores), pairs))


def intervals_of_each(scores: Sequence[Score], *, tried: int) -> list[Interval]:
    """The interval of what each hypothesis recovers, all at once: so that of the best of them holds as well."""
    if tried > len(scores) or not _have_a_joint_law(scores):
        confidence = 1 - (1 - CONFIDENCE) / tried
    else:
        covariance = _covariance(scores, of="kept")
        confidence = confidence_at_once(covariance, scores[0].design.units - 1, np.eye(len(scores)))
    return [_own_interval(score, confidence) for score in scores]


def behind_the_best(scores: Sequence[Score], *, tried: int, losses: bool) -> list[tuple[Interval, bool]]:
    """How far each hypothesis is behind the best of the others, all at once, and whether it may be the best.

    Multiple comparisons with the best (Edwards and Hsu 1983), by Dunnett's intervals against each that may be it.
    """
    k, df = len(scores), scores[0].design.units - 1
    covariance = _covariance(scores) if tried == k and _have_a_joint_law(scores) else None
    low, high = np.full((k, k), -np.inf), np.full((k, k), np.inf)
    for i in range(k):
        others = [j for j in range(k) if j != i]
        confidence = 1 - (1 - CONFIDENCE) / (tried - 1)
        if covariance is not None:
            confidence = confidence_at_once(covariance, df, _differences(k, [(i, j) for j in others]))
        for j in others:
            found = difference_interval(scores[i], scores[j], losses=losses, confidence=confidence)
            low[i, j], high[i, j] = found or (-np.inf, np.inf)
    least, most, may_be_best = with_the_best(low, high)
    ends = zip(least.tolist(), most.tolist(), strict=True)
    return [((a + 0.0, b + 0.0), best) for (a, b), best in zip(ends, may_be_best.tolist(), strict=True)]


def _own_interval(score: Score, confidence: float) -> Interval:
    if score.interval is None:
        return None
    kept, gap = score.column("kept"), score.column("gap")
    found = interval_of_ratio(kept, gap, design=score.design, signed=False, confidence=confidence)
    return hull(found, score.self_donors_at(confidence))


def _have_a_joint_law(scores: Sequence[Score]) -> bool:
    """Whether statistics are those of a number of references that was fixed, of which units make the variance."""
    return scores[0].stopping is None and not scores[0].design.finite and scores[0].design.units > 1


def _covariance(
    scores: Sequence[Score], of: Literal["scrubbed", "kept"] = "scrubbed"
) -> Float[np.ndarray, "hypothesis hypothesis"]:
    """The covariance of mean losses, or of the fractions recovered, to first order."""
    parts = []
    for score in scores:
        column = score.column(of)
        gap = score.column("gap")
        if gap.mean():
            share = score.column("kept").mean() / gap.mean()
            column = column - gap * share if of == "kept" else column + gap * share
        parts.append(added_by_unit(column, score.design))
    found = np.stack(parts)
    return found @ found.T


def _differences(count: int, pairs: Sequence[tuple[int, int]]) -> Float[np.ndarray, "pair hypothesis"]:
    contrasts = np.zeros((len(pairs), count))
    for row, (first, second) in zip(contrasts, pairs, strict=True):
        row[[first, second]] = 1.0, -1.0
    return contrasts
