"""How much references of one group are alike, and what that does to a variance."""

import math

import numpy as np
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict

from scrubbing.score.statistics.columns import Design, Values, moments

NEIGHBOURS = 50  # references in order, below which nothing is said of neighbours


class Clustering(BaseModel):
    """References in groups: how many, how much alike, and by how much that multiplies the variance.

    `correlation` is the intra-class correlation of what a reference keeps beyond the mean share; `design_effect` the
    variance over that of as many independent references with the same donors.
    """

    model_config = ConfigDict(frozen=True)

    groups: int
    correlation: float
    design_effect: float

    def __str__(self) -> str:
        return (
            f"{self.groups:,} groups, design effect {self.design_effect:.1f} "
            f"(intra-class correlation {self.correlation:.2f})"
        )


def clustering(numerator: Values, denominator: Values, design: Design) -> Clustering:
    """How the residuals of a ratio hang together in the units of a design."""
    found = moments([numerator, denominator], design)
    a, b = found.means.tolist()
    contrast = [1.0, -a / b if b else 0.0]
    alone = Design(np.arange(len(design.unit)))
    without = moments([numerator, denominator], alone)
    apart = without.variance(contrast)
    u = _values(numerator) - (a / b if b else 0.0) * _values(denominator)
    effect = float(np.array(contrast) @ found.without_donors @ np.array(contrast)) / apart if apart > 0 else 1.0
    return Clustering(groups=design.units, correlation=intraclass(u, design.unit), design_effect=effect)


def intraclass(values: Float[np.ndarray, " reference"], group: Int[np.ndarray, " reference"]) -> float:
    """The intra-class correlation by the analysis of variance, for groups of unequal size (Donner 1986)."""
    number = np.unique(group, return_inverse=True)[1]
    sizes = np.bincount(number)
    n, k = len(values), len(sizes)
    if k < 2 or k == n:
        return 0.0
    means = np.bincount(number, values) / sizes
    between = float(sizes @ (means - values.mean()) ** 2) / (k - 1)
    within = float(((values - means[number]) ** 2).sum()) / (n - k)
    size = (n - float(sizes @ sizes) / n) / (k - 1)
    total = between + (size - 1) * within
    return (between - within) / total if total > 0 else 0.0


def neighbours_correlate(values: Float[np.ndarray, " reference"]) -> float | None:
    """The correlation of each value with the next, where it is beyond chance and not small; None where it is not."""
    around = values - values.mean()
    total = float(around @ around)
    if len(values) < NEIGHBOURS or total == 0:
        return None
    found = float(around[1:] @ around[:-1]) / total
    return found if found > max(0.1, 4 / math.sqrt(len(values))) else None


def _values(values: Values) -> Float[np.ndarray, " reference"]:
    return values if isinstance(values, np.ndarray) else values.values
