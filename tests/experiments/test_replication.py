"""One model is one observation: the mean over several, and how much they differ beyond chance."""

import numpy as np
import pytest

from hypotheses import toy
from scrubbing import DataError, replicate
from scrubbing.experiments.replication import random_effects


def test_a_single_effect_by_hand():
    # Equal errors: the weights are equal, Q = 8 on 2 degrees of freedom, and the spread (8 - 2)/(3 - 1) error^2 = 3.
    mean, error, spread = random_effects(np.array([-2.0, 0.0, 2.0]), np.ones(3))
    assert (mean, spread) == (pytest.approx(0), pytest.approx(np.sqrt(3)))
    assert error == pytest.approx(np.sqrt(4 / 3))  # of the scatter between them, as Student's


def test_effects_that_differ_by_chance_alone_have_no_spread():
    mean, error, spread = random_effects(np.array([0.1, 0.0, -0.1]), np.ones(3))
    assert (mean, spread) == (pytest.approx(0), 0)
    assert error == pytest.approx(1 / np.sqrt(3))


def test_the_interval_holds_the_mean_over_models():
    from scipy import stats

    rng, held = np.random.default_rng(0), []
    for _ in range(600):
        errors = rng.uniform(0.5, 1.5, size=6)
        found = 0.7 + rng.normal(size=6) + errors * rng.normal(size=6)
        mean, error, _ = random_effects(found, errors)
        held.append(abs(mean - 0.7) <= stats.t.ppf(0.975, 5) * error)
    assert 0.925 <= np.mean(held) <= 0.985


def test_a_case_over_others():
    case = toy.case("a threshold too high")
    found = replicate(case, {"again": case.score(seed=1), "and again": case}, references=200)
    assert list(found.scores) == ["a threshold too high", "again", "and again"]
    assert found.interval[0] < found.mean < found.interval[1]
    assert found.table.loc["again", "recovered"] == found.scores["again"].recovered
    assert "mean over all such" in str(found)


def test_nothing_to_replicate_is_refused():
    with pytest.raises(DataError, match=r"^replicate needs another model, prompt or dataset: over=\[...\] is empty$"):
        replicate(toy.case("an exclusive or"), [])
