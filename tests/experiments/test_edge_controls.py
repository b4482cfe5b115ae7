"""An edge is needed if leaving it out adds more loss than leaving out a random edge that nobody claims."""

import pytest
import torch

from scrubbing import Graph, Hypothesis, HypothesisError, circuit, edge_controls, reads

pytestmark = pytest.mark.usefixtures("unchecked")  # several dozen hypotheses are planned for each

# Of four terms one carries nearly all; the others are alike.
G = Graph(
    a=lambda x: 5 * x,
    b=lambda z: 0.1 * z,
    c=lambda z: 0.1 * z,
    d=lambda z: -0.1 * z,
    out=lambda a, b, c, d: a + b + c + d,
    loss=lambda out, y: (out - y).abs(),
)
X = torch.arange(60.0) % 5
DATA = {"x": X, "z": torch.arange(60.0) % 4, "y": 5 * X}
NOTHING = Graph(loss=reads("y"))


def test_a_needed_edge_is_told_from_one_that_is_not():
    found = edge_controls(circuit(G, "a b"), DATA, baseline=NOTHING, count=39)
    assert found.p["out", "a"] == 1 / 40
    assert found.not_needed == (("out", "b"),)
    assert found.added["out", "a"] > 5
    assert found.interval["out", "a"][0] > 1
    assert len(found.random) == 39
    assert set(found.table["reads"]) == {"a", "b"}
    assert "1 of 2 edges are not shown to be needed more than a random one" in str(found)


def test_random_edges_are_never_those_of_the_hypothesis():
    """All but one edge are claimed: the null is that edge, whose effect is known to be small."""
    found = edge_controls(circuit(G, "a b c"), DATA, baseline=NOTHING, count=20)
    assert max(map(abs, found.random)) < 0.5 < found.added["out", "a"]


def test_names_that_differ_from_the_network_s_stay():
    h = Hypothesis(G, Graph(first=reads("x"), loss=reads("y", "out"), out=reads("first")), {"first": "a"})
    found = edge_controls(h, DATA, baseline=NOTHING, count=20)
    assert list(found.added) == [("out", "a")]
    assert found.p["out", "a"] == 1 / 21


def test_what_has_no_edge_to_spare_is_refused():
    with pytest.raises(HypothesisError, match=r"^no edge of this hypothesis can be left out"):
        edge_controls(Hypothesis(G, NOTHING), DATA, baseline=NOTHING)
    with pytest.raises(HypothesisError, match=r"^no path of the network could be claimed beside this hypothesis"):
        edge_controls(circuit(G, "a b c d"), DATA, baseline=NOTHING, count=2)
