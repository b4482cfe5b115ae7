"""Where the variance of a mean loss comes from: references, or the donors drawn for them."""

import math

import numpy as np
from jaxtyping import Float


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


def best_draws(between: float, within: float, *, cost_ratio: float = 1.0) -> float:
    """The number of draws per reference that gives the smallest variance for its cost (Cochran 1977, section 10.6).

    `cost_ratio` is what a reference costs beside its draws, in draws. Minimises (cost_ratio + R)(between + within/R),
    at R = sqrt(cost_ratio within / between); at least 1, and infinite where references do not differ.
    """
    if within == 0:
        return 1.0
    return math.inf if between == 0 else max(1.0, math.sqrt(cost_ratio * within / between))
