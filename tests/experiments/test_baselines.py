"""The baseline ladder: exact expectations over all pairs, and percentages that are those of `scrub`."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from known_answers import DIGITS, OR_CLAIM, RIGHT_OR
from reference_transformer import plain_logits, random_data, random_transformer

from hypotheses.toy import CLAIMS, KNOWS_NOTHING, NETWORK, digits
from scrubbing import (
    DataError,
    Graph,
    Hypothesis,
    HypothesisError,
    baseline_ladder,
    labels_alone,
    labels_permuted,
    reads,
    scrub,
    unigram,
)
from scrubbing.experiments import baselines as module
from scrubbing.lens import transformer

XOR = Hypothesis(NETWORK, CLAIMS["an exclusive or"])


# -- labels permuted


def test_every_pair_of_predictions_and_labels_is_taken():
    data = digits()
    prediction = NETWORK.activations(data, "D")[0]
    expected = (prediction[None, :] - data["y"][:, None]).abs().mean(dim=1)
    assert labels_permuted(NETWORK, data) == pytest.approx(expected.numpy())


def test_it_is_the_known_baseline():
    assert labels_permuted(RIGHT_OR.G, DIGITS).mean() == pytest.approx(168 / 625)  # O1


@pytest.mark.parametrize("tile", [1, 50, 10**6])
@pytest.mark.parametrize("norm", ["LN", None])
def test_of_a_transformer_it_takes_one_pass(norm, tile, monkeypatch):
    monkeypatch.setattr(module, "TILE", tile)
    model = random_transformer(normalization_type=norm)
    data = random_data(model.config, rows=6)
    data["weights"][:, 2] = 0  # a position that nobody evaluates
    logits = plain_logits(model.config, model.weights, data["tokens"])
    each = torch.stack([F.cross_entropy(row.expand(6, -1, -1).mT, data["labels"], reduction="none") for row in logits])
    expected = (each * data["weights"]).sum(dim=2).mean(dim=0)
    assert labels_permuted(transformer(model), data) == pytest.approx(expected.numpy())


def test_labels_alone_is_its_estimate():
    model = random_transformer()
    data = random_data(model.config, rows=6)
    G = transformer(model)
    h = Hypothesis(G, labels_alone(G))
    sampled = scrub(h, data, baseline=h, draws=2000)
    assert sampled.variance_within is not None
    standard_error = np.sqrt(sampled.variance_within / (6 * 2000))  # every row is a reference: donors alone vary
    assert abs(sampled.scrubbed - labels_permuted(G, data).mean()) <= 4 * standard_error


def test_too_many_pairs_are_refused(monkeypatch):
    monkeypatch.setattr(module, "PAIRS", 10)
    with pytest.raises(HypothesisError, match="exact mode would have to"):
        labels_permuted(NETWORK, digits())


# -- the ladder


def test_percentages_are_those_of_scrub_against_each_baseline():
    data, first = digits(), CLAIMS["the first digit alone"]
    found = baseline_ladder(XOR, data, {"labels": KNOWS_NOTHING, "first digit": Hypothesis(NETWORK, first)}, seed=4)
    assert [rung.name for rung in found.rungs] == ["labels", "first digit"]  # the highest loss first
    for rung, baseline in zip(found.rungs, (KNOWS_NOTHING, first), strict=True):
        score = scrub(XOR, data, baseline=baseline, seed=4)
        assert (rung.loss, rung.recovered, rung.interval) == (score.baseline, score.recovered, score.interval)
    assert found.score.scrubbed == scrub(XOR, data, baseline=KNOWS_NOTHING, seed=4).scrubbed


def test_losses_by_row_are_those_of_the_references():
    losses = np.arange(1000.0)
    found = baseline_ladder(XOR, digits(), {"mine": losses, "tensor": torch.from_numpy(losses)}, references=[5, 5, 9])
    assert [rung.losses.tolist() for rung in found.rungs] == [[5, 5, 9], [5, 5, 9]]
    assert found.ladder["loss"].tolist() == pytest.approx([19 / 3, 19 / 3])


def test_an_exact_baseline_has_no_noise_of_its_own():
    h = Hypothesis(RIGHT_OR.G, OR_CLAIM)
    found = baseline_ladder(
        h, DIGITS, {"permuted": labels_permuted(h.G, DIGITS), "alone": labels_alone(h.G)}, exact=True
    )
    permuted, alone = sorted(found.rungs, key=lambda rung: rung.name, reverse=True)
    assert permuted.losses == pytest.approx(alone.losses)
    assert permuted.recovered == pytest.approx(1)


def test_a_language_model_has_a_ladder_of_its_own():
    model = random_transformer()
    data = random_data(model.config, rows=6)
    G = transformer(model)
    h = Hypothesis(G, Graph(loss=reads("logits", "labels", "weights"), logits=reads("embed"), embed=reads("tokens")))
    baselines = {"unigram": unigram(data, d_vocab=7), "labels permuted": labels_permuted(G, data)}
    found = baseline_ladder(h, data, baselines, others="reference")
    assert {rung.name for rung in found.rungs} == set(baselines)
    assert max(map(len, str(found).splitlines())) <= 80


def test_it_prints_as_a_table_of_80_columns():
    text = str(baseline_ladder(XOR, digits(), {"labels [bold]alone[/]": KNOWS_NOTHING, "itself": XOR.I}))
    assert max(map(len, text.splitlines())) <= 80
    assert "labels [bold]alone[/]" in text
    assert [line.split("│")[1].strip() for line in text.splitlines() if "│" in line][-4::2] == [
        "the hypothesis",
        "the network",
    ]


def test_a_baseline_that_is_the_network_leaves_nothing_to_recover():
    original = NETWORK(digits())
    found = baseline_ladder(XOR, digits(), {"the network": original})
    assert (found.rungs[0].recovered, found.rungs[0].interval) == (None, None)
    assert "nothing to recover" in str(found)


def test_mistakes_are_named():
    with pytest.raises(DataError, match="there are no baselines; name some"):
        baseline_ladder(XOR, digits(), {})
    with pytest.raises(
        DataError, match="the baseline 'mine' must be a Graph, a Hypothesis, or a loss for each of the 1000"
    ):
        baseline_ladder(XOR, digits(), {"mine": [1.0, 2.0]})
    with pytest.raises(DataError, match="the baseline 'mine' has the loss nan in row 3"):
        baseline_ladder(XOR, digits(), {"mine": np.where(np.arange(1000) == 3, np.nan, 1.0)})
