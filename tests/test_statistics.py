"""Intervals mean what they say: checked against the tests that they invert, and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from scrubbing.statistics import fieller, mean_interval, significantly_positive, two_level_variance


def pairs(rng, n, *, ratio=0.4, denominator=2.0):
    """Paired values whose means have the ratio given, skewed and correlated as losses are."""
    b = denominator + rng.exponential(size=n) - 1
    return ratio * denominator + 0.3 * (b - denominator) + 0.5 * (rng.exponential(size=n) - 1), b


def p_value(values, **settings) -> float:
    """Of the t test that the mean is zero."""
    return float(np.asarray(stats.ttest_1samp(values, 0, **settings))[1])


def bounds(a, b, **settings) -> tuple[float, float]:
    """Fieller's interval, where it exists."""
    interval = fieller(a, b, **settings)
    assert interval is not None
    return interval


@pytest.mark.parametrize("confidence", [0.5, 0.95])
@pytest.mark.parametrize("n", [5, 50])
def test_fiellers_bounds_are_where_the_t_test_changes_its_mind(n, confidence):
    a, b = pairs(np.random.default_rng(n), n)
    low, high = bounds(a, b, confidence=confidence)
    assert low < a.mean() / b.mean() < high
    for bound in (low, high):
        assert p_value(a - bound * b) == pytest.approx(1 - confidence)


def test_fieller_by_hand():
    # Means 2 and 4, variances of the means 1/3 and 1/3, covariance 0; t = 4.302653 at two degrees of freedom:
    # (16 - 6.170942) r^2 - 16 r + (4 - 6.170942) = 0.
    a, b = np.array([1.0, 2.0, 3.0]), np.array([4 + 1 / math.sqrt(3), 4 - 2 / math.sqrt(3), 4 + 1 / math.sqrt(3)])
    assert fieller(a, b) == pytest.approx((-0.125940, 1.753766), abs=1e-6)


def test_an_exact_ratio_has_an_interval_of_one_point():
    b = np.array([2.0, 3.0, 4.0, 3.0])
    assert fieller(0.25 * b, b) == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize(
    ("a", "b"), [([1.0, 2.0, 1.5], [1.0, -1.0, 0.5]), ([1.0, 2.0], [0.0, 0.0]), ([1.0], [2.0])], ids=str
)
def test_no_ratio_is_given_where_the_denominator_may_be_zero(a, b):
    assert fieller(np.array(a), np.array(b)) is None


@pytest.mark.parametrize("n", [50, 200, 1000])
def test_ninety_five_of_a_hundred_intervals_hold_the_true_ratio(n):
    rng = np.random.default_rng(n)
    intervals = [bounds(*pairs(rng, n)) for _ in range(2000)]
    assert 0.93 < np.mean([low <= 0.4 <= high for low, high in intervals]) < 0.97


def test_the_interval_of_a_mean_is_students():
    values = np.array([1.0, 2.0, 4.0, 7.0])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert mean_interval(values, confidence=0.9) == pytest.approx((expected.low, expected.high))
    assert mean_interval(values[:1]) is None


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.45, 0.6, 2.0])
def test_significance_is_that_of_the_one_sided_t_test(shift):
    values = np.random.default_rng(0).normal(size=20) + shift
    assert significantly_positive(values) == (p_value(values, alternative="greater") < 0.025)


def test_equal_values_are_significantly_positive_only_above_zero():
    assert not significantly_positive(np.zeros(10))
    assert significantly_positive(np.ones(10))
    assert not significantly_positive(np.ones(1))


def test_the_variance_is_split_into_references_and_donors():
    rng = np.random.default_rng(0)
    losses = 3 * rng.normal(size=(5000, 1)) + 5 * rng.normal(size=(5000, 4))
    between, within = two_level_variance(losses)
    assert between == pytest.approx(9, rel=0.1)
    assert within == pytest.approx(25, rel=0.05)


def test_what_one_draw_or_one_reference_cannot_tell_is_nan():
    assert two_level_variance(np.array([[1.0], [3.0]])) == pytest.approx((2.0, math.nan), nan_ok=True)
    assert two_level_variance(np.array([[1.0, 3.0]])) == pytest.approx((math.nan, math.nan), nan_ok=True)


def test_donor_noise_alone_leaves_no_variance_between_references():
    assert two_level_variance(np.array([[0.0, 2.0], [2.0, 0.0], [0.0, 2.0]])) == pytest.approx((0.0, 2.0))
