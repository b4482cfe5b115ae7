"""Many tests at once: p-values corrected for how many there were."""

import numpy as np
from jaxtyping import Float, Int
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
