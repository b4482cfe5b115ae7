"""A ratio of two means over the same references, as the fraction of the loss recovered is: intervals of it."""

import math

import numpy as np
from jaxtyping import Float
from scipy import stats

from scrubbing.score.statistics.columns import Design, Moments, Values, as_column, moments
from scrubbing.score.statistics.critical import student
from scrubbing.score.statistics.means import mean_interval

BATCH = 10**7  # resampled values held at once


def fieller(
    numerator: Values, denominator: Values, *, confidence: float = 0.95, design: Design | None = None
) -> tuple[float, float] | None:
    """The interval of a ratio of two means of paired samples (Fieller 1954).

    All ratios r for which mean(numerator) - r mean(denominator) is not significantly non-zero. None where these are
    unbounded: the denominator is itself not significantly non-zero, and no ratio can be given.

    Of a design that was looked at meanwhile, the boundary of a confidence sequence takes the place of Student's
    quantile. For the true ratio these are means of identically distributed differences about zero, so that it is in
    all of the intervals at once with probability `confidence`, however often one looks.
    """
    found = moments([numerator, denominator], design)
    if found.df < 1:
        return None
    return ratios_within(found, *student(found.df, design).bounds(confidence))


def ratios_within(found: Moments, below: float, above: float | None = None) -> tuple[float, float] | None:
    """The ratios r of two means for which the first less r times the second is within so many standard errors of zero.

    `below` and `above` (the same by default) say how far the difference may be above zero at the lower end, and below
    zero at the upper one.
    """
    a, b = found.means.tolist()
    (aa, ab), (_, bb) = found.covariance_for([1.0, -a / b if b else 0.0]).tolist()
    ends = []
    for errors, side in ((below, -1), (below if above is None else above, 1)):
        t2 = errors**2
        # (b^2 - t2 bb) r^2 - 2 (a b - t2 ab) r + (a^2 - t2 aa) <= 0
        leading, middle, constant = b * b - t2 * bb, a * b - t2 * ab, a * a - t2 * aa
        if leading <= 0:
            return None
        root = math.sqrt(max(0.0, middle * middle - leading * constant))
        ends.append((middle + side * root) / leading)
    return ends[0], ends[1]


def bootstrapped_ratio(
    numerator: Float[np.ndarray, "reference"],
    denominator: Float[np.ndarray, "reference"],
    *,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> tuple[float, float] | None:
    """The interval of a ratio of means by the paired bootstrap, bias-corrected and accelerated (Efron 1987).

    None where Fieller's interval is unbounded: resampled denominators may then be zero.
    """
    if fieller(numerator, denominator, confidence=confidence) is None:
        return None
    ratio = float(np.mean(numerator)) / float(np.mean(denominator))
    if np.ptp(numerator - ratio * denominator) <= 1e-12 * np.ptp(denominator):  # every resample has the same ratio
        return ratio, ratio
    found = stats.bootstrap(
        (numerator, denominator),
        lambda a, b, axis=-1: a.mean(axis=axis) / b.mean(axis=axis),
        paired=True,
        vectorized=True,
        method="BCa",
        confidence_level=confidence,
        n_resamples=resamples,
        batch=max(1, BATCH // len(numerator)),
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def difference_of_ratios(
    numerator: Values,
    denominator: Values,
    other_numerator: Values,
    other_denominator: Values,
    *,
    confidence: float = 0.95,
    design: Design | None = None,
) -> tuple[float, float, float] | None:
    """A ratio of means less another over the same references, and the ends of its interval.

    Linearised (delta method; Cochran 1977, section 6.4): to first order a ratio is the mean of a - (a/b) b over that of
    b, one value per reference, and the interval is Student's for the paired differences of these. None where one of the
    denominators is not significantly non-zero, which linearising could not survive.
    """
    parts, ratios = [], []
    for a, b in ((numerator, denominator), (other_numerator, other_denominator)):
        if fieller(a, b, confidence=confidence, design=design) is None:
            return None
        a, b = as_column(a), as_column(b)
        ratios.append(a.mean() / b.mean())
        parts.append((a - b * ratios[-1]) * (1 / b.mean()))
    interval = mean_interval(parts[0] - parts[1], confidence=confidence, design=design)
    assert interval is not None  # for the type checker: Fieller's intervals need two references as well
    difference = ratios[0] - ratios[1]
    return difference, difference + interval[0], difference + interval[1]
