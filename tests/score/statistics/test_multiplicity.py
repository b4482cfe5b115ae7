"""Corrected p-values are those of the published procedures, also where some of the tests are not shown."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from scrubbing.score.statistics import all_pairs_max_t, benjamini_hochberg, holm, p_value

P = np.array([0.03, 0.01, 0.05, 0.02, 0.04])


def test_holm_and_benjamini_hochberg_are_those_of_rs_p_adjust():
    assert holm(P) == pytest.approx([0.09, 0.05, 0.09, 0.08, 0.09])
    assert benjamini_hochberg(P) == pytest.approx([0.05] * 5)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(0, 20))
def test_tests_that_are_not_shown_count_as_ones_that_found_nothing(p, unseen):
    shown, everything = np.array(p), np.array(p + [1.0] * unseen)
    for correct in (holm, benjamini_hochberg):
        assert correct(shown, tests=len(everything)) == pytest.approx(correct(everything)[: len(p)])
        assert (correct(shown, tests=len(everything)) >= correct(shown) - 1e-12).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_stepping_down_rejects(p, level):
    rejected, order = set(), np.argsort(p, kind="stable").tolist()
    for step, i in enumerate(order):
        if p[i] * (len(p) - step) > level:
            break
        rejected.add(i)
    assert set(np.flatnonzero(holm(np.array(p)) <= level).tolist()) == rejected


PAIRS = np.array(list(combinations(range(4), 2)))


def test_max_t_of_one_pair_is_the_t_test():
    losses = np.random.default_rng(0).normal(size=(12, 2)) + np.array([0, 0.8])
    (found,) = all_pairs_max_t(losses, np.array([[0, 1]]))
    assert found == pytest.approx(p_value(losses[:, 0] - losses[:, 1]), abs=0.01)


def test_the_largest_t_of_independent_losses_has_tukeys_law():
    losses = np.random.default_rng(1).normal(size=(4000, 4))
    losses = (losses - losses.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(losses, rowvar=False))).T
    losses = losses + np.array([0, 0, 0, 0.05])
    t = 0.05 / np.sqrt(2 / 4000)
    found = all_pairs_max_t(losses, PAIRS)
    assert found.min() == pytest.approx(stats.studentized_range.sf(t * np.sqrt(2), 4, np.inf), abs=0.01)


def test_hypotheses_that_always_agree_are_not_told_apart_and_constant_differences_are():
    losses = np.random.default_rng(0).normal(size=(50, 1)) + np.array([[0.0, 0.0, 1.0]])
    found = all_pairs_max_t(losses, np.array([[0, 1], [0, 2]]), draws=999)
    assert found == pytest.approx([1, 0.001])


@pytest.mark.slow
def test_false_findings_are_as_rare_as_was_said_and_true_ones_more_frequent_than_holms():
    rng = np.random.default_rng(0)
    pairs = np.array(list(combinations(range(6), 2)))
    null = (pairs < 4).all(axis=1)  # the first four hypotheses are equally good
    false, found = {"holm": [], "max-t": []}, {"holm": [], "max-t": []}
    for _ in range(300):
        losses = rng.lognormal(size=(100, 1)) + rng.normal(size=(100, 6)) / 2 + np.array([0, 0, 0, 0, 0.25, 1])
        p = np.array([p_value(losses[:, i] - losses[:, j]) for i, j in pairs])
        for name, corrected in (("holm", holm(p)), ("max-t", all_pairs_max_t(losses, pairs, draws=2000))):
            false[name].append((corrected[null] <= 0.05).any())
            found[name].append((corrected[~null] <= 0.05).mean())
    assert np.mean(false["holm"]) <= 0.05 + 0.025
    assert np.mean(false["max-t"]) <= 0.05 + 0.025
    assert np.mean(found["max-t"]) > np.mean(found["holm"]) > 0.8
