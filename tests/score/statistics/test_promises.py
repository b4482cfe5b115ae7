"""Every promise of an interval or test, simulated in the situations that are normal in this field.

One row of `INTERVALS` for each: how references come about, the truth, and how often the 95% interval should have it.
Exceptions have their reason beside them. The quick tests see that nothing is far off; the slow ones measure.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from scrubbing.score.statistics import (
    conditional_value_at_risk,
    fieller,
    interval_of_mean,
    interval_of_ratio,
    interval_of_share,
    kind_of_ratio,
    p_of_mean,
    reach,
    sign_flip,
    too_few,
    too_heavy,
)

pytestmark = pytest.mark.usefixtures("unchecked")

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def lognormal(sigma: float) -> Draw:
    """Half of the loss is recovered on average, and what is lost is lognormal."""
    mean = np.exp(sigma**2 / 2)
    return lambda rng, n: (2 * mean - rng.lognormal(0, sigma, n), np.full(n, 2 * mean))


def rare(share: float, size: float) -> Draw:
    """A share of the references loses `size` times what there is to recover, the others nothing."""

    def draw(rng, n):
        gap = 1 + rng.gamma(2.0, 0.5, n)
        return gap - (rng.random(n) < share) * size * rng.gamma(2.0, 1.0, n), gap

    return draw


def ordinary(rng, n):
    gap = 1 + rng.gamma(2.0, 0.5, n)
    return 0.7 * gap + rng.standard_t(6, size=n), gap


@dataclass(frozen=True)
class Promise:
    draw: Draw
    truth: float
    n: int
    held: tuple[float, float] = (0.93, 0.97)
    errs: float = 0.06  # `at_least` at 5%

    def measured(self, replications: int) -> tuple[float, float]:
        """How often the interval has the truth, and how often the one-sided bound is above it."""
        rng, held, above = np.random.default_rng(self.n), [], []
        for _ in range(replications):
            kept, gap = self.draw(rng, self.n)
            low, high = interval_of_ratio(kept, gap, signed=False)
            bound, _ = interval_of_ratio(kept, gap, signed=False, confidence=0.9)
            held.append(low - 1e-9 <= self.truth <= high + 1e-9)
            above.append(bound > self.truth + 1e-9 and not too_heavy(kept, gap))  # `at_least` is then false
        return float(np.mean(held)), float(np.mean(above))


# Too wide, never too narrow, where hardly a failure is seen: their number is whole, and one may always be unseen.
WIDE = (0.93, 1.0)
# No interval is honest where the largest of a few values decide: `too_few` says so of most of these runs. They are
# kept here because Student's have the truth in .87, .89 and .93 of runs (sigma 1.5), and .73, .80 and .87 (sigma 2).
# Ours have it in .91 at sigma 2 and n = 1000. (Resampling a tail that a Pareto law was fitted to has it less often: at
# sigma 1.5 in .86, .87 and .90 against .89, .91 and .94 of ours.) A test says no where the tail is that heavy.
HEAVY = {50: (0.82, 0.93), 200: (0.86, 0.97), 1000: (0.91, 0.97)}

INTERVALS = {
    "ordinary, 50": Promise(ordinary, 0.7, 50),
    "ordinary, 200": Promise(ordinary, 0.7, 200),
    "5% carry all, 50": Promise(rare(0.05, 4.0), 0.8, 50, WIDE),
    "5% carry all, 200": Promise(rare(0.05, 4.0), 0.8, 200, WIDE),
    "5% carry all, 1000": Promise(rare(0.05, 4.0), 0.8, 1000, errs=0.07),
    "0.5% fail, 100": Promise(rare(0.005, 5.2), 0.974, 100, WIDE),
    "0.5% fail, 1000": Promise(rare(0.005, 5.2), 0.974, 1000, WIDE, errs=0.09),  # their size is known from few
    **{
        f"lognormal {sigma}, {n}": Promise(lognormal(sigma), 0.5, n, HEAVY[n])
        for sigma in (1.5, 2.0)
        for n in (50, 200, 1000)
    },
}
QUICK = ["ordinary, 50", "5% carry all, 50", "5% carry all, 200", "0.5% fail, 100", "lognormal 1.5, 50"]


@pytest.mark.parametrize("name", QUICK)
def test_intervals_hold_the_truth(name):
    promise = INTERVALS[name]
    held, above = promise.measured(120)
    assert promise.held[0] - 0.05 <= held <= promise.held[1] + 0.05
    assert above <= promise.errs + 0.06


@pytest.mark.slow
@pytest.mark.parametrize("name", INTERVALS)
def test_intervals_hold_the_truth_in_many_runs(name):
    promise = INTERVALS[name]
    held, above = promise.measured(1500)
    assert promise.held[0] - 0.01 <= held <= promise.held[1] + 0.01
    assert above <= promise.errs + 0.005


def test_what_is_too_heavy_for_an_interval_is_said_and_what_is_not_is_not():
    rng = np.random.default_rng(0)

    def said(draw, n):
        return np.mean([too_few(*draw(rng, n)) is not None for _ in range(100)])

    assert said(lognormal(2.0), 200) > 0.8
    assert said(lognormal(1.5), 200) > 0.6
    assert said(ordinary, 200) < 0.05
    assert said(ordinary, 10) == 1


def test_the_kind_of_interval_is_named():
    rng = np.random.default_rng(0)
    assert kind_of_ratio(*ordinary(rng, 200)) == "Fieller"
    assert kind_of_ratio(*lognormal(1.5)(rng, 200)) == "Fieller, bootstrapped t"
    assert kind_of_ratio(*rare(0.005, 5.2)(rng, 100)) == "Fay and Feuer"
    kept, gap = ordinary(rng, 200)
    assert interval_of_ratio(kept, gap) == fieller(kept, gap)


def test_where_nothing_was_lost_the_interval_has_a_width():
    gap = np.full(100, 2.0)
    low, high = interval_of_ratio(gap, gap, signed=False)
    assert high == 1
    assert low == pytest.approx(1 - 4 * 3.689 / 100, abs=1e-4)  # Garwood's bound of no event, each of four gaps
    low, high = interval_of_ratio(0 * gap, gap)  # a difference of which nothing was seen may be in both directions
    assert low == pytest.approx(-high)
    assert high > 0.1


# -- readings between 0 and 1


@pytest.mark.parametrize(("share", "n"), [(0.98, 50), (0.9, 50), (0.5, 200)])
def test_shares_are_held_at_least_as_often_as_was_said(share, n):
    """Clopper and Pearson's are exact, and so too wide for whole numbers: the exception to [.93, .97]."""
    rng = np.random.default_rng(n)
    seen = (rng.random((400, n)) < share).astype(float)
    ends = [interval_of_share(row) for row in seen]
    assert np.mean([low <= share <= high for low, high in ends]) >= 0.94
    assert all(high > low for low, high in ends)


def test_shares_of_positions_are_held_too():
    rng, held = np.random.default_rng(1), []
    for _ in range(200):
        values = 1 - (rng.random(50) < 0.1) * rng.beta(1, 3, size=50)
        low, high = interval_of_share(values)
        held.append(low <= 1 - 0.1 / 4 <= high)
    assert np.mean(held) >= 0.92
    assert interval_of_share(np.ones(30))[0] == pytest.approx(1 - 0.1157, abs=1e-3)  # 0.025 ** (1/30)


# -- tails


def test_cvar_has_an_interval_where_the_tail_has_values_and_none_where_it_has_not():
    rng = np.random.default_rng(2)
    assert conditional_value_at_risk(rng.normal(size=399), 0.95)[1] is None
    truth, held = 2.0627, []  # of the standard normal, beyond its 0.95 quantile
    for _ in range(200):
        low, high = conditional_value_at_risk(rng.normal(size=1000), 0.95)[1]
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.9


# -- tests


@pytest.mark.parametrize("kind", ["t", "rare", "skewed", "sign-flip"])
def test_tests_of_no_difference_err_as_seldom_as_was_said(kind):
    rng, found = np.random.default_rng(3), []
    for _ in range(200):
        if kind == "rare":
            differences = (rng.random(100) < 0.05) * rng.normal(size=100)
            found.append(p_of_mean(differences, most=reach(np.ones(100))))
        elif kind == "skewed":
            found.append(p_of_mean(rng.lognormal(0, 0.8, 100) - np.exp(0.32)))
        elif kind == "sign-flip":
            found.append(sign_flip(rng.standard_cauchy(size=12), flips=199))
        else:
            found.append(p_of_mean(rng.normal(size=100)))
    assert np.mean(np.array(found) <= 0.05) <= 0.06 + 0.035


def test_a_test_and_its_interval_agree():
    rng = np.random.default_rng(4)
    for draw in (lambda: rng.normal(0.2, 1, 100), lambda: rng.lognormal(0, 1, 100) - 1.3):
        for _ in range(40):
            values = draw()
            low, high = interval_of_mean(values)
            assert (p_of_mean(values) <= 0.05) == (not low <= 0 <= high)


def test_sign_flips_by_hand_and_by_group():
    assert sign_flip(np.array([1.0, 1.0, 1.0]), flips=9999) == pytest.approx(0.25, abs=0.02)  # 2 of 8
    together = sign_flip(np.ones(6), np.array([0, 0, 1, 1, 2, 2]), flips=9999)
    assert together == pytest.approx(0.25, abs=0.02)
    assert sign_flip(np.ones(20), flips=99) == 0.01  # never zero
    assert sign_flip(np.ones(20), flips=99, seed=1) == sign_flip(np.ones(20), flips=99, seed=1)


def test_a_single_differing_reference_is_no_difference():
    differences = np.zeros(100)
    differences[3] = 5.0
    assert p_of_mean(differences, most=reach(np.ones(100))) > 0.3
    assert interval_of_mean(differences, most=reach(np.ones(100)))[0] < 0
