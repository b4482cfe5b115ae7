"""Single swaps: a recorded donor alone, and all but it, against the network worked out one datum at a time."""

import numpy as np
import pytest
import torch
from known_answers import CHAIN, CHAIN_CLAIMS, CHAIN_ROWS, chain_loss

from hypotheses.toy import CLAIMS as TOY_CLAIMS
from hypotheses.toy import KNOWS_NOTHING, NETWORK, digits
from scrubbing import DataError, Graph, Hypothesis, HypothesisError, mean, per_position, reads, scrub, single_swaps
from scrubbing.graph import Node

H = Hypothesis(CHAIN, CHAIN_CLAIMS)
POLICIES = [
    {},
    {"others": "reference"},
    {"others": "input"},
    {"others": torch.tensor([3, 0, 5, 1, 2, 4])},
    {"exclude_self": True},
]


def scored(h=H, data=CHAIN_ROWS, **settings):
    return scrub(h, data, baseline=h, **settings)


@pytest.mark.parametrize("reference", range(6))
def test_each_donor_alone_and_all_but_it(reference):
    score = scored(seed=reference)
    found = single_swaps(H, CHAIN_ROWS, score, reference=reference)
    recorded = {path: int(rows[reference]) for path, rows in score.donors.items()}
    assert found.donors == recorded
    assert found.original == chain_loss({}, reference)
    assert found.scrubbed == chain_loss(recorded, reference) == score.by_reference.scrubbed[reference]
    for path, row in recorded.items():
        rest = {other: rows for other, rows in recorded.items() if other != path}
        assert found.only[path] == chain_loss({path: row}, reference)
        assert found.without[path] == chain_loss(rest, reference)


@pytest.mark.parametrize("settings", POLICIES, ids=str)
def test_all_donors_give_the_scrubbed_loss_and_none_the_networks(settings):
    score = scored(**settings, references=[4, 4, 0, 2], draws=1)
    losses = score.by_reference
    for place in (0, 2, 3):
        found = single_swaps(H, CHAIN_ROWS, score, reference=losses.reference[place])
        assert found.original == losses.original[place]
        assert found.scrubbed == losses.scrubbed[place]


def test_nodes_that_share_their_donor_have_it_recorded_at_both():
    h = Hypothesis(NETWORK, TOY_CLAIMS["a threshold too high"])
    score = scrub(h, digits(), baseline=KNOWS_NOTHING, together=[["A", "B"]])
    found = single_swaps(h, digits(), score)
    assert found.donors["loss/D/A"] == found.donors["loss/D/B"]
    assert found.scrubbed == score.by_reference.scrubbed[found.reference]


def test_one_donor_for_the_whole_hypothesis_is_put_in_for_one_node_at_a_time():
    score = scored(others="reference")
    found = single_swaps(H, CHAIN_ROWS, score, reference=3)
    u = int(score.donors["other"][3])
    assert {path: row for path, row in found.donors.items() if path.endswith("other")} == {"a/other": u, "b/other": u}
    assert found.only["b/other"] == chain_loss({"loss/b/other": u}, 3)
    assert found.only["a/other"] == chain_loss({"loss/b/a/other": u, "loss/a/other": u}, 3)


@pytest.mark.parametrize("draw", range(3))
def test_repetitions_of_a_reference_have_donors_of_their_own(draw):
    score = scored(draws=3)
    found = single_swaps(H, CHAIN_ROWS, score, reference=2, draw=draw)
    assert found.donors["loss/b"] == score.donors["loss/b"][2 * 3 + draw]
    assert found.scrubbed == chain_loss({path: int(rows[2 * 3 + draw]) for path, rows in score.donors.items()}, 2)


def test_donors_by_position_are_one_swap():
    G = Graph(h=Node(lambda tokens: 1 * tokens, ("tokens",), position_axis=1), loss=lambda h: (h[:, 0] - h[:, 1]) ** 2)
    data = {"tokens": torch.tensor([[0.0, 0.0], [1.0, 1.0], [3.0, 3.0]])}
    h = Hypothesis(G, Graph(h=per_position(lambda tokens: 0 * tokens), loss=reads("h")))
    score = scored(h, data, seed=1)
    found = single_swaps(h, data, score)
    assert found.donors["loss/h"] == tuple(score.donors["loss/h"][found.reference].tolist())
    assert found.only["loss/h"] == found.scrubbed == max(score.by_reference.scrubbed)
    assert "2 rows, by position" in str(found)


def test_the_reference_is_the_one_whose_loss_rose_most():
    data = digits()
    h = Hypothesis(NETWORK, TOY_CLAIMS["a threshold too high"])
    score = scrub(h, data, baseline=KNOWS_NOTHING)
    rise = np.subtract(score.by_reference.scrubbed, score.by_reference.original)
    found = single_swaps(h, data, score)
    assert found.reference == int(rise.argmax())
    table = found.damage
    assert table["only"].is_monotonic_decreasing
    assert table["adds_alone"].max() > 0.5
    assert (table["adds_alone"] == table["only"] - found.original).all()
    assert (table["adds_last"] == found.scrubbed - table["without"]).all()


def test_it_prints_as_a_table_of_80_columns():
    lines = str(single_swaps(H, CHAIN_ROWS, scored(), reference=3)).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "row 3: its loss by the donors that stood in"
    assert [line.split("│")[1].strip() for line in lines if "│" in line][-2:] == ["none of them", "all of them"]


@pytest.mark.parametrize("unclaimed", ["mean", "zero"])
def test_what_stands_in_for_unclaimed_values_is_taken_from_the_score(unclaimed):
    floats = {name: column.double() for name, column in CHAIN_ROWS.items()}
    score = scored(data=floats, unclaimed=unclaimed)
    single_swaps(H, floats, score, reference=3)


# -- mistakes


def test_an_exact_score_has_no_donors():
    with pytest.raises(DataError, match=r"this score has no recorded donors .*without exact=True"):
        single_swaps(H, CHAIN_ROWS, scored(exact=True))


def test_made_donors_are_not_among_the_rows():
    score = scored(donors={"b": lambda datums, rng: {"z": 0 * datums["z"]}})
    with pytest.raises(DataError, match="the donor at 'loss/b' was made for the score"):
        single_swaps(H, CHAIN_ROWS, score)


def test_another_reference_data_or_hypothesis_are_noticed():
    score = scored(references=[0, 1])
    with pytest.raises(DataError, match="row 5 is not among the 2 references"):
        single_swaps(H, CHAIN_ROWS, score, reference=5)
    with pytest.raises(DataError, match=r"the own loss of row 0 is .* here and .* in the score: give the hypothesis"):
        single_swaps(H, CHAIN_ROWS | {"y": CHAIN_ROWS["y"] + 100}, score, reference=0)
    fewer = Hypothesis(CHAIN, Graph(a=lambda x: x % 2, loss=reads("a", "y")))
    with pytest.raises(DataError, match="no donor at 'loss/other': it is not a score of this hypothesis"):
        single_swaps(fewer, CHAIN_ROWS, score, reference=0)


def test_what_settings_cannot_say_is_asked_for():
    floats = {name: column.double() for name, column in CHAIN_ROWS.items()}
    score = scored(data=floats, unclaimed=mean(by="x"))
    with pytest.raises(HypothesisError, match=r"the score was made with unclaimed=mean\(by='x'\); give it"):
        single_swaps(H, floats, score)
    found = single_swaps(H, floats, score, unclaimed=mean(by="x"))
    assert found.scrubbed == score.by_reference.scrubbed[found.reference]


def test_nothing_scrubbed_has_no_donors():
    h = Hypothesis(CHAIN, Graph(a=reads("x", "z"), b=reads("a", "z"), loss=reads("a", "b", "y")))
    score = scored(h)
    with pytest.raises(HypothesisError, match="this hypothesis scrubs nothing"):
        single_swaps(h, CHAIN_ROWS, score)
