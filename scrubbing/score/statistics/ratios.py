"""A ratio of two means over the same references, as the fraction of the loss recovered is: intervals of it."""

import math

import numpy as np
from jaxtyping import Float
from scipy import stats

from scrubbing.score.statistics.means import mean_interval

BATCH = 10**7  # resampled values held at once


def fieller(
    numerator: Float[np.ndarray, "reference"], denominator: Float[np.ndarray, "reference"], *, confidence: float = 0.95
) -> tuple[float, float] | None:
    """The interval of a ratio of two means of paired samples (Fieller 1954).

    All ratios r for which mean(numerator) - r mean(denominator) is not significantly non-zero. None where these are
    unbounded: the denominator is itself not significantly non-zero, and no ratio can be given.
    """
    n = len(numerator)
    if n < 2:
        return None
    return _ratios_within(numerator, denominator, float(stats.t.ppf(0.5 + confidence / 2, n - 1)))


def fieller_sequence(
    numerator: Float[np.ndarray, "reference"],
    denominator: Float[np.ndarray, "reference"],
    *,
    tightest_at: int,
    confidence: float = 0.95,
) -> tuple[float, float] | None:
    """The interval at this many references of a confidence sequence for a ratio of means, valid under looking.

    Fieller's set, with the boundary of an asymptotic confidence sequence in place of Student's quantile: all ratios r
    for which mean(numerator) - r mean(denominator) has not left the sequence around zero. For the true ratio these are
    means of identically distributed differences about zero, so that it is in all of the intervals at once with
    probability `confidence`, however often one looks (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, theorem
    2.2, arXiv 2103.06476; in the limit of many references before the first look). `tightest_at` is the number of
    references that the boundary is tuned for, to be chosen before the data are seen.
    """
    n = len(numerator)
    return None if n < 2 else _ratios_within(numerator, denominator, sequence_boundary(n, tightest_at, 1 - confidence))


def sequence_boundary(n: int, tightest_at: int, level: float) -> float:
    """How many standard errors wide, to each side, the asymptotic confidence sequence is at n."""
    rho2 = (-2 * math.log(level) + math.log(1 - 2 * math.log(level))) / tightest_at  # their equation for the best rho
    grown = n * rho2 + 1
    return math.sqrt(2 * grown / (n * rho2) * math.log(math.sqrt(grown) / level))


def _ratios_within(
    numerator: Float[np.ndarray, "reference"], denominator: Float[np.ndarray, "reference"], errors: float
) -> tuple[float, float] | None:
    """The ratios r for which mean(numerator - r denominator) is within so many standard errors of zero."""
    a, b = float(np.mean(numerator)), float(np.mean(denominator))
    (aa, ab), (_, bb) = (np.cov(np.stack([numerator, denominator])) / len(numerator)).tolist()
    t2 = errors**2
    # (b^2 - t2 bb) r^2 - 2 (ab_means - t2 ab) r + (a^2 - t2 aa) <= 0
    leading, middle, constant = b * b - t2 * bb, a * b - t2 * ab, a * a - t2 * aa
    if leading <= 0:
        return None
    root = math.sqrt(max(0.0, middle * middle - leading * constant))
    return (middle - root) / leading, (middle + root) / leading


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
    numerator: Float[np.ndarray, "reference"],
    denominator: Float[np.ndarray, "reference"],
    other_numerator: Float[np.ndarray, "reference"],
    other_denominator: Float[np.ndarray, "reference"],
    *,
    confidence: float = 0.95,
) -> tuple[float, float, float] | None:
    """A ratio of means less another over the same references, and the ends of its interval.

    Linearised (delta method; Cochran 1977, section 6.4): to first order a ratio is the mean of a - (a/b) b over that of
    b, one value per reference, and the interval is Student's for the paired differences of these. None where one of the
    denominators is not significantly non-zero, which linearising could not survive.
    """
    parts = []
    for a, b in ((numerator, denominator), (other_numerator, other_denominator)):
        if fieller(a, b, confidence=confidence) is None:
            return None
        ratio, size = float(np.mean(a)) / float(np.mean(b)), float(np.mean(b))
        parts.append(ratio + (a - ratio * b) / size)
    interval = mean_interval(parts[0] - parts[1], confidence=confidence)
    assert interval is not None  # for the type checker: Fieller's intervals need two references as well
    return float(np.mean(parts[0] - parts[1])), *interval
