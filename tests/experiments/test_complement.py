"""The complement is all but what is claimed, and its losses depend on the network's where it still knows something."""

import pytest
import torch

from hypotheses.toy import CLAIMS, NETWORK
from scrubbing import DataError, Graph, Hypothesis, HypothesisError, circuit, complement, complement_controls, reads

# What a adds is known to both paths, and each path knows half of it.
G = Graph(
    a=lambda x: x,
    b=lambda x: 1 * x,
    c=lambda z: 1 * z,
    out=lambda a, b, c: a + b + c,
    loss=lambda out: out,
)
DATA = {
    "x": torch.randn(300, generator=torch.Generator().manual_seed(0)),
    "z": torch.randn(300, generator=torch.Generator().manual_seed(1)),
}
NOTHING = Graph(loss=reads())


def test_edges_that_are_claimed_are_left_open_and_forced_ones_stay():
    found = complement(circuit(G, "a c"))
    assert found.I["out"].inputs == ("b",)
    assert found.I["loss"].inputs == ("out",)
    assert complement(Hypothesis(NETWORK, CLAIMS["an or of thresholds"])).I["D"].inputs == ("C",)


def test_a_complement_that_knows_something_is_found_and_one_that_does_not_is_not():
    knows = complement_controls(circuit(G, "a c"), DATA, baseline=NOTHING, permutations=199)
    assert knows.p_value == 1 / 200  # b has the same x
    nothing = complement_controls(circuit(G, "a b"), DATA | {"z": torch.zeros(300)}, baseline=NOTHING, permutations=199)
    assert nothing.p_value > 0.05
    assert "are not independent of the network's" in " ".join(str(knows).split())
    assert "are not shown to depend on" in " ".join(str(nothing).split())


def test_labels_make_losses_depend_on_each_other_and_within_a_label_they_do_not():
    hard = Graph(G | {"loss": lambda out, label: out.abs() + 9 * label})
    data = DATA | {"z": torch.zeros(300), "label": torch.arange(300) % 2}
    settings = dict(baseline=Graph(loss=reads("label")), permutations=199)
    assert complement_controls(circuit(hard, "a b"), data, **settings).p_value == 1 / 200
    assert complement_controls(circuit(hard, "a b"), data, within="label", **settings).p_value > 0.05


def test_groups_are_one_observation_each():
    found = complement_controls(
        circuit(G, "a c"), DATA, baseline=NOTHING, permutations=99, groups=torch.arange(300) // 100
    )
    assert found.p_value > 0.3  # of three there are six orders


def test_a_group_has_one_value_to_compare_within():
    groups = torch.arange(300) // 3
    asked = dict(baseline=NOTHING, permutations=19, groups=groups)
    assert complement_controls(circuit(G, "a c"), DATA, within=(groups % 2).tolist(), **asked).p_value > 0
    with pytest.raises(DataError, match="the same value for all rows of a group"):
        complement_controls(circuit(G, "a c"), DATA, within=list(range(300)), **asked)


def test_what_has_no_complement_is_refused():
    with pytest.raises(HypothesisError, match=r"^the hypothesis claims every edge: nothing is left for a complement$"):
        complement(circuit(G, "a b c"))
    with pytest.raises(HypothesisError, match=r"^the hypothesis claims no edge that could be left out"):
        complement(Hypothesis(G, NOTHING))
    for within, message in (("q", "within='q': the data have no such column"), ([1, 2], "within must hold one value")):
        with pytest.raises(DataError, match=rf"^{message}"):
            complement_controls(circuit(G, "a"), DATA, baseline=NOTHING, within=within)
