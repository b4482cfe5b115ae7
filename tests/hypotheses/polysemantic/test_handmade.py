"""A head that does two things by destination: both are found, each beside its chance, and both are needed."""

import pytest
import torch

from hypotheses.polysemantic import handmade
from hypotheses.polysemantic.behaviours import BEHAVIOURS, INACTIVE, INDUCTION, PREVIOUS, Rule
from hypotheses.polysemantic.doing import hypotheses, in_parts, keeping
from hypotheses.polysemantic.measuring import ALL, destinations, measured
from hypotheses.polysemantic.override import around
from scrubbing import DataError, scrub
from scrubbing.lens import next_token_data

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture(scope="module")
def tokens():
    return torch.cat([handmade.rows(60, last, seed=1)[0] for last in (handmade.X, handmade.Y)])


@pytest.fixture(scope="module")
def found(tokens):
    kinds = handmade.kinds()
    groups = destinations({"x": handmade.X[0], "y": handmade.Y[0]}, kinds)
    return measured(handmade.build(), tokens, kinds, Rule(), groups)


def shares(found, destination):
    return {r["behaviour"]: r["share"] for r in found.counts.of_head(*handmade.HEAD) if r["destination"] == destination}


def test_the_head_does_another_thing_for_each_class_of_destination(found):
    x, y = shares(found, "x"), shares(found, "y")
    assert x[PREVIOUS] + x[INACTIVE] == 1  # after BEGIN, what is before is BEGIN
    assert x[PREVIOUS] > 0.8
    assert y[INDUCTION] > 0.2
    assert y[INDUCTION] + y[PREVIOUS] + y[INACTIVE] == pytest.approx(1)  # a follower may be one back, or there is none
    assert y[PREVIOUS] < 0.3


def test_it_leads_the_ranking_with_two_behaviours_beyond_chance(found, tokens):
    first, second, *rest = found.heads()
    assert (first["head"], first["behaviours"]) == ("1.0", 2)
    assert (second["head"], second["behaviours"]) == ("0.0", 1)
    assert [row["behaviours"] for row in rest] == [0, 0]
    for row in found.beside_chance(handmade.HEAD):
        assert row["excess"] == pytest.approx(row["share"] - row["chance"])
    rows = {(r["destination"], r["behaviour"]): r for r in found.beside_chance(handmade.HEAD)}
    assert rows[ALL, INDUCTION]["chance"] < 0.06 < rows[ALL, INDUCTION]["excess"]
    assert found.counts.rows[1, 0, 0].sum() == tokens[:, 1:].numel()


def test_both_behaviours_are_needed_and_nothing_else(tokens):
    """The loss of what the head predicts: all of it comes back with both, and with each its own part."""
    model, kinds, rule = handmade.build(), handmade.kinds(), Rule()
    rows, answers = zip(*(handmade.rows(60, last, seed=1) for last in (handmade.X, handmade.Y)), strict=True)
    whole = torch.cat([torch.cat(rows), torch.cat(answers)[:, None]], 1)
    whole = whole[torch.randperm(120, generator=torch.Generator().manual_seed(2))]  # rows beside each other differ
    data = next_token_data(whole, model=model)
    data["weights"] = torch.zeros(120, handmade.N_CTX, dtype=torch.float64)
    data["weights"][:, -1] = 1.0
    G = in_parts(around(model, handmade.HEAD), handmade.HEAD, kinds, rule)
    nothing = keeping(G, handmade.HEAD, [])
    scores = scrub(hypotheses(G, handmade.HEAD), data, baseline=nothing, unclaimed="zero")
    recovered = {name: score.recovered or 0.0 for name, score in scores.items()}
    assert recovered["all of these"] == pytest.approx(1)
    assert recovered["unknown"] == pytest.approx(0)
    assert recovered["bigger indentation"] == pytest.approx(0)
    assert recovered["previous"] + recovered["induction"] == pytest.approx(1)
    assert 0.4 < recovered["induction"] < 0.55
    assert {f"a1_h0_{name}" for name in ("rest", "previous", "induction")} <= set(G["logits"].inputs)


def test_parts_add_up_to_the_head(tokens):
    model = handmade.build()
    G = in_parts(around(model, handmade.HEAD), handmade.HEAD, handmade.kinds(), Rule())
    parts = [
        name for name in G if name.startswith("a1_h0_") and name.rpartition("_")[2] not in ("q", "k", "v", "pattern")
    ]
    assert len(parts) == len(BEHAVIOURS) + 1
    total = sum(G.activations({"tokens": tokens}, *parts))
    (whole,) = around(model, handmade.HEAD).activations({"tokens": tokens}, "a1_h0")
    torch.testing.assert_close(total, whole)


def test_no_rows_are_no_measurement():
    kinds = handmade.kinds()
    with pytest.raises(DataError, match="no rows"):
        measured(handmade.build(), torch.zeros(0, 5, dtype=torch.int64), kinds, Rule(), destinations({}, kinds))
