"""Every promise of an interval or test, simulated in the situations that are normal in this field.

`tests/simulations` has the situations, and `python -m tests.simulations` measures all of them. The quick tests here see
that nothing is far off.
"""

from dataclasses import replace

import numpy as np
import pytest
from simulations.promise import Found, covers, errs
from simulations.table import SITUATIONS
from simulations.tails import lognormal, ordinary, rare

from scrubbing.score.statistics import (
    Ratio,
    conditional_value_at_risk,
    fieller,
    interval_of_mean,
    interval_of_ratio,
    interval_of_share,
    p_of_mean,
    reach,
    sign_flip,
    too_few,
)
from scrubbing.score.statistics.critical import critical
from scrubbing.score.statistics.rare import rare_mean, weighted_poisson

pytestmark = pytest.mark.usefixtures("unchecked")

# Quick members of `tests/simulations/table.py`; all of them, in more runs, are in tests/score/test_promises.py.
QUICK = {
    "well-behaved losses, n = 50": 120,
    "5% of references carry all the loss, n = 50": 120,
    "5% carry all, n = 200": 120,
    "0.5% of references fail, n = 100": 120,
    "lognormal losses, sigma 1.5, n = 50": 120,
    "agreement of .98, n = 50": 200,
    "cvar(0.95), n = 50": 2,
    "cvar(0.95), n = 200": 2,
    "cvar(0.9) of exponential losses, n = 200": 60,
}


@pytest.mark.parametrize("name", QUICK)
def test_promises_are_kept(name):
    situation = SITUATIONS[name]
    found = situation.measured(QUICK[name])
    assert [of for of, promise in situation.promises.items() if not found[of].keeps(promise)] == []


@pytest.mark.parametrize(("value", "kept"), [(0.955, True), (0.94, True), (0.9, False), (0.999, False)])
def test_what_is_out_of_its_limits_is_found(value, kept):
    assert Found(value, 0.005).keeps(covers()) is kept
    assert Found(1 - value, 0.005).keeps(errs(0.05)) is (value > 0.91)


def test_what_is_too_heavy_for_an_interval_is_said_and_what_is_not_is_not():
    rng = np.random.default_rng(0)

    def said(draw, n):
        return np.mean([too_few(*draw(rng, n)) is not None for _ in range(100)])

    assert said(lognormal(2.0), 200) > 0.8
    assert said(lognormal(1.5), 200) > 0.6
    assert said(ordinary, 200) < 0.05
    assert said(ordinary, 10) == 1
    assert said(rare(0.05, 4.0), 100) == 0  # few carry all, and have an interval of their own


def test_where_the_tail_is_heavy_a_loss_that_was_not_seen_is_allowed_for():
    lost = np.random.default_rng(3).lognormal(0, 2.0, 200)
    parts = (lost - lost.mean()) / 200
    law = critical(parts, 199)
    resampled, (low, high) = replace(law, heavy=None).bounds(0.95), rare_mean(parts, 0.0, signed=False)
    error = lost.std(ddof=1) / np.sqrt(200)
    assert law.bounds(0.95) == pytest.approx((max(resampled[0], high / error), max(resampled[1], -low / error)))
    assert law.bounds(0.95) != resampled
    assert interval_of_mean(lost)[1] == pytest.approx(lost.mean() + law.bounds(0.95)[0] * error)


def test_failures_of_unequal_size_may_be_exceeded_and_equal_ones_not():
    equal, unequal = np.full(4, 0.01), np.array([0.002, 0.006, 0.012, 0.02])
    assert rare_mean(equal, 0.0) == pytest.approx(weighted_poisson(equal, 0.01))
    assert rare_mean(unequal, 0.0, signed=False)[1] == pytest.approx(weighted_poisson(unequal, 0.03)[1])
    assert rare_mean(unequal, 0.0, signed=False, bounded=True)[1] == pytest.approx(weighted_poisson(unequal, 0.02)[1])


def test_the_kind_of_interval_is_named():
    rng = np.random.default_rng(0)
    assert Ratio.of(*ordinary(rng, 200)).kind == "Fieller"
    skewed = -np.log1p(-(np.arange(50) + 0.5) / 50)  # the quantiles of an exponential law
    assert Ratio.of(2 - skewed, np.full(50, 2.0)).kind == "Fieller, bootstrapped t"
    assert Ratio.of(*lognormal(1.5)(rng, 200)).kind == "Fieller, bootstrapped t or Fay and Feuer"
    assert Ratio.of(*rare(0.005, 5.2)(rng, 100)).kind == "Fay and Feuer"
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
