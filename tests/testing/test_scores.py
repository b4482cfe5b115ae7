"""Each case is scored once per run: what equals what, what is scored together, and on which terms."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hypotheses import toy
from scrubbing import Case, DataError, Graph, GraphError, Hypothesis, reads
from scrubbing import scrub as really_scrub
from scrubbing.testing import scores as module
from scrubbing.testing.scores import Options, Scores

LIMIT = 3
AGAIN = {"y": 2 * np.arange(10, dtype=np.float32), "x": list(range(10))}


@pytest.fixture
def runs(monkeypatch) -> list[list[str]]:
    """The names of the hypotheses in each run of `scrub`."""
    seen = []

    def scrub(hypotheses, *args, **settings):
        seen.append(list(hypotheses))
        return really_scrub(hypotheses, *args, **settings)

    monkeypatch.setattr(module, "scrub", scrub)
    return seen


@pytest.fixture
def scores() -> Scores:
    return Scores(Options(references=20))


def made(*, name="made", limit=3, columns=None, network=None, **settings) -> Case:
    """A case of which everything is made anew."""
    x = torch.arange(10)
    G = Graph(h=network or (lambda x: x * 2.0), loss=lambda h, y: (h - y).abs())
    I = Graph(h=lambda x: x > limit, loss=reads("h", "y"))
    return Case(name, Hypothesis(G, I), columns or {"x": x, "y": 2.0 * x}, Graph(loss=reads("y")), settings)


def ask(scores, *cases, test="t", **settings):
    return scores.of(cases, settings, test=test)


def test_a_case_that_is_made_anew_is_scored_once(runs, scores):
    (first,), (again,) = ask(scores, made()), ask(scores, made())
    assert again is first
    assert runs == [["made"]]


def test_what_no_number_depends_on_makes_no_other_case(runs, scores):
    for case in (made(), made(progress=False), made(draws=1), made(columns=AGAIN)):
        ask(scores, case)
    assert len(runs) == 1


CHANGES = {
    "claim": lambda: made(limit=4),
    "data": lambda: made(columns={"x": torch.arange(9), "y": torch.arange(9) * 2.0}),
    "setting": lambda: made(others="input"),
    "network": lambda: made(network=lambda x: x * 2.5),
    "baseline": lambda: Case("made", made().hypothesis, made().data, made(limit=9).hypothesis),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_case_of_other_content_is_another(change, runs, scores):
    ask(scores, made())
    ask(scores, CHANGES[change]())
    assert len(runs) == 2


def test_a_case_changes_with_a_global_that_it_reads(monkeypatch, runs, scores):
    case = made(network=lambda x: x * 1.0 * LIMIT)
    before, again = ask(scores, case), ask(scores, case)
    monkeypatch.setitem(globals(), "LIMIT", 5)
    (after,) = ask(scores, case)
    assert before == again
    assert after.original != before[0].original
    assert len(runs) == 2


class Times:
    """A function whose fingerprint does not show what it does."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return self.factor * x


def test_functions_that_look_alike_are_told_apart(runs, scores):
    (two,), (three,) = ask(scores, made(network=Times(2.0))), ask(scores, made(network=Times(3.0)))
    assert two.original != three.original
    assert len(runs) == 2


def test_settings_that_look_alike_are_told_apart(runs, scores):
    ask(scores, made(unclaimed=Times(2.0)))
    ask(scores, made(unclaimed=Times(3.0)))
    assert len(runs) == 2


def test_a_graph_that_was_rewritten_from_another_is_checked_against_that(scores):
    plain = made()
    ask(scores, plain)
    origin = Graph(h=lambda x: x * 3.0, loss=plain.hypothesis.G["loss"])
    rewritten = origin.rewritten({"h": plain.hypothesis.G["h"]})
    assert rewritten == plain.hypothesis.G
    with pytest.raises(GraphError, match="a rewrite must change no value"):
        ask(scores, replace(plain, hypothesis=replace(plain.hypothesis, G=rewritten)))


def test_a_model_that_was_trained_in_between_is_another(runs, scores):
    model = torch.nn.Linear(1, 1).double().eval()
    case = made(network=lambda x: model(x[:, None].double())[:, 0])
    (before,) = ask(scores, case)
    with torch.no_grad():
        model.weight += 1
    (after,) = ask(scores, case)
    assert after.original != before.original


def test_the_same_case_under_another_name_has_the_score_under_that_name(runs, scores):
    (first,), (second,) = ask(scores, made(name="first")), ask(scores, made(name="second"))
    assert (first.name, second.name) == ("first", "second")
    assert second == first.model_copy(update={"name": "second"})
    assert second.donors.keys() == first.donors.keys() != set()
    assert runs == [["first"]]


def test_cases_asked_for_at_once_are_scored_in_one_run_but_for_those_known(runs, scores):
    a, b, c = (made(name=name, limit=limit) for name, limit in (("a", 1), ("b", 2), ("c", 3)))
    ask(scores, b)
    found = ask(scores, a, b, c, a)
    assert [score.name for score in found] == ["a", "b", "c", "a"]
    assert runs == [["b"], ["a", "c"]]


def test_cases_on_other_terms_are_scored_apart(runs, scores):
    a, b, c = made(name="a"), made(name="b", limit=2, others="input"), made(name="c", limit=4)
    found = ask(scores, a, b, c)
    assert [score.name for score in found] == ["a", "b", "c"]
    assert [score.settings["others"] for score in found] == ["node", "input", "node"]
    assert runs == [["a", "c"], ["b"]]


def test_cases_of_one_name_are_told_apart_in_a_run_and_keep_it_in_the_score(runs, scores):
    found = ask(scores, made(limit=2), made(limit=3), made(name="", limit=4))
    assert [score.name for score in found] == ["made", "made", None]
    assert runs == [["made (1)", "made (2)", "hypothesis 3"]]
    assert len({score.scrubbed for score in found}) == 3


def test_scores_of_different_calls_are_on_common_terms():
    scores = Scores(Options(references=200))
    apart = [ask(scores, toy.case(name), test=name)[0] for name in ("a threshold too high", "an or of thresholds")]
    together = Scores(scores.options).of([toy.case(s.name) for s in apart], {}, test="t")
    assert apart == together
    assert apart[1] > apart[0]


def test_what_failed_is_not_kept(runs, scores):
    bad = made(columns={"x": torch.arange(10)})
    for _ in range(2):
        with pytest.raises(DataError, match=r"^the data have no column 'y'"):
            ask(scores, bad)
    assert len(runs) == 2
    assert list(scores) == []


@pytest.mark.parametrize(
    ("run", "own", "given", "expected"),
    [
        (Options(), {}, {}, (10, 0)),
        (Options(references=7, seed=1), {}, {}, (7, 1)),
        (Options(references=7, seed=1), {"references": 6, "seed": 2}, {}, (7, 1)),
        (Options(references=7, seed=1), {"references": 6, "seed": 2}, {"references": 5, "seed": 3}, (5, 3)),
        (Options(), {"references": 6, "seed": 2}, {}, (6, 2)),
    ],
)
def test_a_test_s_settings_go_before_the_run_s_and_those_before_the_case_s(run, own, given, expected):
    (score,) = Scores(run).of([made(**own)], given, test="t")
    assert (score.references, score.seed) == expected


def test_references_are_drawn_from_the_rows_that_the_case_names(scores):
    (score,) = ask(scores, made(references=np.array([2, 3, 5])))
    assert score.references == 20
    assert set(score.by_reference.reference) == {2, 3, 5}


def test_each_score_knows_the_tests_that_asked(scores):
    ask(scores, made(name="a"), made(name="b", limit=2), test="one")
    ask(scores, made(name="a"), test="two")
    assert [(asked.score.name, list(asked.tests)) for asked in scores] == [("a", ["one", "two"]), ("b", ["one"])]
    assert [score.name for score in scores.of_test("one")] == ["a", "b"]
    assert [score.name for score in scores.of_test("two")] == ["a"]
    assert scores.of_test("three") == []
