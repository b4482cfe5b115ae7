"""Random controls keep the shape of a hypothesis and nothing else, and the percentile among them means what it says."""

import numpy as np
import pytest
import torch
from known_answers import BY_POSITION, CHAIN, CHAIN_CLAIMS, CHAIN_ROWS
from reference_transformer import random_transformer

from hypotheses.toy import CLAIMS as TOY_CLAIMS
from hypotheses.toy import KNOWS_NOTHING, NETWORK, digits
from scrubbing import (
    DataError,
    Graph,
    Hypothesis,
    HypothesisError,
    bins,
    circuit,
    per_position,
    random_circuit,
    random_controls,
    random_features,
    random_nodes,
    reads,
    scrub,
    with_row_numbers,
)
from scrubbing.experiments.controls import claims_of
from scrubbing.experiments.random_circuits import claimed_edges
from scrubbing.experiments.random_hypotheses import ROW, kinds
from scrubbing.lens import transformer

H = Hypothesis(CHAIN, CHAIN_CLAIMS)
OR = Hypothesis(NETWORK, TOY_CLAIMS["an or of thresholds"])


def values(h, data, name):
    return h.I.activations(with_row_numbers(data), name)[0]


# -- random features


def test_classes_keep_their_sizes_and_change_their_members():
    data = digits()
    control = random_features(OR, data, seed=3)
    for name in ("A", "B", "D"):
        before, after = (values(h, data, name).long() for h in (OR, control))
        assert sorted(torch.bincount(before).tolist()) == sorted(torch.bincount(after).tolist())
        assert (before != after).any()
    assert control.I["D"].inputs == ("A", "B", ROW)
    first = scrub(OR, data, baseline=KNOWS_NOTHING).vacuity
    second = scrub(control, with_row_numbers(data), baseline=KNOWS_NOTHING).vacuity
    assert [node.classes for node in first.nodes] == [node.classes for node in second.nodes]
    assert [node.singletons for node in first.nodes] == [node.singletons for node in second.nodes]


def test_a_seed_is_a_control_and_another_seed_another():
    data = digits()
    first, again, other = (values(random_features(OR, data, seed=s), data, "A") for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_features_are_shuffled_independently_of_each_other():
    control = random_features(OR, digits())
    a, b = (values(control, digits(), name).double() for name in "AB")
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(1000)


def test_bins_and_claims_per_position_are_dealt_out_as_they_were():
    h = Hypothesis(CHAIN, Graph(a=bins(lambda x: 1.0 * x, 2), loss=reads("a", "y")))
    control = random_features(h, CHAIN_ROWS)
    assert control.I["a"].binning is None
    assert torch.bincount(values(control, CHAIN_ROWS, "a")).tolist() in ([4, 2], [3, 3], [2, 4])
    tokens = {"tokens": torch.tensor([[0.0, 5.0], [1.0, 5.0], [1.0, 7.0]])}
    h = Hypothesis(BY_POSITION, Graph(h=per_position(reads("tokens")), loss=reads("h")))
    table = values(random_features(h, tokens), tokens, "h")
    assert sorted(map(tuple, table.tolist())) == [(0, 0), (1, 0), (1, 1)]
    scrub(random_features(h, tokens), with_row_numbers(tokens), baseline=Graph(loss=reads()))


def test_claims_of_inputs_alone_stay():
    control = random_features(Hypothesis(CHAIN, CHAIN_CLAIMS | {"a": reads("x")}), CHAIN_ROWS)
    assert control.I["a"] == reads("x")
    assert control.I["b"] != CHAIN_CLAIMS["b"]


def test_there_must_be_a_feature_and_room_for_the_row_numbers():
    h = Hypothesis(CHAIN, Graph(a=reads("x"), loss=reads("a", "y")))
    with pytest.raises(HypothesisError, match="this hypothesis claims no feature, only which inputs matter"):
        random_features(h, CHAIN_ROWS)
    with pytest.raises(DataError, match="the data have a column 'row_number' already"):
        random_controls(H, CHAIN_ROWS | {ROW: CHAIN_ROWS["x"]}, baseline=H)


# -- random nodes


def test_heads_of_one_layer_are_of_one_kind_and_groups_of_another():
    model = random_transformer()  # two layers of three heads
    assert [kind for kind in kinds(transformer(model)) if len(kind) > 1] == [
        ("a0_h0", "a0_h1", "a0_h2"),
        ("a1_h0", "a1_h1", "a1_h2"),
    ]
    assert [kind for kind in kinds(transformer(model, pair="a1_h0 a1_h1")) if len(kind) > 1] == [
        ("a0_h0", "a0_h1", "a0_h2")
    ]


def test_claims_move_to_other_heads_of_their_layer_and_each_as_often():
    G = transformer(random_transformer())
    embed = reads("tokens")
    I = Graph(
        embed=embed,
        a0_h0=reads("embed"),
        a1_h0=reads("a0_h0"),
        logits=reads("a1_h0"),
        loss=reads("logits", "labels", "weights"),
    )
    images = [random_nodes(Hypothesis(G, I), seed=s) for s in range(300)]
    moved = {(h.image("a0_h0"), h.image("a1_h0")) for h in images}
    assert moved == {(f"a0_h{i}", f"a1_h{j}") for i in range(3) for j in range(3)}
    share = np.mean([h.image("a0_h0") == "a0_h1" for h in images])
    assert abs(share - 1 / 3) < 4 * np.sqrt(2 / 9 / 300)
    assert all(h.image("embed") == "embed" for h in images)


def test_moved_claims_are_scored_where_they_moved():
    """With the claim on the other term of the sum, the other term is kept."""
    G = Graph(a=lambda x, y: 2 * x, b=lambda x, y: 3 * y, loss=lambda a, b: (a + b).abs())
    h = Hypothesis(G, Graph(a=reads("x", "y"), loss=reads("a")))
    data = {"x": torch.tensor([0, 1, 5]), "y": torch.tensor([2, 0, 1])}
    moved = next(m for m in (random_nodes(h, seed=s) for s in range(20)) if m.image("a") == "b")
    expected = scrub(Hypothesis(G, Graph(b=reads("x", "y"), loss=reads("b"))), data, baseline=h, exact=True)
    assert scrub(moved, data, baseline=h, exact=True).scrubbed == expected.scrubbed != h


def test_where_nothing_is_of_the_same_kind_nothing_moves():
    with pytest.raises(HypothesisError, match="no claim is about a node that has another of its kind"):
        random_nodes(H)


# -- the hypothesis among them


def test_a_true_hypothesis_beats_every_random_one():
    found = random_controls(OR, digits(), baseline=KNOWS_NOTHING, count=39)
    assert (found.as_good, found.percentile, found.p_value) == (0, 100, 1 / 40)
    assert found.percentile_interval[0] == pytest.approx(91, abs=0.1)  # Wilson: 39 of 39
    assert found.score == scrub({"the hypothesis": OR}, digits(), baseline=KNOWS_NOTHING)["the hypothesis"]
    table = found.losses
    assert len(table) == 40
    assert table["recovered"][0] > 0.99 > 0.3 > table["recovered"][1:].max()


def test_the_hypothesis_is_never_among_its_controls_nor_one_of_them_there_twice():
    found = random_controls(OR, digits(), baseline=KNOWS_NOTHING, controls="nodes", count=30)
    assert len(found.controls) == 5  # six arrangements of three nodes, less its own
    assert len({control.scrubbed for control in found.controls}) == 5
    assert (found.as_good, found.p_value) == (0, 1 / 6)
    assert "there are no more than these 5" in str(found)


def test_classes_dealt_out_as_they_were_are_no_control():
    """Of four rows in two classes of two there are two other partitions."""
    G = Graph(a=lambda x: x, loss=lambda a, y: (a - y).abs())
    h = Hypothesis(G, Graph(a=lambda x: x // 2, loss=reads("a", "y")))
    data = {"x": torch.arange(4), "y": torch.arange(4)}
    found = random_controls(h, data, baseline=Graph(loss=reads("y")), exact=True, count=50)
    assert len(found.controls) == 2


def test_claims_that_are_the_same_under_other_names_are_one_hypothesis():
    swapped = Hypothesis(NETWORK, Graph(B=reads("z1"), A=reads("z2"), D=reads("A", "B"), loss=reads("D", "y")),
                         {"A": "B", "B": "A"})  # fmt: skip
    plain = Hypothesis(NETWORK, Graph(A=reads("z1"), B=reads("z2"), D=reads("B", "A"), loss=reads("D", "y")))
    assert claims_of(swapped) == claims_of(plain) != claims_of(OR)


def test_circuits_of_its_size_are_the_harder_null():
    found = random_controls(OR, digits(), baseline=KNOWS_NOTHING, controls="circuits", count=30)
    kept = {frozenset(set("ABC") & set(random_circuit(OR, seed=seed).I["D"].inputs)) for seed in range(30)}
    assert kept == {frozenset("AB"), frozenset("AC"), frozenset("BC")}
    assert len(found.controls) == 3
    assert found.reach_baseline == 1
    features = random_controls(OR, digits(), baseline=KNOWS_NOTHING, count=19)
    assert max(found.losses["recovered"][1:]) > 0.99 > 0.3 > max(features.losses["recovered"][1:])
    assert f"{round(19 * features.reach_baseline)} of 19 reach the baseline's level" in str(features)


def test_a_circuit_is_no_larger_than_the_hypothesis_and_all_of_it_is_read():
    G = transformer(random_transformer())
    h = circuit(G, "embed a0_h0 a1_h1 a1_h2")
    size = len(claimed_edges(h))
    sizes = [len(claimed_edges(random_circuit(h, seed=seed))) for seed in range(20)]
    assert size - 3 <= min(sizes) <= max(sizes) <= size
    small = Hypothesis(G, Graph(loss=reads("labels", "weights")))
    with pytest.raises(HypothesisError, match=r"^the hypothesis claims 0 edges between nodes"):
        random_circuit(small)


def test_controls_may_be_given_or_made():
    worse = Hypothesis(NETWORK, TOY_CLAIMS["the first digit alone"])
    given = random_controls(OR, digits(), baseline=KNOWS_NOTHING, controls=[worse, OR, worse])
    assert (given.as_good, len(given.controls), given.p_value) == (0, 1, 1 / 2)
    seeds = []
    made = random_controls(OR, digits(), baseline=KNOWS_NOTHING, count=3, controls=lambda s: seeds.append(s) or worse)
    assert len(set(seeds)) == len(seeds) > 3
    assert (made.as_good, len(made.controls)) == (0, 1)
    with pytest.raises(HypothesisError, match=r"^every control is the hypothesis itself"):
        random_controls(OR, digits(), baseline=KNOWS_NOTHING, controls=[OR])


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_the_p_value_of_a_random_hypothesis_is_uniform():
    """The hypothesis is itself drawn as its controls are: p <= k/5 with probability k/5."""
    rng = np.random.default_rng(0)
    data = with_row_numbers({"x": torch.from_numpy(rng.normal(size=12)), "y": torch.from_numpy(rng.normal(size=12))})
    G = Graph(a=lambda x: 1 * x, loss=lambda a, y: (a - y) ** 2)
    h = Hypothesis(G, Graph(a=lambda x: x > 0, loss=reads("a", "y")))
    p = []
    for seed in range(40):
        some = [random_features(h, data, seed=1000 * seed + i) for i in range(5)]
        found = random_controls(
            some[0], data, baseline=Graph(loss=reads("y")), controls=some[1:], seed=seed, check=False
        )
        p.append(found.p_value)
    for k in (1, 2, 3, 4):
        assert abs(np.mean(np.array(p) <= k / 5 + 1e-9) - k / 5) <= 4 * np.sqrt(k / 5 * (1 - k / 5) / 40)


def test_it_prints_as_a_table_of_80_columns():
    text = str(random_controls(OR, digits(), baseline=KNOWS_NOTHING, count=19))
    assert max(map(len, text.splitlines())) <= 80
    assert text.splitlines()[0] == "the hypothesis among 19 of the same shape with random features"
    assert "0 of 19 controls recover as much: percentile 100.0 [83.2, 100.0], p = 0.05" in text


def test_mistakes_are_named():
    with pytest.raises(HypothesisError, match='controls=\'feature\' is none of "features", "nodes" and "circuits"'):
        random_controls(OR, digits(), baseline=KNOWS_NOTHING, controls="feature")
    with pytest.raises(DataError, match="count=0, but at least one count is needed"):
        random_controls(OR, digits(), baseline=KNOWS_NOTHING, count=0)
    with pytest.raises(DataError, match="there are no controls"):
        random_controls(OR, digits(), baseline=KNOWS_NOTHING, controls=[])
