"""A mean over references: Student's interval and test."""

import math

import numpy as np
from jaxtyping import Float
from scipy import stats


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


def p_value(differences: Float[np.ndarray, "reference"]) -> float:
    """The p-value of the two-sided t test that the mean is zero; 1 for fewer than two values."""
    mean = float(np.mean(differences))
    if len(differences) < 2 or mean == 0:
        return 1.0
    error = float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    return 0.0 if error == 0 else float(2 * stats.t.sf(abs(mean) / error, len(differences) - 1))
