"""The tails of a distribution over references, which a mean hides."""

import numpy as np
from jaxtyping import Float
from scipy import stats

from scrubbing.score.statistics.choosing import interval_of_mean
from scrubbing.score.statistics.columns import Design
from scrubbing.score.statistics.looking import quantile_levels

FEWEST_ABOVE = 20 - 1e-9  # of the values, above the quantile


def quantile(
    values: Float[np.ndarray, "reference"], level: float, *, confidence: float = 0.95, looked: bool = False
) -> tuple[float, tuple[float, float] | None]:
    """A quantile, and its interval between order statistics (Conover 1999; None where the values are too few).

    Where one `looked` while references were drawn, that of a confidence sequence (Howard and Ramdas 2022).
    """
    if looked:
        low, high = quantile_levels(level, len(values), confidence=confidence)
        bounds = np.quantile(values, (low, high)) if 0 <= low and high <= 1 else np.full(2, np.nan)
    else:
        interval = stats.quantile_test(values, p=level).confidence_interval(confidence)
        bounds = np.array([interval.low, interval.high])
    ends = (float(bounds[0]), float(bounds[1]))
    return float(np.quantile(values, level)), None if np.isnan(ends).any() else ends


def conditional_value_at_risk(
    values: Float[np.ndarray, "reference"], level: float, *, confidence: float = 0.95, design: Design | None = None
) -> tuple[float, tuple[float, float] | None]:
    """The mean of the largest values, those above the quantile `level`, and its interval.

    A mean over all values of q + max(v - q, 0)/(1 - level), with q that quantile (Rockafellar and Uryasev 2000), whose
    interval is Student's, or of the bootstrapped t: to first order the error of q does not matter. With fewer than 20
    values above q there is none: the estimate is then biased, and the tail hardly known.
    """
    q = np.quantile(values, level, method="inverted_cdf")
    terms = q + np.maximum(values - q, 0) / (1 - level)
    enough = len(values) * (1 - level) >= FEWEST_ABOVE
    interval = interval_of_mean(terms, confidence=confidence, design=design) if enough else None
    return float(terms.mean()), interval
