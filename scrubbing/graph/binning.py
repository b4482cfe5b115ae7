"""Binning: when two numbers of a feature count as equal. By default they must be the same number."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from scrubbing.errors import HypothesisError
from scrubbing.errors.arguments import check_fields

MOST_BINS = 10_000


@dataclass(frozen=True)
class Within:
    """Numbers agree if they lie in the same cell of a grid of width `tolerance`.

    Cells, and not "differ by less than", since agreement must be transitive: classes of rows must not overlap.
    """

    tolerance: float

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.tolerance < math.inf:
            raise HypothesisError(f"within(..., {self.tolerance}) needs a tolerance above 0; equality is the default")

    def __call__(self, values: Float[np.ndarray, "row *shape"]) -> Float[np.ndarray, "row *shape"]:
        return np.floor(values / self.tolerance) + 0.0


@dataclass(frozen=True)
class Bins:
    """Numbers agree if they lie between the same quantiles of the dataset; each entry of a vector has its own bins."""

    k: int

    def __post_init__(self) -> None:
        check_fields(self)
        if not 1 <= self.k <= MOST_BINS:
            raise HypothesisError(f"bins(..., {self.k}) needs at least one bin, and {MOST_BINS:,} at most")

    def __call__(self, values: Float[np.ndarray, "row *shape"]) -> Int[np.ndarray, "row *shape"]:
        edges = np.quantile(values, np.arange(1, self.k) / self.k, axis=0)
        return (values[None] > edges[:, None]).sum(axis=0)


Binning = Within | Bins
