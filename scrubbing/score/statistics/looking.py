"""Intervals and tests that stay valid however often one looks at the data while these come in."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import optimize, special

LEVEL = 0.05  # that the boundary of p-values is tuned for
SHAPE = 0.5  # of the prior of the rate of rare events
COUNTS_FOR = 0.1, 128  # how many references the prior counts for: a share of those the sequence is tuned for, and most
MOST_BET = 0.5  # of what a bet could lose at once
LEAST = 1e-9  # a mean that is told from 0 and 1


def tuned(tightest_at: int, level: float) -> float:
    """The best rho^2 of the boundary for so many references (Waudby-Smith et al. 2024, their equation 10)."""
    return (-2 * math.log(level) + math.log(1 - 2 * math.log(level))) / tightest_at


def sequence_boundary(n: int, tightest_at: int, level: float) -> float:
    """How many standard errors wide, to each side, the asymptotic confidence sequence is at n."""
    grown = n * tuned(tightest_at, level) + 1
    return math.sqrt(2 * grown / (grown - 1) * math.log(math.sqrt(grown) / level))


@dataclass(frozen=True)
class Looking:
    """The law of a studentised mean of n references so far, at which one may have looked at any time.

    An asymptotic confidence sequence: in the limit of many references before the first look. `tightest_at` is the
    number of references that it is tuned for, chosen before the data are seen.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, theorem 2.2 (arXiv 2103.06476).
    """

    n: int
    tightest_at: int

    def bounds(self, confidence: float) -> tuple[float, float]:
        """How far the statistic may be below and above zero."""
        end = sequence_boundary(self.n, self.tightest_at, 1 - confidence)
        return end, end

    def p_value(self, statistic: float) -> float:
        """The level at which the sequence leaves zero out: it ever is below a level in at most that share of runs.

        Of the sequence that is tuned for 0.05: p is at most 0.05 where the 95% interval excludes zero.
        """
        grown = self.n * tuned(self.tightest_at, LEVEL) + 1
        return min(1.0, math.sqrt(grown) * math.exp(-(statistic**2) * (grown - 1) / (2 * grown)))


def expected_events(seen: float, n: int, tightest_at: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the expected number of rare events among n references, of which so many were seen.

    A mixture over the rate, of a gamma law: where its likelihood is no more than 1/level times that of a rate, that
    one is in the interval. Exact, whenever one looks, for events of which each reference has none or one.

    Source: Robbins 1970, Statistical methods related to the law of the iterated logarithm; Howard, Ramdas, McAuliffe
    and Sekhon 2021 for conjugate mixtures.
    """
    ratio = min(COUNTS_FOR[0] * tightest_at, COUNTS_FOR[1]) / n
    level = (1 - confidence) / 2  # of each side
    mixture = (
        SHAPE * math.log(ratio / (ratio + 1))
        + float(special.gammaln(SHAPE + seen) - special.gammaln(SHAPE))
        - seen * math.log(ratio + 1)
    )

    def excess(log_mean: float) -> float:
        """The logarithm of the mixture's likelihood over that of a mean, beyond what is allowed."""
        return mixture - seen * log_mean + math.exp(log_mean) + math.log(level)

    middle = math.log(max(seen, 1e-6))
    high, low = math.log(4 * (seen + 1)), middle - 1
    while excess(high) < 0:
        high += 1
    upper = math.exp(float(optimize.brentq(excess, middle, high)))  # pyright: ignore[reportArgumentType]
    if seen <= 0:
        return 0.0, upper
    while excess(low) < 0:
        low = middle + 2 * (low - middle)
    return math.exp(float(optimize.brentq(excess, low, middle))), upper  # pyright: ignore[reportArgumentType]


def betting(values: Float[np.ndarray, " reference"], *, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the mean of independent values between 0 and 1, in the order in which they came.

    Two gamblers bet that the mean is above, or below, a candidate; those that make neither rich are in the interval:
    so that it has the mean at all times with this probability, for any law and any number of values.

    Source: Waudby-Smith and Ramdas 2024, Estimating means of bounded random variables by betting, sections 4.3 and 4.4:
    the hedged capital process, with their predictable plug-in bets.
    """
    values = np.clip(values, 0, 1)
    level = 1 - confidence
    t = np.arange(1, len(values) + 1)
    means = (0.5 + np.cumsum(values)) / (t + 1)
    variances = (0.25 + np.cumsum((values - means) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    bets = np.sqrt(2 * math.log(2 / level) / (before * t * np.log(t + 1)))

    def wealth(candidate: float, side: int) -> float:
        """The logarithm of a gambler's wealth, beyond what makes the candidate wrong."""
        limit = MOST_BET / (candidate if side > 0 else 1 - candidate)
        gains = side * np.minimum(bets, limit) * (values - candidate)
        return float(np.log1p(gains).sum()) - math.log(2 / level)

    # Each wealth falls as the candidate moves towards the side that is bet on.
    ends = []
    for side, poor in ((1, 1 - LEAST), (-1, LEAST)):
        rich = 1 - poor
        if wealth(rich, side) <= 0:
            ends.append(round(rich))
        else:
            ends.append(float(optimize.brentq(wealth, rich, poor, args=(side,))))  # pyright: ignore
    return ends[0], ends[1]


def quantile_levels(level: float, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Between the sample quantiles at these levels a quantile is, at all times with this probability.

    Source: Howard and Ramdas 2022, Sequential estimation of quantiles, equation 4.
    """
    rate = (1.4 * math.log(math.log(2.1 * n)) + math.log(10 / (1 - confidence))) / n if n > 1 else math.inf
    width = 1.5 * math.sqrt(level * (1 - level) * rate) + 0.8 * rate
    return level - width, level + width
