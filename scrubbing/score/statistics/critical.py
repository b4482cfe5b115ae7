"""How many standard errors a mean may be from the truth: by Student, or where values are skewed by the bootstrap."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Integer
from scipy import stats

from scrubbing.score.statistics.columns import Design
from scrubbing.score.statistics.looking import Looking
from scrubbing.score.statistics.rare import rare_mean

RESAMPLES = 1999
FEWEST = 10  # units, to resample
AT_ONCE = 2**22  # resampled values
FOR_SKEWNESS = 25  # Cochran's rule: so many units times the squared skewness, for Student's interval
TAIL = 1.75  # Hill's index below which so few values make the variance that it is hardly known


@dataclass(frozen=True)
class Critical:
    """The law of a studentised mean: how far it may be below and above zero.

    `bootstrapped` has the resampled statistics, in order; None where the law is Student's with `df` degrees of freedom.
    Where the tail is heavy, `heavy` has what each unit adds to the mean: resamples know of no value that was not seen,
    and Fay and Feuer's interval, which allows for one, may be the wider.
    """

    df: int
    bootstrapped: Float[np.ndarray, " resample"] | None = None
    heavy: Float[np.ndarray, " unit"] | None = None

    def bounds(self, confidence: float) -> tuple[float, float]:
        """The ends between which the statistic is with this probability, as distances from zero: below, above."""
        tail = (1 - confidence) / 2
        student = float(stats.t.ppf(1 - tail, self.df))
        if self.bootstrapped is None:
            return student, student
        place = tail * (len(self.bootstrapped) + 1)  # of a quantile among them in order; whole for the usual levels
        outer = max(1, math.floor(place + 1e-6))
        below, above = max(0.0, -float(self.bootstrapped[outer - 1])), max(0.0, float(self.bootstrapped[-outer]))
        if self.heavy is None:
            return below, above
        low, high = rare_mean(self.heavy, 0.0, confidence=confidence, signed=False)
        error = math.sqrt(len(self.heavy) * float(np.var(self.heavy, ddof=1)))
        return max(below, high / error), max(above, -low / error)

    def p_value(self, statistic: float) -> float:
        """The two-sided p-value of a statistic.

        Beyond what resamples can resolve the law is Student's, stretched to the bootstrap's 95% bounds: so that p is
        at most 0.05 where the 95% interval excludes zero.
        """
        below, above = self.bounds(0.95)
        bound = above if statistic > 0 else below
        if bound == 0 or not math.isfinite(bound):
            return 1.0
        return float(2 * stats.t.sf(abs(statistic) * float(stats.t.ppf(0.975, self.df)) / bound, self.df))


def is_skewed(parts: Float[np.ndarray, " unit"]) -> bool:
    """Whether there are too few units for Student's interval: fewer than 25 times the squared skewness.

    Source: Cochran, "Sampling Techniques" (3rd edition, 1977), section 2.15.
    """
    around = parts - parts.mean()
    spread = float(np.mean(around**2))
    if spread <= 0:
        return False
    return len(parts) < FOR_SKEWNESS * (float(np.mean(around**3)) / spread**1.5) ** 2


def is_heavy(parts: Float[np.ndarray, " unit"]) -> bool:
    """Whether a mean is skewed, and made by few: by the tail index of the largest twentieth of sizes (Hill 1975)."""
    sizes = np.sort(np.abs(parts - parts.mean()))[::-1]
    k = max(10, len(sizes) // 20)
    if k >= len(sizes) or sizes[k] <= 0 or not is_skewed(parts):
        return False
    return float(np.mean(np.log(sizes[:k] / sizes[k]))) > 1 / TAIL


def student(df: int, design: Design | None) -> Critical | Looking:
    """The law of a mean that is studentised, however its values are distributed."""
    if design is not None and design.tightest_at is not None:
        return Looking(len(design.unit), design.tightest_at)
    return Critical(df)


def critical(parts: Float[np.ndarray, " unit"], df: int) -> Critical:
    """The law of a mean that is studentised, from what each unit adds to it.

    Bootstrap-t (Efron and Tibshirani 1993, section 12.5) if units are skewed, Student's otherwise.
    """
    if len(parts) < FEWEST or not is_skewed(parts):
        return Critical(df)
    return Critical(df, _bootstrapped(parts), parts - parts.mean() if is_heavy(parts) else None)


def _bootstrapped(parts: Float[np.ndarray, " unit"]) -> Float[np.ndarray, " resample"]:
    """Resampled means, each over its own standard error; infinite where a resample does not vary."""
    around, n, found = parts - parts.mean(), len(parts), []
    for chosen in _resamples(n):
        drawn = around[chosen]
        error = drawn.std(axis=1, ddof=1) / math.sqrt(n)
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append(np.nan_to_num(drawn.mean(axis=1) / error, nan=0.0, posinf=np.inf, neginf=-np.inf))
    return np.sort(np.concatenate(found))


@lru_cache(maxsize=2)
def _resamples(n: int) -> list[Integer[np.ndarray, "resample unit"]]:
    """The same resamples for all means of so many units."""
    rng = np.random.default_rng(n)
    size = max(1, AT_ONCE // n)
    kind = np.uint16 if n <= 2**16 else np.int64
    return [rng.integers(0, n, (min(size, RESAMPLES - start), n), dtype=kind) for start in range(0, RESAMPLES, size)]
