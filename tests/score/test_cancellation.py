"""A claim that is wrong in ways that cancel is flagged; an honest one, whole or in part, is not."""

import numpy as np
import pytest
import torch
from sampled import by_default

from scrubbing import Graph, Hypothesis, reads, scrub
from scrubbing.score import Losses
from scrubbing.score.cancellation import MARGIN, compare_recoveries

Z = torch.cartesian_prod(*[torch.arange(10)] * 3)
DIGITS = {"z1": Z[:, 0], "z2": Z[:, 1], "z3": Z[:, 2], "y": (Z[:, 0] > 3) | (Z[:, 1] > 3)}
OR = Graph(A=lambda z1: z1 > 3, B=lambda z2: z2 > 3, D=lambda A, B: A | B, loss=reads("D", "y"))
LABELS = Graph(loss=reads("y"))


def network(threshold):
    """O1 (threshold 3) or O1' (threshold 4), with the error of its answer as its loss."""
    return Graph(
        A=lambda z1: z1 > threshold,
        B=lambda z2: z2 > 3,
        D=lambda A, B: A | B,
        loss=lambda D, y: (D != y).double(),
    )


def losses(original, baseline, scrubbed, **readings):
    """One draw for each reference."""
    columns = {"original": original, "baseline": baseline, "scrubbed": scrubbed, **readings}
    columns |= {"change": abs(scrubbed - original), "baseline_change": abs(baseline - original)}
    return Losses(
        reference=tuple(range(len(original))), **{name: tuple(column.tolist()) for name, column in columns.items()}
    )


@pytest.mark.parametrize("settings", [{}, {"draws": 4}, {"exact": True}], ids=str)
def test_a_wrong_claim_that_keeps_the_mean_loss_is_flagged(settings):
    score = scrub(Hypothesis(network(4), OR), DIGITS, baseline=LABELS, **settings)
    assert score.interval[0] < 1 < score.interval[1]
    assert score.cancellation.flagged
    assert "(the mean loss is kept better than single losses are: " in str(score)


def test_its_numbers_are_exact_and_in_words():
    score = scrub(Hypothesis(network(4), OR), DIGITS, baseline=LABELS, exact=True)
    # By hand: mean |scrubbed - original| is 8/105 (O1'), mean |baseline - original| 8/25.
    assert score.readings["absolute_change"].value == pytest.approx(8 / 105)
    assert score.cancellation.by_loss == pytest.approx(1)
    assert score.cancellation.by_single == pytest.approx(1 - (8 / 105) / (8 / 25))
    assert score.cancellation.difference == pytest.approx((8 / 105) / (8 / 25))
    assert score.why_cancelled == (
        "the mean loss is kept better than single losses are: 100.0% recovered by the mean loss, "
        "76.2% by the mean absolute change (difference 23.8 [16.0, 31.6])"
    )


@pytest.mark.parametrize("seed", range(2))
def test_a_right_claim_is_not_flagged(seed):
    score = scrub(Hypothesis(network(3), OR), DIGITS, baseline=LABELS, seed=seed)
    assert (score.recovered, score.cancellation.difference, score.why_cancelled) == (1, 0, None)
    assert str(score.cancellation).startswith("losses do not cancel: 100.0% recovered by the mean loss, 100.0% by ")


def flagged(make, *, n, replications=400, seed=0):
    """How often the losses that are made are flagged."""
    rng = np.random.default_rng(seed)
    found = [compare_recoveries(make(rng, n)) for _ in range(replications)]
    return np.mean([one is not None and one.flagged for one in found])


def honest(rng, n, *, kept, noise=0.02):
    """A hypothesis that keeps a share of the references and loses the others as the baseline does, and rounds."""
    original = rng.lognormal(0, 0.5, size=n)
    baseline, again = original + rng.gamma(1.5, size=(2, n)) - 0.3
    scrubbed = np.where(rng.random(n) < kept, original, again) + noise * rng.standard_t(5, size=n)
    return losses(original, baseline, scrubbed)


@pytest.mark.parametrize("n", by_default([50, 200, 1000]))
@pytest.mark.parametrize("kept", by_default([0.8, 1.0, 0.3]))
def test_honest_recovery_is_hardly_ever_flagged(kept, n):
    assert flagged(lambda rng, n: honest(rng, n, kept=kept), n=n) <= 0.025


def cancelling(rng, n, *, difference):
    """Losses that go up or down by as much, so that the two readings differ by so much in truth."""
    original, gap = rng.lognormal(0, 0.5, size=n), rng.gamma(1.5, size=n)
    return losses(original, original + gap, original + difference * 1.5 * rng.laplace(size=n))


@pytest.mark.parametrize("n", by_default([50, 200, 1000]))
def test_at_the_margin_as_few_are_flagged_as_was_said(n):
    assert flagged(lambda rng, n: cancelling(rng, n, difference=MARGIN), n=n, replications=400) <= 0.025 + 0.016


def test_what_cancels_is_found():
    assert flagged(lambda rng, n: cancelling(rng, n, difference=0.2), n=200) > 0.95


def test_divergence_from_the_networks_own_output_is_read_where_there_is_one():
    rng = np.random.default_rng(0)
    original = rng.lognormal(size=500)
    # Every loss is kept, and the output is not: most of the baseline's divergence is there.
    kl, baseline_kl = rng.gamma(2.0, size=(2, 500)) * np.array([[0.6], [1.0]])
    found = compare_recoveries(losses(original, original + 1, original, kl=kl, baseline_kl=baseline_kl))
    assert (found.reading, found.flagged) == ("KL", True)
    assert found.difference == pytest.approx(kl.mean() / baseline_kl.mean())
    assert not compare_recoveries(losses(original, original + 1, original)).flagged


def test_it_cannot_be_told_without_a_gap_or_a_reading():
    rng = np.random.default_rng(0)
    original = rng.lognormal(size=50)
    assert compare_recoveries(losses(original, original + rng.normal(size=50) * 1e-3, original)) is None
    bare = losses(original, original + 1, original).model_copy(update={"change": None})
    assert compare_recoveries(bare) is None
