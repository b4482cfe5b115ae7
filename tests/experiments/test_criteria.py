"""Faithfulness, completeness and minimality against plain forward hooks, and where the answer is known."""

import numpy as np
import pytest
import torch
from hooked_passes import HookedModel, losses
from hugging_face_models import VOCABULARY, hugging_face_model

from scrubbing import DataError, Graph, GraphError, HypothesisError, Node, criteria, mean
from scrubbing.experiments.knockouts import EVERYTHING, NOTHING, Kept
from scrubbing.experiments.places import Place
from scrubbing.lens import load_transformer, next_token_data, transformer
from scrubbing.score.statistics import Column, Design, interval_of_mean

ROWS = torch.randint(0, VOCABULARY, (6, 7), generator=torch.Generator().manual_seed(3))
PLACES = ["a0_h1@end", "a1_h2", "a1_h3@second", "a1_h3@end"]


def case():
    model = hugging_face_model("gpt2")
    loaded = load_transformer(model, check=False)
    data = dict(next_token_data(ROWS, model=loaded))
    data |= {"end": torch.tensor([5, 3, 4, 5, 2, 5]), "second": torch.tensor([1, 0, 1, 1, 0, 0])}
    data |= {"group": torch.tensor([0, 1, 0, 1, 0, 1]), "over": torch.tensor([0, 0, 1, 1, 1, 1])}
    return HookedModel(model, "gpt2"), transformer(loaded), data


def by_hooks(hooked, data, kept):
    """The losses where every head has its mean by group, over some rows, but where `kept(layer, head, mask)` says."""
    z, _ = hooked.record(data["tokens"])
    edits = {}
    for layer, clean in z.items():
        mixed = clean.clone()
        for head in range(4):
            at = hooked.of_head(clean, head)
            over = [[r for r in range(6) if data["over"][r] and data["group"][r] == g] for g in data["group"]]
            means = torch.stack([clean[some][..., at].mean(0) for some in over])
            mixed[..., at] = clean[..., at].where(kept(layer, head)[..., None], means)
        edits[hooked.writer(layer)] = lambda own, layer=layer, mixed=mixed: _mixed(hooked, own, mixed, layer, kept)
    return losses(hooked.run(data["tokens"], edits), data).numpy()


def _mixed(hooked, own, mixed, layer, kept):
    """What is kept is computed again; what is knocked out has the mean of the plain run."""
    found = mixed.clone()
    for head in range(4):
        at = hooked.of_head(own, head)
        found[..., at] = own[..., at].where(kept(layer, head)[..., None], mixed[..., at])
    return found


def test_f_is_what_hooks_make_of_knocked_out_heads():
    hooked, G, data = case()
    found = criteria(G, PLACES, data, among="a*_h*", instead=mean(by="group", over="over"), random=2, check=False)

    def mask(role):
        return torch.arange(6) == data[role][:, None]

    def circuit(layer, head):
        none, all_ = torch.zeros(6, 6).bool(), torch.ones(6, 6).bool()
        if (layer, head) == (1, 3):
            return mask("end") | mask("second")
        return {(0, 1): mask("end"), (1, 2): all_}.get((layer, head), none)

    expected = {
        "whole": by_hooks(hooked, data, lambda *_: torch.ones(6, 6).bool()),
        "circuit": by_hooks(hooked, data, circuit),
        "nothing": by_hooks(hooked, data, lambda *_: torch.zeros(6, 6).bool()),
        "without": by_hooks(hooked, data, lambda *head: ~circuit(*head)),
    }
    sets = {
        "whole": EVERYTHING,
        "circuit": Kept(frozenset(found.circuit)),
        "nothing": NOTHING,
        "without": EVERYTHING.without(found.circuit),
    }
    for name, kept in sets.items():
        np.testing.assert_allclose(found.F(kept), expected[name], rtol=0, atol=1e-4)
    assert len({round(float(values.mean()), 3) for values in expected.values()}) == 4
    faithful = found.faithfulness[0]
    paired = expected["whole"] - expected["circuit"]
    assert faithful.value == pytest.approx(abs(paired.mean()), abs=1e-5)
    bounds = interval_of_mean(Column(np.sign(paired.mean()) * paired), design=Design(np.arange(6), np.arange(6)))
    assert faithful.high == pytest.approx(bounds[1], abs=1e-5)
    assert len(found.completeness) == 2 ** len(PLACES) - 1  # all sets of a small circuit
    for row in found.completeness[:3]:
        C = Kept(frozenset(found.circuit))
        gap = found.F(C.without(row.removed)) - found.F(EVERYTHING.without(row.removed))
        assert row.value == pytest.approx(abs(gap.mean()))
    assert [row.place for row in found.minimality] == list(found.circuit)
    assert str(found.circuit[0]) == "a0_h1@end"
    assert "faithfulness" in str(found)
    assert found.frame["share"][4:].notna().all()


def sums(parts):
    """A network whose output is the sum of its parts, each counted by its number."""
    nodes = {f"a{i}": lambda_of(i) for i in range(parts)}
    return Graph({**nodes, "out": Node(lambda *terms: sum(terms), tuple(nodes))})


def lambda_of(i):
    return lambda x: (i + 1.0) * x


def test_of_a_sum_all_criteria_are_known():
    G, data = sums(8), {"x": torch.tensor([1.0, 1.0, 2.0])}
    names = [f"a{i}" for i in range(6)]
    found = criteria(G, names, data, among="a*", instead="zero", classes={"few": "a4 a1", "one": "a0"}, random=3)
    per, whole = 4 / 3, 36
    assert [row.value for row in found.performance[:3]] == pytest.approx([whole * per, 21 * per, 0])
    assert found.faithfulness[0].value == pytest.approx(15 * per)
    assert {row.name for row in found.completeness} >= {"without few", "without one", "without random set 1"}
    assert all(row.value == pytest.approx(15 * per) for row in found.completeness)  # what is missing stays missing
    assert [row.value for row in found.minimality] == pytest.approx([(i + 1) * per for i in range(6)])
    drawn = [row for row in found.performance if "random" in row.name]
    assert len(drawn) == 1
    again = criteria(G, names, data, among="a*", instead="zero", random=3).performance[-1]
    assert (
        again.value
        == drawn[0].value
        != criteria(G, names, data, among="a*", instead="zero", random=3, seed=1).performance[-1].value
    )


def test_the_greedy_set_is_where_the_circuit_is_least_complete():
    def backup(a3, x):
        return 4 * x * (a3 == 0)  # does the work of a3 where that is gone

    nodes = dict(sums(6).items())
    nodes["backup"] = backup
    G = Graph(nodes | {"out": Node(lambda *terms: sum(terms), tuple(name for name in nodes if name != "out"))})
    circuit = [f"a{i}" for i in range(6)]
    found = criteria(G, circuit, {"x": torch.ones(3)}, among="a? backup", instead="zero", random=0, greedy=(3, 6))
    (greedy,) = found.completeness
    assert greedy.removed == (Place("a3"),)
    assert greedy.value == 4
    assert found.faithfulness[0].value == 0


def test_rows_of_one_group_are_one_observation():
    G, data = sums(2), {"x": torch.arange(6.0), "file": torch.tensor([0, 0, 1, 1, 2, 2])}
    alone, grouped = (
        criteria(G, "a0", data, among="a*", instead="zero", random=0, **more).faithfulness[0]
        for more in ({}, {"groups": "file"})
    )
    assert grouped.value == alone.value
    assert grouped.high - grouped.low > alone.high - alone.low


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"circuit": "a9"}, GraphError, "there is no node 'a9'"),
        ({"circuit": ""}, HypothesisError, "the circuit names no node"),
        ({"circuit": "out"}, HypothesisError, "'out' of the circuit is not among the nodes that are knocked out"),
        ({"circuit": "a0 a0@end"}, HypothesisError, "the circuit has 'a0' everywhere, and 'a0@end' beside it"),
        ({"classes": {"few": "a1"}}, GraphError, "'a1' of the class 'few' is not in the circuit"),
        (
            {"circuit": "a0@"},
            GraphError,
            "'a0@' names no role; write a column of positions after the @, such as a0@END",
        ),
        ({"instead": "zeros"}, GraphError, "instead='zeros', but it must be donor(rows), mean(by=column"),
        ({"instead": mean(by="file")}, DataError, "the data have no column 'file'"),
        ({"engine": "ray"}, HypothesisError, "engine= is no setting of criteria"),
        ({"donors": {}}, HypothesisError, "donors= is no setting of criteria"),
    ],
)
def test_mistakes_are_named(arguments, error, message):
    given = {"circuit": "a0", "among": "a*", "instead": "zero"} | arguments
    with pytest.raises(error) as mistake:
        criteria(sums(2), given.pop("circuit"), {"x": torch.ones(3)}, **given)
    assert message in str(mistake.value)
