"""The paper's worked example: the right story recovers everything, and each wrong one less."""

import pytest

from hypotheses import toy
from scrubbing import DataError, HypothesisError

WRONG = ["the first digit alone", "a threshold too high", "an exclusive or"]


@pytest.fixture(scope="module")
def scores():
    return toy.suite().score()


def test_the_algorithm_recovers_all_of_the_loss(scores):
    low, high = scores["an or of thresholds"].interval
    assert low < 1.001
    assert high > 0.999
    assert abs(scores["an or of thresholds"].recovered - 1) < 0.01


def test_claiming_the_digits_themselves_is_exact(scores):
    assert scores["the digits themselves"].recovered == 1


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_story_recovers_less(scores, name):
    assert scores[name].interval[1] < 0.9
    assert scores["an or of thresholds"] > scores[name]


def test_a_case_is_one_of_the_suite(scores):
    assert toy.case("an exclusive or").score().scrubbed == scores["an exclusive or"].scrubbed


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(HypothesisError, match="did you mean 'an exclusive or'"):
        toy.case("an exclusiv or")


def test_the_toy_has_its_own_data(tmp_path):
    with pytest.raises(DataError, match="leave out --model and --data"):
        toy.suite(tmp_path)
