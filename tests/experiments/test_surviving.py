"""keep_going=True: what can be scored is, and what cannot is named."""

import pytest

from scrubbing import (
    DataError,
    Graph,
    Hypothesis,
    HypothesisError,
    NodeError,
    ScrubbingWarning,
    StoreError,
    measure,
    reads,
    scrub,
    scrub_part,
    sweep,
)
from scrubbing.experiments.surviving import those_that_run

DATA = {"x": [0.0, 1.0, 2.0, 3.0], "y": [0.0, 2.0, 4.0, 6.0]}
BASELINE = Graph(loss=reads("y"))


def network(limit=1e9):
    def double(x):
        if (x > limit).any():
            raise ValueError(f"above {limit}")
        return 2 * x

    return Graph(a=double, loss=lambda a, y: (a - y) ** 2)


GOOD = network()


def parity(G):
    return Hypothesis(G, Graph(a=lambda x: x % 2, loss=reads("a", "y")))


def test_what_cannot_be_scored_is_left_out_and_named():
    named = {f"good {i}": parity(GOOD) for i in range(5)}
    named = {"first": parity(network(2)), **named, "last": parity(network(1))}
    with pytest.warns(ScrubbingWarning) as caught:
        found = scrub(named, DATA, baseline=BASELINE, keep_going=True)
    assert list(found) == [f"good {i}" for i in range(5)]
    assert found == scrub({name: named[name] for name in found}, DATA, baseline=BASELINE)
    said = sorted(str(w.message) for w in caught)
    assert said == [
        "'first' is left out: the function of 'a' raised ValueError: above 2",
        "'last' is left out: the function of 'a' raised ValueError: above 1",
    ]


def test_where_none_is_left_the_first_says_why():
    with pytest.raises(NodeError, match="above 2"):
        scrub({"one": parity(network(2)), "two": parity(network(1))}, DATA, baseline=BASELINE, keep_going=True)


def test_nothing_is_left_out_unasked():
    with pytest.raises(NodeError, match="above 2"):
        scrub({"bad": parity(network(2)), "good": parity(GOOD)}, DATA, baseline=BASELINE)


def test_interventions_and_sweeps_go_on_too():
    def breaks(value):
        raise ValueError("not today")

    with pytest.warns(ScrubbingWarning, match="'bad' is left out: .*not today"):
        found = measure(GOOD, {"bad": {"a": breaks}, "good": {"a": "zero"}}, DATA, keep_going=True)
    assert found["good"].losses["scrubbed"].tolist() == [0.0, 4.0, 16.0, 36.0]

    def one(what):
        return {"a": breaks if what == "bad" else "zero"}

    with pytest.warns(ScrubbingWarning, match="'what bad' is left out"):
        swept = sweep(GOOD, {"what": ["bad", "zero"]}, one, DATA, keep_going=True)
    assert list(swept.scores) == [("zero",)]


def test_a_run_is_made_again_for_few_of_many():
    asked = []

    def run(named):
        asked.append(list(named))
        if "bad" in named:
            raise DataError("bad")
        return named

    with pytest.warns(ScrubbingWarning, match="'bad'"):
        found = those_that_run(run, {**{str(i): i for i in range(1023)}, "bad": None})
    assert len(found) == 1023
    assert len(asked) == 1 + 2 * 10


def test_a_store_that_cannot_be_written_is_nobodys_fault():
    asked = []

    def run(named):
        asked.append(named)
        raise StoreError("the disk is full")

    with pytest.raises(StoreError):
        those_that_run(run, {"a": 1, "b": 2})
    assert len(asked) == 1


def test_hypotheses_without_names_are_refused():
    with pytest.raises(HypothesisError, match="give a dict"):
        scrub([parity(GOOD)], DATA, baseline=BASELINE, keep_going=True)
    with pytest.raises(HypothesisError, match="give a dict"):
        scrub(parity(GOOD), DATA, baseline=BASELINE, keep_going=True)


def test_elsewhere_it_is_refused(tmp_path):
    with pytest.raises(HypothesisError, match="keep_going= is a setting of scrub and measure"):
        scrub_part(parity(GOOD), DATA, baseline=BASELINE, part=(0, 2), store=tmp_path / "a.db", keep_going=True)
