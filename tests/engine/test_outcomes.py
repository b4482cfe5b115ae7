"""Divergence and agreement are those of whole distributions, and absent where the network has no readout."""

import numpy as np
import pytest
import torch
from reference_scrub import ReferenceScrub, Repetition
from reference_transformer import random_data, random_transformer
from torch import Tensor

from scrubbing import Graph, Hypothesis, reads, scrub
from scrubbing.lens import transformer
from scrubbing.lens.components.readout import Logits
from scrubbing.rewrite import all_but, gather, offset, split_mask, split_qkv

MODEL = random_transformer(n_heads=2, positional_embedding_type="shortformer")
DATA = random_data(MODEL.config, rows=6)
DATA["weights"][2] = 0
G = transformer(MODEL)
SPLIT = split_mask(split_qkv(gather(G, "logits", rest=all_but("a1_h0")), "a0_h0", "a1_h0"), "a0_h0", at=offset(1))
BASELINE = Graph(loss=reads("logits", "labels", "weights"), logits=lambda tokens: tokens[:, 0] * 0)
LOSS = {"loss": reads("logits", "labels", "weights")}
HYPOTHESES = {
    "narrow": Hypothesis(G, Graph(LOSS, logits=reads("embed", "a0_h0"), embed=reads("tokens"), a0_h0=reads("tokens"))),
    "whole": Hypothesis(G, Graph(LOSS, logits=reads("a1_h0"), a1_h0=lambda tokens: tokens[:, -1] % 2)),
    "under a mask": Hypothesis(
        SPLIT, Graph(LOSS, logits=reads("a1_h0"), a1_h0=reads("a1_h0_v"), a1_h0_v=reads("at"), at=reads("tokens"))
    ),
    "nothing": Hypothesis(G, Graph(LOSS, logits=reads("tokens"))),
}


def brute_force(h: Hypothesis, draws: int) -> dict[str, list[float]]:
    """Mean over draws of the weighted sums over positions, from all logits of one datum after the other."""
    slow, found = ReferenceScrub(h, DATA), {"kl": [], "agreement": []}
    for x in range(len(DATA["tokens"])):
        own = all_logits(G.activations({name: column[[x]] for name, column in DATA.items()}, "logits")[0])
        kl, agreement = [], []
        for number in range(draws):
            scrubbed = all_logits(slow.claimed("logits", x, ("loss", "logits"), Repetition(x, 0, number)))
            p, q = own.log_softmax(-1), scrubbed.log_softmax(-1)
            kl.append(float(DATA["weights"][x] @ (p.exp() * (p - q)).sum(-1)))
            agreement.append(float(DATA["weights"][x] @ (p.argmax(-1) == q.argmax(-1)).double()))
        found["kl"].append(np.mean(kl))
        found["agreement"].append(np.mean(agreement))
    return found


def all_logits(logits: Logits) -> Tensor:
    return logits.all()[0]


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.usefixtures("unchecked")
def test_divergence_and_agreement_are_those_of_all_logits(draws):
    scores = scrub(HYPOTHESES, DATA, baseline=BASELINE, draws=draws)
    for name, h in HYPOTHESES.items():
        expected, found = brute_force(h, draws), scores[name]
        for reading, values in expected.items():
            np.testing.assert_allclose(found.by_reference.of(reading), values, rtol=0, atol=1e-10, err_msg=name)
            assert found.readings[reading].value == pytest.approx(np.mean(values), abs=1e-10)
        baseline = brute_force(Hypothesis(h.G, BASELINE), draws)["kl"]
        np.testing.assert_allclose(found.by_reference.of("baseline_kl"), baseline, rtol=0, atol=1e-10)
    assert scores["whole"].readings["kl"].value > 0.01
    assert scores["nothing"].readings["kl"].value == pytest.approx(0, abs=1e-12)
    weight = DATA["weights"].sum(1).mean().item()
    assert scores["nothing"].readings["agreement"].value == pytest.approx(weight)
    assert 0 < scores["whole"].readings["agreement"].value < 0.99 * weight


def test_divergence_is_from_the_network_to_the_hypothesis():
    """Where the network is sure and the hypothesis is not, one direction is small and the other is not."""
    score = scrub(HYPOTHESES["whole"], DATA, baseline=BASELINE)
    slow = ReferenceScrub(HYPOTHESES["whole"], DATA)
    reverse = []
    for x in range(6):
        own = all_logits(G.activations({name: column[[x]] for name, column in DATA.items()}, "logits")[0]).log_softmax(
            -1
        )
        q = all_logits(slow.claimed("logits", x, ("loss", "logits"), Repetition(x, 0, 0))).log_softmax(-1)
        reverse.append(float(DATA["weights"][x] @ (q.exp() * (q - own)).sum(-1)))
    assert score.readings["kl"].value != pytest.approx(np.mean(reverse), rel=0.01)


def test_readings_are_absent_without_a_readout():
    plain = Graph(a=lambda x: 2 * x, loss=lambda a, y: (a - y).abs())
    columns = {"x": torch.arange(5.0), "y": torch.arange(5.0) % 2}
    h = Hypothesis(plain, Graph(a=lambda x: x % 2, loss=reads("a", "y")))
    for exact in (False, True):
        score = scrub(h, columns, baseline=Graph(loss=reads("y")), exact=exact)
        assert set(score.readings) == {"loss", "absolute_change"}
        assert score.by_reference.kl is score.by_reference.agreement is score.by_reference.baseline_kl is None


def test_jobs_of_different_networks_are_compared_each_with_its_own():
    other_model = random_transformer(n_heads=2, positional_embedding_type="shortformer", seed=1)
    I = HYPOTHESES["whole"].I
    both = [HYPOTHESES["whole"], Hypothesis(transformer(other_model), I)]
    together = scrub(both, DATA, baseline=BASELINE)
    for h, score in zip(both, together, strict=True):
        alone = scrub(h, DATA, baseline=BASELINE)
        for reading in ("scrubbed", "original", "kl", "agreement"):
            np.testing.assert_allclose(
                score.by_reference.of(reading), alone.by_reference.of(reading), rtol=0, atol=1e-12
            )
    assert together[0].by_reference.kl != together[1].by_reference.kl
