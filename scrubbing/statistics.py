"""Intervals and tests, each from its published formula."""

import math

import numpy as np
from jaxtyping import Float
from scipy import stats


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
    a, b = float(np.mean(numerator)), float(np.mean(denominator))
    (aa, ab), (_, bb) = (np.cov(np.stack([numerator, denominator])) / n).tolist()
    t2 = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) ** 2
    # (b^2 - t2 bb) r^2 - 2 (ab_means - t2 ab) r + (a^2 - t2 aa) <= 0
    leading, middle, constant = b * b - t2 * bb, a * b - t2 * ab, a * a - t2 * aa
    if leading <= 0:
        return None
    root = math.sqrt(max(0.0, middle * middle - leading * constant))
    return (middle - root) / leading, (middle + root) / leading


def mean_interval(values: Float[np.ndarray, "reference"], *, confidence: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of a mean; None for fewer than two values."""
    n = len(values)
    if n < 2:
        return None
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def significantly_positive(differences: Float[np.ndarray, "reference"], *, level: float = 0.025) -> bool:
    """Whether paired differences have a mean above zero, by a one-sided t test at `level`."""
    interval = mean_interval(differences, confidence=1 - 2 * level)
    return interval is not None and interval[0] > 0


def two_level_variance(losses: Float[np.ndarray, "reference draw"]) -> tuple[float, float]:
    """The variance between references, and the mean variance within one (between its draws; NaN for a single draw).

    The mean over n references of R draws each has variance between/n + within/(nR).
    """
    n, draws = losses.shape
    if n < 2:
        return math.nan, math.nan
    of_means = float(np.var(losses.mean(axis=1), ddof=1))
    if draws < 2:
        return of_means, math.nan
    within = float(np.var(losses, axis=1, ddof=1).mean())
    return max(0.0, of_means - within / draws), within
