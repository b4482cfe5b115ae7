"""Intervals and tests that stay valid under looking: each holds the truth at all looks at once."""

import numpy as np
import pytest

from scrubbing.score.statistics import (
    Design,
    Ratio,
    difference_of_ratios,
    interval_of_mean,
    interval_of_ratio,
    interval_of_share,
    mean_interval,
    p_of_mean,
    quantile,
)
from scrubbing.score.statistics.independence import hsic
from scrubbing.score.statistics.looking import Looking, betting, expected_events

pytestmark = pytest.mark.usefixtures("unchecked")
LOOKS = (128, 256, 512, 1024, 2048)


def looked(n: int) -> Design:
    return Design(np.arange(n), tightest_at=512)


def ever_missed(draw, interval, truth, *, replications=60, looks=LOOKS):
    """The share of runs in which some look excludes the truth."""
    missed = []
    for seed in range(replications):
        values = draw(np.random.default_rng(seed), looks[-1])
        ends = (interval(values[:n]) for n in looks)
        missed.append(any(not low <= truth <= high for low, high in ends))
    return np.mean(missed)


@pytest.mark.parametrize("share", [0.5, 0.98])
def test_bets_on_bounded_values_hold_the_mean_at_all_looks(share):
    assert ever_missed(lambda rng, n: (rng.random(n) < share) * 1.0, betting, share) <= 0.05 + 0.06


def test_a_bet_is_lost_where_the_mean_is_another():
    low, high = betting((np.random.default_rng(0).random(2000) < 0.7) * 1.0)
    assert 0.6 < low < 0.7 < high < 0.8
    assert betting(np.ones(100))[0] > 0.85
    assert betting(np.ones(100))[1] == 1
    assert betting(np.zeros(100))[1] < 0.15
    values = np.random.default_rng(1).beta(20, 2, 500)  # little variance: narrower than the worst law
    assert np.diff(betting(values)) < 0.5 * np.diff(betting((np.random.default_rng(1).random(500) < 0.9) * 1.0))


def test_shares_are_bet_on_if_references_are_independent():
    values = (np.random.default_rng(2).random(300) < 0.9) * 1.0
    assert interval_of_share(values, design=looked(300)) == betting(values)
    grouped = Design(np.arange(300) // 2, tightest_at=512)
    assert interval_of_share(values, design=grouped) != betting(values)


def test_rare_events_hold_their_rate_at_all_looks():
    for rate in (0.002, 0.02):
        missed = ever_missed(
            lambda rng, n, rate=rate: rng.random(n) < rate,
            lambda seen, rate=rate: np.array(expected_events(float(seen.sum()), len(seen), 512)) / len(seen),
            rate,
            replications=150,
        )
        assert missed <= 0.05 + 0.03


def test_events_that_were_not_seen_may_still_come():
    low, high = expected_events(0, 1000, 1000)
    assert low == 0
    assert 3.69 < high < 6  # 3.69 without looking
    low, high = expected_events(100, 1000, 1000)
    assert 50 < low < 81.4 < 121.6 < high < 170  # 81.4 to 121.6 without looking
    assert expected_events(3, 20, 10**6)[1] > 3  # far from what it is tuned for, there are ends all the same


def test_means_ratios_and_differences_are_wider_by_one_boundary():
    rng = np.random.default_rng(3)
    gap = 2 + rng.normal(size=600)
    kept = 0.6 * gap + rng.normal(size=600)
    wider = Looking(600, 512).bounds(0.95)[0] / 1.964
    for of in (
        lambda d: mean_interval(kept, design=d),
        lambda d: interval_of_mean(kept, design=d),
        lambda d: interval_of_ratio(kept, gap, design=d),
        lambda d: difference_of_ratios(kept, gap, 0.5 * kept + 0.1 * rng.normal(size=600), gap, design=d)[1:],
    ):
        plain, sequence = (np.diff(of(d))[0] for d in (Design(np.arange(600)), looked(600)))
        assert sequence == pytest.approx(wider * plain, rel=0.1)
    assert Ratio.of(kept, gap, looked(600)).kind.startswith("asymptotic confidence sequence")
    assert Ratio.of(gap, gap, looked(600)).kind.startswith("rare events confidence sequence")


def test_a_test_and_its_interval_agree():
    rng = np.random.default_rng(4)
    for shift in np.linspace(0, 0.3, 30):
        values = shift + rng.normal(size=200)
        low, high = interval_of_mean(values, design=looked(200))
        assert (p_of_mean(values, design=looked(200)) <= 0.05) == (not low <= 0 <= high)


def test_tests_err_seldom_however_often_one_looks():
    def smallest(seed):
        values = np.random.default_rng(seed).normal(size=LOOKS[-1])
        return min(p_of_mean(values[:n], design=looked(n)) for n in LOOKS)

    assert np.mean([smallest(seed) <= 0.05 for seed in range(100)]) <= 0.05 + 0.03


def test_quantiles_are_held_at_all_looks():
    missed = ever_missed(lambda rng, n: rng.normal(size=n), lambda v: quantile(v, 0.5, looked=True)[1], 0.0)
    assert missed <= 0.05
    assert quantile(np.arange(30.0), 0.99, looked=True)[1] is None
    plain, wide = (np.diff(quantile(np.arange(1000.0), 0.5, looked=of)[1]) for of in (False, True))
    assert wide > 1.5 * plain


def test_a_ratio_of_which_no_loss_was_seen_has_a_width_under_looking():
    gap = np.full(128, 2.0)
    low, high = interval_of_ratio(gap, gap, design=looked(128), signed=False)
    assert high == 1
    assert low < interval_of_ratio(gap, gap, signed=False)[0] < 0.95


# -- references drawn from rows in groups, for the mean over the source of the groups


def ever_missed_by_groups(groups, size, alike, *, replications, looks=LOOKS):
    """The share of runs in which some look excludes the mean of all groups that there could be."""
    missed = []
    for seed in range(replications):
        rng, group = np.random.default_rng(seed), np.repeat(np.arange(groups), size)
        values = np.sqrt(alike) * rng.normal(size=groups)[group] + np.sqrt(1 - alike) * rng.normal(size=len(group))
        drawn = rng.integers(0, len(group), looks[-1])
        ends = (
            interval_of_mean(values[drawn[:n]], design=Design(group[drawn[:n]], group, tightest_at=512)) for n in looks
        )
        missed.append(any(not low <= 0 <= high for low, high in ends))
    return np.mean(missed)


def test_few_groups_are_enough_for_the_source():
    assert ever_missed_by_groups(20, 25, 0.5, replications=60) <= 0.05 + 0.03


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "size", "alike"), [(10, 50, 0.5), (20, 50, 0.5), (40, 25, 0.3), (135, 15, 0.3)])
def test_groups_hold_the_source_in_many_runs(groups, size, alike):
    """Once all groups were seen, the error hardly moves, and the boundary is wider than Student's of ten groups."""
    assert ever_missed_by_groups(groups, size, alike, replications=400) <= 0.05


# -- independence


def test_dependence_without_correlation_is_found_and_none_is_not():
    rng = np.random.default_rng(5)
    x = rng.normal(size=150)
    assert hsic(x, x**2 + 0.1 * rng.normal(size=150), permutations=99)[1] == 0.01
    found = [hsic(rng.normal(size=60), rng.normal(size=60), permutations=39, seed=s)[1] for s in range(60)]
    assert 0.0 < np.mean(np.array(found) <= 0.25) < 0.45


def test_what_differs_between_groups_is_no_dependence_within_them():
    rng = np.random.default_rng(6)
    group = np.arange(200) % 2
    x, y = (3 * group + rng.normal(size=200) for _ in range(2))
    assert hsic(x, y, permutations=99)[1] == 0.01
    assert hsic(x, y, within=group, permutations=99)[1] > 0.05
