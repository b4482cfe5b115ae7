"""A mean over references: Student's interval and test."""

import math

from scrubbing.score.statistics.columns import Design, Values, moments
from scrubbing.score.statistics.critical import student


def mean_interval(
    values: Values, *, confidence: float = 0.95, design: Design | None = None
) -> tuple[float, float] | None:
    """Student's interval of a mean, or a sequence's; None for fewer than two independent values."""
    found = moments([values], design)
    if found.df < 1:
        return None
    mean, error = float(found.means[0]), math.sqrt(found.variance([1.0]))
    below, above = student(found.df, design).bounds(confidence)
    return mean - above * error, mean + below * error


def significantly_positive(differences: Values, *, level: float = 0.025, design: Design | None = None) -> bool:
    """Whether paired differences have a mean above zero, by a one-sided t test at `level`."""
    interval = mean_interval(differences, confidence=1 - 2 * level, design=design)
    return interval is not None and interval[0] > 0


def p_value(differences: Values, *, design: Design | None = None) -> float:
    """The p-value of the two-sided t test that the mean is zero; 1 for fewer than two independent values."""
    found = moments([differences], design)
    mean = float(found.means[0])
    if found.df < 1 or mean == 0:
        return 1.0
    error = math.sqrt(found.variance([1.0]))
    return 0.0 if error == 0 else student(found.df, design).p_value(mean / error)
