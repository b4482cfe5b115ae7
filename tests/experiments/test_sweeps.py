"""Sweeps: each member equals the experiment by itself, axes have names, and what is asked for is said in words."""

import numpy as np
import pytest
import torch

from scrubbing import DataError, Graph, Hypothesis, HypothesisError, at, donor, measure, reads, scrub, sweep

G = Graph(
    a0_h0=lambda x: x,
    a0_h1=lambda x: -x,
    a1_h0=lambda x, a0_h0: x * a0_h0,
    a1_h1=lambda a0_h1: 0 * a0_h1,
    loss=lambda a0_h0, a0_h1, a1_h0, a1_h1, y: (a0_h0 + 2 * a0_h1 + a1_h0 + a1_h1 - y).abs().sum(1),
)
DATA = {"x": torch.rand(40, 3, generator=torch.Generator().manual_seed(0)), "y": torch.ones(40, 1)}
AXES = {"layer": range(2), "head": [0, 1]}
FOUND = sweep(G, AXES, lambda layer, head: {f"a{layer}_h{head}": "zero"}, DATA)


def test_each_member_is_the_intervention_by_itself():
    for layer, head in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        alone = measure(G, {"it": {f"a{layer}_h{head}": "zero"}}, DATA)["it"]
        assert FOUND[layer, head].losses["scrubbed"].tolist() == alone.losses["scrubbed"].tolist()
        assert FOUND.frame.loc[layer, head]["loss"] == alone.scrubbed
    change = FOUND.frame["change"] - [alone_of(0, 0), alone_of(0, 1), alone_of(1, 0), alone_of(1, 1)]
    assert change.abs().max() < 1e-12


def alone_of(layer, head):
    score = FOUND[layer, head]
    return score.scrubbed - score.original


def test_what_changes_nothing_has_no_stars():
    nothing = FOUND.frame.loc[1, 1]
    assert (nothing["change"], nothing["p"]) == (0, 1)
    assert FOUND.frame.loc[0, 1]["p"] < 0.001
    assert "***" in str(FOUND)
    assert "corrected for 4 tests" in str(FOUND)


def test_p_values_are_corrected_for_the_number_of_members():
    alone = sweep(G, {"layer": [0], "head": [0]}, lambda layer, head: {"a0_h0": "zero"}, DATA)
    assert FOUND.frame.loc[0, 0]["p"] >= alone.frame.loc[0, 0]["p"]


def test_the_array_has_named_axes_and_gaps_where_members_were_left_out():
    pytest.importorskip("xarray")
    some = sweep(G, AXES, lambda layer, head: {f"a{layer}_h{head}": "zero"} if layer >= head else None, DATA)
    array = some.array()
    assert array.dims == ("layer", "head")
    assert np.isnan(array.sel(layer=0, head=1))
    assert float(array.sel(layer=1, head=0)) == some.frame.loc[1, 0]["change"]
    assert len(some.frame) == 3


def test_the_furthest_come_first():
    order = FOUND.top(3)["change"].abs().tolist()
    assert order == sorted(order, reverse=True)
    assert len(order) == 3


def test_hypotheses_are_swept_by_scrub():
    def one(node):
        return Hypothesis(G, Graph(loss=reads(node, "y"), **{node: reads("x")}))

    baseline = Graph(loss=reads("y"))
    found = sweep(G, {"node": ["a0_h0", "a0_h1"]}, one, DATA, baseline=baseline, seed=3)
    alone = scrub(one("a0_h1"), DATA, baseline=baseline, seed=3)
    assert found["a0_h1"].scrubbed == alone.scrubbed
    assert found.frame.index.name == "node"


def test_axes_may_be_positions_and_donors():
    def one(position, of):
        return {of: at([position], donor(range(39, -1, -1)))}

    found = sweep(G, {"position": range(3), "of": ["a0_h0"]}, one, DATA)
    assert len(found.scores) == 3
    assert all(score.references == 40 for score in found.scores.values())


@pytest.mark.parametrize(
    ("over", "one", "settings", "message"),
    [
        ({"layer": range(1000), "head": range(1000)}, lambda layer, head: {}, {}, "the sweep has 1,000,000 members"),
        ({"layer": []}, lambda layer: {}, {}, "the sweep has no members"),
        ({"layer": [0]}, lambda layer: None, {}, "the sweep has no members"),
        ({"n": [0, 1]}, lambda n: {} if n else Hypothesis(G, Graph(loss=reads("y"))), {}, "some members are"),
        ({"n": [0]}, lambda n: Hypothesis(G, Graph(loss=reads("y"))), {}, "a sweep of hypotheses needs a baseline="),
    ],
)
def test_mistakes_are_said_before_the_work(over, one, settings, message):
    with pytest.raises(HypothesisError, match=message):
        sweep(G, over, one, DATA, **settings)


def test_an_unknown_member_or_column_is_named():
    with pytest.raises(DataError, match="no member"):
        FOUND[7, 0]
    with pytest.raises(DataError, match="no column 'loses'; did you mean 'loss'"):
        FOUND.top(by="loses")
