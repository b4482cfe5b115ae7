"""The tails of a distribution over references, which a mean hides."""

import numpy as np
from jaxtyping import Float
from scipy import stats

from scrubbing.score.statistics.means import mean_interval


def quantile(
    values: Float[np.ndarray, "reference"], level: float, *, confidence: float = 0.95
) -> tuple[float, tuple[float, float] | None]:
    """A quantile, and its interval between order statistics (Conover 1999; None where the values are too few)."""
    interval = stats.quantile_test(values, p=level).confidence_interval(confidence)
    bounds = (float(interval.low), float(interval.high))
    return float(np.quantile(values, level)), None if np.isnan(bounds).any() else bounds


def conditional_value_at_risk(
    values: Float[np.ndarray, "reference"], level: float, *, confidence: float = 0.95
) -> tuple[float, tuple[float, float] | None]:
    """The mean of the largest values, those above the quantile `level`, and its interval.

    A mean over all values of q + max(v - q, 0)/(1 - level), with q that quantile (Rockafellar and Uryasev 2000), whose
    interval is Student's: to first order the error of q does not matter.
    """
    q = np.quantile(values, level, method="inverted_cdf")
    terms = q + np.maximum(values - q, 0) / (1 - level)
    return float(terms.mean()), mean_interval(terms, confidence=confidence)
