"""Quantiles and tail means are what they are defined to be, and their intervals hold the truth."""

import numpy as np
import pytest
from scipy import stats

from scrubbing.score.statistics import conditional_value_at_risk, quantile


def test_a_tail_mean_is_the_mean_of_the_largest_values():
    values = np.arange(100.0)
    assert conditional_value_at_risk(values, 0.95)[0] == pytest.approx(np.mean([95, 96, 97, 98, 99]))
    assert conditional_value_at_risk(values, 0.0)[0] == pytest.approx(values.mean())
    assert conditional_value_at_risk(np.array([3.0]), 0.5) == (3, None)


def test_the_interval_of_a_quantile_lies_between_order_statistics_and_may_not_exist():
    values = np.random.default_rng(0).permutation(np.arange(1000.0))
    median, interval = quantile(values, 0.5)
    assert median == 499.5
    assert interval == (stats.binom.ppf(0.025, 1000, 0.5) - 1, stats.binom.ppf(0.975, 1000, 0.5))
    assert quantile(values[:5], 0.99)[1] is None


@pytest.mark.slow
def test_their_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    samples = rng.exponential(size=(400, 400))
    q = -np.log(0.1)
    found = [(quantile(x, 0.9)[1], conditional_value_at_risk(x, 0.9)[1]) for x in samples]
    assert 0.92 < np.mean([low <= q <= high for (low, high), _ in found])
    assert 0.9 < np.mean([low <= q + 1 <= high for _, (low, high) in found]) < 0.97  # memoryless
