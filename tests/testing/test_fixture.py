"""The answer of the fixture has the shape of the question; what is no question is refused in words."""

import pytest

from hypotheses import toy
from scrubbing import DataError, Hypothesis, HypothesisError, Score
from scrubbing import scrub as really_scrub
from scrubbing.testing.fixture import Scrub
from scrubbing.testing.scores import Options, Scores

A, B = toy.case("an or of thresholds"), toy.case("a threshold too high")


@pytest.fixture
def scores() -> Scores:
    return Scores(Options(references=20))


@pytest.fixture
def asking(scores) -> Scrub:
    return Scrub(scores, test=lambda: "the test")


def test_of_one_case_a_score(asking):
    score = asking(A)
    assert isinstance(score, Score)
    assert score == A.score(references=20)


@pytest.mark.parametrize(
    "asked", [(A, B), ([A, B],), ((A, B),), (iter([A, B]),)], ids=["arguments", "list", "tuple", "iterator"]
)
def test_of_several_a_list(asked, asking):
    assert [score.name for score in asking(*asked)] == [A.name, B.name]


def test_of_a_list_of_one_a_list_of_one(asking):
    assert asking([A]) == [asking(A)]


def test_hypotheses_are_given_as_to_the_function(asking):
    terms = {"data": A.data, "baseline": A.baseline}
    expected = really_scrub(A.hypothesis, **terms, references=20)
    assert asking(A.hypothesis, A.data, baseline=A.baseline) == expected
    assert asking(A.hypothesis, **terms) == expected
    assert asking([A.hypothesis], **terms) == [expected]
    assert asking({"a": A.hypothesis}, **terms) == {"a": expected.model_copy(update={"name": "a"})}


def test_a_hypothesis_and_its_case_share_one_score(asking, scores):
    asking(A)
    asking(A.hypothesis, A.data, baseline=A.baseline)
    asking({A.name: A.hypothesis}, A.data, baseline=A.baseline)
    assert [(asked.score.name, list(asked.tests)) for asked in scores] == [
        (A.name, ["the test"]),
        (None, ["the test"]),
    ]


def test_settings_are_those_of_the_function(asking):
    assert asking(A, references=30, seed=2, draws=2) == A.score(references=30, seed=2, draws=2)
    assert asking(A, exact=True).settings["exact"]


WRONG = {
    "nothing": ((), {}, HypothesisError, "nothing cannot be scored; write scrub(case), or"),
    "no case": ((3,), {}, HypothesisError, "int cannot be scored; write scrub(case), or"),
    "no data": ((A.hypothesis,), {}, HypothesisError, "Hypothesis cannot be scored; write scrub(case), or"),
    "a suite": ((toy.suite(),), {}, HypothesisError, "Suite cannot be scored; write scrub(case), or"),
    "a name": ((A, "naive"), {}, HypothesisError, "str is no Case; write scrub(case, ...), or"),
    "names": (("naive",), {}, HypothesisError, "str is no Case; write scrub(case, ...), or"),
    "no baseline": ((A.hypothesis, A.data), {}, DataError, "what recovers 0% is missing; write"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_scored_is_refused(wrong, asking):
    asked, settings, kind, message = WRONG[wrong]
    with pytest.raises(kind) as raised:
        asking(*asked, **settings)
    assert str(raised.value) == f"{message} scrub(hypothesis, data, baseline=...)"


def test_a_wrong_setting_is_named(asking):
    with pytest.raises(TypeError, match="'referencs'"):
        asking(A, referencs=3)


def test_a_case_says_with_what_it_is_scored_and_takes_no_other_baseline(asking):
    with pytest.raises(TypeError, match="'baseline'"):
        asking(A, baseline=Hypothesis(A.hypothesis.G, A.baseline))
