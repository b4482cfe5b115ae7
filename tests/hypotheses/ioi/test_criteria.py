"""Faithfulness, completeness and minimality of the circuit, on networks whose answer is known and by hand."""

import numpy as np
import pytest
import torch
from ioi_cases import KINDS, WORDS, backup_pair, doubled, instead, random_network, rows

from hypotheses.heads import all_heads
from hypotheses.ioi.criteria import in_roles, judged, named, points, table
from hypotheses.ioi.data import ROLES, stacked
from hypotheses.ioi.network import of_logit_difference, template_means
from hypotheses.ioi.prompts import ABC
from hypotheses.ioi.roles import Roles
from scrubbing.experiments.knockouts import EVERYTHING, NOTHING, Kept
from scrubbing.experiments.places import Place
from scrubbing.lens import transformer

pytestmark = pytest.mark.usefixtures("unchecked")

PAIR = [(0, 0), (1, 0), (1, 1)]


def pair(**heads):
    """The circuits of the known backup pair: knocked out heads write nothing, as they do for three names."""
    data = doubled(stacked([rows(6), rows(6)])) | {"informed": torch.arange(12) < 6}
    roles = Roles(**heads)
    return judged(backup_pair(), PAIR, data, 6, roles), roles


def by_name(rows_):
    return {row["nodes"]: row["value"] for row in rows_}


def test_a_circuit_without_the_backup_is_faithful_and_not_complete():
    found, roles = pair(name_mover=((0, 0),))
    rows_ = table(found, roles)
    assert by_name(rows_[:3]) == {"the whole network": 1.0, "full circuit": 1.0, "none": 0.0}
    assert next(row["value"] for row in rows_ if row["criterion"] == "faithfulness") == 0.0
    without = [row for row in rows_ if row["criterion"] == "completeness (full)"]
    assert by_name(without)["without name mover: 0.0 at END"] == 1.0  # the backup takes over in the network alone


def test_a_circuit_with_the_backup_is_complete_and_minimality_shows_by_the_right_set_alone():
    found, roles = pair(name_mover=((0, 0),), backup=((1, 0), (1, 1)))
    rows_ = table(found, roles)
    assert {row["value"] for row in rows_ if row["criterion"] == "completeness (full)"} == {0.0}
    needed = by_name(row for row in rows_ if row["criterion"] == "minimality (full)")
    assert needed == {
        "name mover 0.0 at END, 1.0 at END gone": 1.0,
        "backup 1.0 at END, 0.0 at END gone": 1.0,
        "backup 1.1 at END": 0.0,  # a dead head
    }
    # The naive circuit has the name mover alone.
    assert {row["circuit"] for row in points(found)} == {"naive", "full"}


def study(kind, *, union=False, **heads):
    model = random_network(**KINDS[kind])
    of = rows(16)
    abc = of.flipped(ABC, WORDS, 0)
    own, heads_ = transformer(model), all_heads(model.config)
    roles = Roles(**(heads or {"name_mover": ((2, 0),), "duplicate": ((1, 0),)}))
    data = doubled(stacked([of, abc]))
    found = judged(of_logit_difference(own), heads_, data, 16, roles, union=union, seed=0)
    columns, donors = doubled(of.columns), doubled(abc.columns)
    means = template_means(own, donors, heads_, template=donors["template"])
    return found["full"], means, own, columns


@pytest.mark.parametrize("kind", KINDS)
def test_keeping_all_is_the_network_and_keeping_none_is_its_means(kind):
    found, means, own, columns = study(kind)
    G = of_logit_difference(own)
    np.testing.assert_allclose(found.F(EVERYTHING), G(columns), rtol=0, atol=1e-9)
    # By hand: heads write their means, MLPs are computed again.
    averaged = {name: instead(table_[columns["template"]]) for name, table_ in means.items()}
    np.testing.assert_allclose(found.F(NOTHING), (G | averaged)(columns), rtol=0, atol=1e-9)
    assert abs(found.F(NOTHING) - found.F(EVERYTHING)).max() > 1e-3


@pytest.mark.parametrize("kept", [False, True])
def test_one_place_by_hand(kept):
    found, means, own, columns = study("sequential")
    row = torch.arange(16)
    averaged = {name: table_[columns["template"]] for name, table_ in means.items()}
    gone = {name: instead(value) for name, value in averaged.items() if kept and name[:2] == "a0"}
    (clean,) = (own | gone).activations(columns, "a1_h0")  # what is kept is computed again
    for role in ROLES:
        mine = (averaged["a1_h0"] if kept else clean).clone()
        mine[row, columns[role]] = (clean if kept else averaged["a1_h0"])[row, columns[role]]
        others = {name: instead(value) for name, value in averaged.items() if kept}
        expected = (of_logit_difference(own) | others | {"a1_h0": instead(mine)})(columns)
        places = frozenset([Place("a1_h0", role)])
        np.testing.assert_allclose(found.F(Kept(places, others=not kept)), expected, rtol=0, atol=1e-9)


def test_the_union_of_positions_keeps_more():
    right, theirs = study("sequential")[0], study("sequential", union=True)[0]
    gone, theirs_gone = (EVERYTHING.without([Place("a1_h0", role)]) for role in ("S2", "any_S2"))
    assert not np.allclose(right.F(gone), theirs.F(theirs_gone))
    np.testing.assert_allclose(right.F(EVERYTHING), theirs.F(EVERYTHING))


def test_the_table_has_every_criterion_for_both_circuits():
    heads = {"name_mover": ((2, 0),), "backup": ((2, 1),), "s_inhibition": ((1, 0),), "duplicate": ((0, 0),)}
    model, of = random_network(), rows(4)
    data = doubled(stacked([of, of.flipped(ABC, WORDS, 0)]))
    roles = Roles(**heads)
    judged_ = judged(of_logit_difference(transformer(model)), all_heads(model.config), data, 4, roles, random=2)
    found = table(judged_, roles)
    assert all(row.keys() == {"criterion", "nodes", "value", "low", "high"} for row in found)
    assert {row["criterion"] for row in found} == {
        "F",
        "faithfulness",
        *(f"{name} ({which})" for name in ("completeness", "minimality") for which in ("naive", "full")),
    }
    by = {(row["criterion"], row["nodes"]): row["value"] for row in found}
    full = by["F", "the whole network"] - by["F", "full circuit"]
    assert by["faithfulness", "full circuit"] == pytest.approx(abs(full))
    whole = [row["network_without"] for row in points(judged_) if row["without"] == "nothing"]
    assert whole == pytest.approx([by["F", "the whole network"]] * 2)


def test_places_in_words():
    places = [Place("a2_h0", "END"), Place("a0_h0", "S2"), Place("a1_h1", "END")]
    assert named(places) == "0.0 at S2; 1.1 2.0 at END"
    assert named([Place("a0_h0", "any_S2")]) == "0.0 at S2"
    assert in_roles([((2, 0), "END")]) == ["a2_h0@END"]
