"""Intervals mean what they say: checked against the tests that they invert, and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from scrubbing.score.statistics import (
    Design,
    best_draws,
    bootstrapped_ratio,
    difference_of_ratios,
    fieller,
    mean_interval,
    p_value,
    significantly_positive,
    two_level_variance,
)
from scrubbing.score.statistics.looking import sequence_boundary


def pairs(rng, n, *, ratio=0.4, denominator=2.0):
    """Paired values whose means have the ratio given, skewed and correlated as losses are."""
    b = denominator + rng.exponential(size=n) - 1
    return ratio * denominator + 0.3 * (b - denominator) + 0.5 * (rng.exponential(size=n) - 1), b


def scipys_p(values, **settings) -> float:
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
        assert scipys_p(a - bound * b) == pytest.approx(1 - confidence)


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
    intervals = [bounds(*pairs(rng, n)) for _ in range(600)]
    assert 0.925 < np.mean([low <= 0.4 <= high for low, high in intervals]) < 0.975


def losses(rng, shape, *, draws=1, recovered=0.7):
    """What is kept and what there is to recover, of losses with heavy tails and donors drawn for each reference."""
    gap = rng.gamma(1.5, size=shape) - 0.3
    share = 1 - (1 - recovered) * rng.lognormal(-0.32, 0.8, size=shape)  # of mean `recovered`
    return share * gap + rng.standard_t(5, size=(*shape, draws)).mean(axis=-1), gap


def covered(rng, replications, n, **settings):
    """How often Fieller's interval holds the true ratio, by the tests that it inverts."""
    kept, gap = losses(rng, (replications, n), **settings)
    u = kept - 0.7 * gap
    statistic = u.mean(axis=1) / (u.std(axis=1, ddof=1) / math.sqrt(n))
    return float((np.abs(statistic) <= stats.t.ppf(0.975, n - 1)).mean())


@pytest.mark.parametrize("draws", [1, 4])
@pytest.mark.parametrize("n", [50, 200, 1000])
def test_intervals_hold_the_truth_for_heavy_tails_and_drawn_donors(n, draws):
    rng = np.random.default_rng(10 * n + draws)
    intervals = [bounds(*losses(rng, (n,), draws=draws)) for _ in range(300)]
    assert 0.92 < np.mean([low <= 0.7 <= high for low, high in intervals]) < 0.98
    assert 0.93 < covered(rng, 2000, n, draws=draws) < 0.97


@pytest.mark.slow
@pytest.mark.parametrize("draws", [1, 4])
@pytest.mark.parametrize("n", [50, 200, 1000])
def test_intervals_hold_the_truth_to_a_percent(n, draws):
    rng = np.random.default_rng(n + draws)
    assert np.mean([covered(rng, 1000, n, draws=draws) for _ in range(40)]) == pytest.approx(0.95, abs=0.01)


# -- looking


def test_the_boundary_is_the_published_one():
    # Waudby-Smith et al. 2024, theorem 2.2, times sqrt(t): at t = 100, rho = 1/10 and level 0.05 it is
    # sqrt(2 * 2/1 * log(sqrt(2)/0.05)); tightest_at = 7.94/rho^2 makes that rho.
    tightest_at = round(100 * (-2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05))))
    expected = math.sqrt(4 * math.log(math.sqrt(2) / 0.05))
    assert sequence_boundary(100, tightest_at, 0.05) == pytest.approx(expected, rel=1e-3)


def test_the_boundary_is_narrowest_about_where_it_is_tuned_to_be():
    widths = {t: sequence_boundary(1000, t, 0.05) for t in (10, 100, 1000, 10_000, 100_000)}
    assert min(widths, key=lambda t: widths[t]) == 1000
    assert widths[1000] == pytest.approx(3.03, abs=0.01)  # against 1.96 without looking
    assert widths[10] < 1.2 * widths[1000]


def test_the_bounds_of_a_sequence_are_where_the_mean_leaves_it():
    a, b = pairs(np.random.default_rng(3), 500)
    low, high = fieller(a, b, design=Design(np.arange(500), tightest_at=300))
    narrow = bounds(a, b)
    assert low < narrow[0] < narrow[1] < high
    for bound in (low, high):
        u = a - bound * b
        assert abs(u.mean()) / (u.std(ddof=1) / math.sqrt(500)) == pytest.approx(sequence_boundary(500, 300, 0.05))


def missed_while_looking(rng, replications, *, tightest_at, first=128, last=5000):
    """How often a sequence, and an interval for a fixed number of references, ever exclude the true ratio."""
    kept, gap = losses(rng, (replications, last))
    u, n = kept - 0.7 * gap, np.arange(1, last + 1)
    mean = u.cumsum(axis=1) / n
    variance = (u**2).cumsum(axis=1) / n - mean**2
    looks = slice(first - 1, None)
    statistic = np.abs(mean[:, looks]) * np.sqrt((n[looks] - 1) / variance[:, looks])
    boundary = [sequence_boundary(t, tightest_at, 0.05) for t in n[looks].tolist()]
    return (statistic > boundary).any(axis=1).mean(), (statistic > 1.96).any(axis=1).mean()


@pytest.mark.parametrize("tightest_at", [512, 2500])
def test_looking_after_every_reference_a_sequence_holds_the_truth_and_an_interval_does_not(tightest_at):
    by_sequence, by_interval = missed_while_looking(np.random.default_rng(0), 800, tightest_at=tightest_at)
    assert by_sequence <= 0.05
    assert by_interval > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("tightest_at", [512, 2500, 10_000])
def test_a_sequence_holds_the_truth_in_many_runs(tightest_at):
    rng = np.random.default_rng(1)
    runs = [missed_while_looking(rng, 500, tightest_at=tightest_at, last=10_000)[0] for _ in range(8)]
    assert np.mean(runs) <= 0.05 + 0.005


# -- other intervals of ratios


@pytest.mark.parametrize(("n", "tolerance"), [(30, 0.25), (1000, 0.08)])
def test_the_bootstrap_agrees_with_fieller_where_both_are_right(n, tolerance):
    kept, gap = losses(np.random.default_rng(n), (n,))
    found, expected = bootstrapped_ratio(kept, gap, resamples=1999), bounds(kept, gap)
    assert found == pytest.approx(expected, abs=tolerance * (expected[1] - expected[0]))
    assert found == bootstrapped_ratio(kept, gap, resamples=1999)
    assert found != bootstrapped_ratio(kept, gap, resamples=1999, seed=1)


def test_the_bootstrap_keeps_pairs_together_and_knows_its_limits():
    b = np.array([2.0, 3.0, 4.0, 3.0])
    assert bootstrapped_ratio(0.25 * b, b) == pytest.approx((0.25, 0.25))
    assert bootstrapped_ratio(b, np.array([1.0, -1.0, 0.5, 0.1])) is None


def test_two_ratios_differ_by_their_paired_difference():
    rng = np.random.default_rng(0)
    a, b = pairs(rng, 400)
    assert difference_of_ratios(a, b, a, b) == (0, 0, 0)
    shift, low, high = difference_of_ratios(a + 0.1 * b, b, a, b)
    assert (shift, low, high) == pytest.approx((0.1, 0.1, 0.1))
    assert difference_of_ratios(a, b, a, rng.normal(size=400)) is None


def test_the_interval_of_a_difference_of_ratios_holds_the_truth():
    rng = np.random.default_rng(1)
    held = []
    for _ in range(400):
        (a, b), noise = pairs(rng, 200), rng.exponential(size=(2, 200))
        _, low, high = difference_of_ratios(a, b, a - 0.2 * b * noise[0], b * noise[1])
        held.append(low <= 0.2 <= high)  # 0.4 less (0.4 - 0.2) of the same mean
    assert 0.92 < np.mean(held) < 0.98


# -- means


def test_the_interval_of_a_mean_is_students():
    values = np.array([1.0, 2.0, 4.0, 7.0])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert mean_interval(values, confidence=0.9) == pytest.approx((expected.low, expected.high))
    assert mean_interval(values[:1]) is None


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.45, 0.6, 2.0])
def test_significance_is_that_of_the_one_sided_t_test(shift):
    values = np.random.default_rng(0).normal(size=20) + shift
    assert significantly_positive(values) == (scipys_p(values, alternative="greater") < 0.025)


def test_p_values_are_those_of_the_t_test():
    values = np.random.default_rng(0).normal(size=20) + 0.3
    assert p_value(values) == pytest.approx(scipys_p(values))
    assert [p_value(np.array(v)) for v in ([0.0, 0.0], [1.0, 1.0], [1.0], [1.0, -1.0])] == [1, 0, 1, 1]


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


def test_the_best_number_of_draws_weighs_donors_against_references():
    assert best_draws(18.0, 162.0) == 3
    assert best_draws(18.0, 162.0, cost_ratio=4.0) == 6
    assert best_draws(162.0, 18.0) == best_draws(1.0, 0.0) == 1
    assert best_draws(0.0, 1.0) == math.inf
    costs = {R: (4 + R) * (18 + 162 / R) for R in range(1, 20)}
    assert min(costs, key=lambda R: costs[R]) == 6
