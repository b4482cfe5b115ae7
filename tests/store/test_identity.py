"""A run is computed anew wherever anything differs."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from recorded import DATA, OR, XOR, score

from hypotheses.toy import CLAIMS, NETWORK
from scrubbing import Graph, Hypothesis, ScrubbingWarning, mean, reads

threshold = 3


@dataclass(frozen=True)
class Above:
    """A feature whose method uses a global."""

    def __call__(self, z1):
        return z1 > threshold


def above(limit):
    return Hypothesis(NETWORK, CLAIMS["an or of thresholds"] | {"A": lambda z1: z1 > limit})


OTHERWISE = {
    "another seed": dict(seed=1),
    "another number of draws": dict(draws=2),
    "other references": dict(references=[1, 2, 3]),
    "drawn references": dict(references=5),
    "another donor for all": dict(others="reference"),
    "a fixed pairing": dict(others=np.arange(100)[::-1].copy()),
    "another pairing": dict(others=np.roll(np.arange(100), 1)),
    "fixed donors": dict(donors={"A": np.arange(100)}),
    "other fixed donors": dict(donors={"A": np.zeros(100, dtype=int)}),
    "no own datum": dict(exclude_self=True),
    "means": dict(unclaimed="mean"),
    "means by group": dict(unclaimed=mean(by="z1")),
    "a function": dict(unclaimed=lambda value: value * 0),
    "another function": dict(unclaimed=lambda value: value * 1),
    "shared donors": dict(together=[["A", "B"]]),
    "exact": dict(exact=True),
    "other data": dict(data={**DATA, "z3": DATA["z3"] + 1}),
    "another baseline": dict(baseline=Graph(loss=reads("D", "y"), D=reads())),
}


def test_whatever_differs_is_computed(store):
    recorded = {"as it is": score(OR, store=store)}
    for name, settings in OTHERWISE.items():
        recorded[name] = score(OR, store=store, **settings)
    assert [name for name, s in recorded.items() if s.recalled] == []
    for name, settings in OTHERWISE.items():
        again = score(OR, store=store, **settings)
        assert again.recalled, name
        assert again == recorded[name]


def test_another_hypothesis_or_network_is_computed(store):
    louder = Hypothesis(NETWORK | {"D": lambda A, B, C: A + B - A * B + 0 * C + 0.1}, CLAIMS["an or of thresholds"])
    for h in (OR, XOR, above(3), above(4), louder):
        assert score(h, store=store).recalled is None
    assert score(above(4), store=store).recalled
    assert len({e.hypothesis for e in store.history()}) == 5
    assert len({e.model for e in store.history()}) == 2


def test_a_value_that_a_method_uses_is_told_apart(store, monkeypatch):
    h = Hypothesis(NETWORK, CLAIMS["an or of thresholds"] | {"A": Above()})
    high = score(h, store=store)
    monkeypatch.setattr(f"{__name__}.threshold", 5)
    low = score(h, store=store)
    assert low.recalled is None
    assert low.scrubbed != high.scrubbed


def test_another_number_of_threads_may_round_otherwise(store):
    score(OR, store=store)
    torch.set_num_threads(2)
    try:
        assert score(OR, store=store).recalled is None
    finally:
        torch.set_num_threads(1)


def test_what_changes_no_bit_changes_nothing(store):
    score(OR, store=store)
    assert score(OR, store=store, progress=lambda done, total: None, check=False, cap=50).recalled


def test_what_cannot_be_hashed_is_recorded_and_never_answered(store):
    numbers = (n for n in range(3))  # a generator: nobody can say what it holds
    h = Hypothesis(NETWORK, CLAIMS["an or of thresholds"] | {"A": lambda z1: (z1 > 3) if numbers else z1})
    for _ in range(2):
        with pytest.warns(
            ScrubbingWarning, match=r"cannot be resumed or answered .* the content of builtins.generator"
        ):
            assert score(h, store=store).recalled is None
    score(h, store=replace(store, reuse=False))
    assert len(store.history()) == 3
