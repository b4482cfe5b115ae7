"""Many tests or intervals at once: corrected for how many there were."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

SIMULATED_AT_ONCE = 1000


def holm(p: Float[np.ndarray, "test"], *, tests: int | None = None) -> Float[np.ndarray, "test"]:
    """p-values that hold for all tests together: the family-wise error rate (Holm 1979).

    `tests` is the number of all tests, where these are a selection; the others are assumed to have larger p-values,
    which is the safe assumption.
    """
    order = np.argsort(p, kind="stable")
    left = max(tests or 0, len(p)) - np.arange(len(p))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(left * p[order]))
    return adjusted


def benjamini_hochberg(p: Float[np.ndarray, "test"], *, tests: int | None = None) -> Float[np.ndarray, "test"]:
    """p-values that bound the share of false findings: the false discovery rate (Benjamini and Hochberg 1995).

    `tests` is the number of all tests, where these are a selection; the others are assumed to have found nothing.
    """
    unseen = np.ones(max(tests or 0, len(p)) - len(p))
    return stats.false_discovery_control(np.concatenate([p, unseen]))[: len(p)]


def all_pairs_max_t(
    losses: Float[np.ndarray, "reference hypothesis"],
    pairs: Int[np.ndarray, "pair 2"],
    *,
    draws: int = 20_000,
    seed: int = 0,
) -> Float[np.ndarray, " pair"]:
    """p-values of paired differences, corrected by the law of the largest statistic (Westfall and Young 1993).

    The t statistics of the pairs are jointly multivariate t, with the correlations that the losses have over common
    references (Hothorn, Bretz and Westfall 2008). Step down: each statistic is held against the largest among those
    that are no greater; p is (1 + #)/(1 + draws), with # the draws in which that is at least the one observed.
    """
    n = len(losses)
    return max_t(losses.mean(axis=0), np.cov(losses, rowvar=False) / n, n - 1, pairs, draws=draws, seed=seed)


def max_t(
    means: Float[np.ndarray, " hypothesis"],
    covariance: Float[np.ndarray, "hypothesis hypothesis"],
    df: int,
    pairs: Int[np.ndarray, "pair 2"],
    *,
    draws: int = 20_000,
    seed: int = 0,
) -> Float[np.ndarray, " pair"]:
    """The same, from means and the covariance that they have."""
    first, second = pairs.T
    variance = np.diag(covariance)[first] + np.diag(covariance)[second] - 2 * covariance[first, second]
    error = np.sqrt(np.maximum(0.0, variance))
    difference = means[first] - means[second]
    told = np.flatnonzero(error > 1e-7 * np.sqrt(np.diag(covariance).max()))  # those that always agree have no t
    t = np.abs(difference[told]) / error[told]
    order = told[np.argsort(-t, kind="stable")]
    observed = np.sort(t)[::-1]
    rng, exceeded, done = np.random.default_rng(seed), np.zeros(len(order)), 0
    while done < draws:
        size = min(SIMULATED_AT_ONCE, draws - done)
        around = rng.multivariate_normal(np.zeros(len(means)), covariance, size=size, method="eigh")
        scale = np.sqrt(rng.chisquare(df, size=(size, 1)) / df)
        drawn = np.abs(around[:, first[order]] - around[:, second[order]]) / error[order] / scale
        largest_left = np.maximum.accumulate(drawn[:, ::-1], axis=1)[:, ::-1]
        exceeded += (largest_left >= observed).sum(axis=0)
        done += size
    adjusted = np.where(difference == 0, 1.0, 1 / (1 + draws))
    adjusted[order] = np.maximum.accumulate((1 + exceeded) / (1 + draws))
    return adjusted


def confidence_at_once(
    covariance: Float[np.ndarray, "mean mean"],
    df: int,
    contrasts: Float[np.ndarray, "contrast mean"],
    *,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> float:
    """The confidence at which intervals of some contrasts of means must each be taken, so that all hold at once.

    Their t statistics are jointly multivariate t (Hothorn, Bretz and Westfall 2008); the quantile of the largest is
    simulated. Of all pairs of independent means it is Tukey's, of one mean and each of the others Dunnett's.
    """
    values, vectors = np.linalg.eigh(covariance)
    factor = contrasts @ (vectors * np.sqrt(np.maximum(0.0, values)))
    error = np.sqrt((factor**2).sum(axis=1))
    told = error > 1e-7 * error.max(initial=0.0)  # those that always agree have no t
    if not told.any():
        return confidence
    factor = factor[told] / error[told, None]
    rng, largest = np.random.default_rng(seed), []
    for start in range(0, draws, SIMULATED_AT_ONCE):
        size = min(SIMULATED_AT_ONCE, draws - start)
        drawn = rng.normal(size=(size, factor.shape[1])) @ factor.T / np.sqrt(rng.chisquare(df, (size, 1)) / df)
        largest.append(np.abs(drawn).max(axis=1))
    return float(1 - 2 * stats.t.sf(np.quantile(np.concatenate(largest), confidence), df))


def with_the_best(
    low: Float[np.ndarray, "mean mean"], high: Float[np.ndarray, "mean mean"]
) -> tuple[Float[np.ndarray, " mean"], Float[np.ndarray, " mean"], Bool[np.ndarray, " mean"]]:
    """Multiple comparisons with the best: how far each mean is behind the best of the others, and whether it may be it.

    `low[k, j]` and `high[k, j]` are the ends of how far k is ahead of j; for each k, those for all j hold at once with
    the wanted confidence. So do then all ends that are returned: k may be the best unless its ends say otherwise, the
    ends of the one that is the best hold, and for each mean all that may be the best are allowed for.

    Source: Edwards and Hsu 1983, Multiple comparisons with the best treatment; Hsu 1996, Multiple Comparisons, ch. 4.
    """
    own = np.eye(len(low), dtype=bool)
    ahead_least, ahead_most = (np.min(ends, axis=1, where=~own, initial=np.inf) for ends in (low, high))
    may_be_best = ahead_most >= 0
    behind_least = np.where(own, -ahead_most[:, None], np.maximum(0.0, low))[may_be_best]  # by which is the best
    behind_most = np.where(own, -np.maximum(0.0, ahead_least)[:, None], high)[may_be_best]
    return behind_least.min(axis=0, initial=np.inf), behind_most.max(axis=0, initial=-np.inf), may_be_best
