"""A score says what was recovered, prints it, compares on equal terms, and survives the journey through JSON."""

import operator
from dataclasses import replace

import numpy as np
import pytest
from scores import BASELINE, EPSILON, HALF, ORIGINAL, estimate, score

from scrubbing import DataError, Graph, Hypothesis, Score, reads, scrub
from scrubbing.score import make_score
from scrubbing.score.statistics import mean_interval
from scrubbing.score.vacuity import Vacuity

FEW = "(4 independent observations are too few for any honest interval)"
PRINTED = {
    "half": (
        HALF,
        "50.0% recovered [50.0, 50.0]   loss 4.000, original 2.000, baseline 6.000, 4 references of the source   "
        + FEW,
    ),
    "all": (
        score(ORIGINAL),
        "100.0% recovered [-296.1, 100.0]   loss 2.000, original 2.000, baseline 6.000, 4 references of the source   "
        + FEW,
    ),
    "less than nothing": (
        score(BASELINE + np.array([1, 0, 2, 1])),
        "-25.0% recovered [-74.2, 6.5]   loss 7.000, original 2.000, baseline 6.000, 4 references of the source   "
        + FEW,
    ),
    "nothing, without a minus sign": (
        score(BASELINE + 1e-9),
        "0.0% recovered [0.0, 396.1]   loss 6.000, original 2.000, baseline 6.000, 4 references of the source   " + FEW,
    ),
    "nothing to recover": (
        score(BASELINE, original=BASELINE[::-1]),
        "nothing to recover   loss 6.000, original 6.000, baseline 6.000, 4 references of the source   "
        "(the baseline's loss equals the original's, so there is nothing to recover)",
    ),
    "too good": (
        score(ORIGINAL - np.array([0.08, 0.1, 0.12, 0.1])),
        "102.5% recovered [101.5, 104.3]   loss 1.900, original 2.000, baseline 6.000, 4 references of the source   "
        + FEW
        + "   (the scrubbed network does better than the network, so something that it does was not preserved)",
    ),
    "no interval": (
        score(ORIGINAL, baseline=ORIGINAL + np.array([1, -1, 1, 0])),
        "100.0% recovered [unbounded]   loss 2.000, original 2.000, baseline 2.250, 4 references of the source   "
        "(the baseline's loss does not differ significantly from the original's (2.25 against 2), "
        "so the percentage has no interval)",
    ),
}


@pytest.mark.parametrize(("scored", "printed"), [pytest.param(*case, id=name) for name, case in PRINTED.items()])
def test_a_score_prints_its_percentage_its_losses_and_what_they_cannot_say(scored, printed):
    assert str(scored) == printed


def test_the_percentage_is_a_ratio_of_means_over_references_and_draws():
    two_draws = make_score(
        name="halved",
        rows=np.array([0, 1]),
        original=np.array([0.0, 1.0]),
        baseline=estimate([[8.0, 10.0], [3.0, 1.0]], [0.0, 1.0]),
        scrubbed=estimate([[6.0, 4.0], [1.0, 2.0]], [0.0, 1.0]),
        precision=EPSILON,
        draws=2,
        seed=0,
        settings={},
        vacuity=Vacuity(nodes=(), bits=1.0),
        donors={},
    )
    assert (two_draws.original, two_draws.baseline, two_draws.scrubbed) == (0.5, 5.5, 3.25)
    assert two_draws.recovered == (5.5 - 3.25) / (5.5 - 0.5)
    assert two_draws.by_reference.scrubbed == (5.0, 1.5)
    assert (two_draws.name, two_draws.references, two_draws.draws) == ("halved", 2, 2)


@pytest.mark.parametrize(("precision", "recovered"), [(EPSILON, 1.0), (float(np.finfo(np.float32).eps), None)])
def test_a_gap_that_rounding_explains_is_no_gap(precision, recovered):
    assert score(ORIGINAL, baseline=ORIGINAL + 1e-7, precision=precision).recovered == recovered


def test_the_losses_of_each_reference_are_a_table():
    table = HALF.losses
    assert list(table.columns) == ["reference", "original", "baseline", "scrubbed", "change", "baseline_change"]
    assert table.iloc[:, :4].to_numpy().tolist() == [[0, 1, 5, 3], [1, 2, 6, 4], [2, 3, 6, 4.5], [3, 2, 7, 4.5]]
    assert table.iloc[:, 4:].to_numpy().tolist() == [[2, 4], [2, 4], [1.5, 3], [2.5, 5]]


def test_a_score_says_what_its_losses_estimate():
    graph = Graph(h=lambda x: x, loss=lambda h, y: (h - y).abs())
    h, data = Hypothesis(graph, Graph(loss=reads("y"))), {"x": [0, 1, 2, 3], "y": [0, 1, 2, 3]}
    assert scrub(h, data, baseline=h).estimand == "the mean over the source of the data"
    assert scrub(h, data, baseline=h, references=3).estimand == "the mean over the dataset"
    assert HALF.settings["interval"] == "Fieller"


def test_what_is_known_of_the_output_is_read_as_well():
    original = np.array([0.0, 1.0, 2.0, 4.0])
    kl, agreement = np.array([0.1, 0.2, 0.3, 0.2]), np.array([1.0, 1.0, 0.0, 1.0])
    found = make_score(
        name=None,
        rows=np.arange(4),
        original=original,
        baseline=replace(estimate([6.0, 5.0, 5.0, 6.0], original), compared={"kl": kl + 1, "agreement": 1 - agreement}),
        scrubbed=replace(estimate(original, original), compared={"kl": kl, "agreement": agreement}),
        precision=EPSILON,
        draws=1,
        seed=0,
        settings={},
        vacuity=Vacuity(nodes=(), bits=1.0),
        donors={},
    )
    assert list(found.readings) == ["loss", "absolute_change", "kl", "agreement"]
    assert (found.readings["kl"].value, found.readings["agreement"].value) == pytest.approx((0.2, 0.75))
    assert found.readings["kl"].interval == mean_interval(kl)
    assert found.losses["kl"].tolist() == kl.tolist()
    assert found.losses["baseline_kl"].tolist() == (kl + 1).tolist()
    assert "baseline_agreement" not in found.losses
    assert found.cancellation.reading == "KL"
    assert Score.model_validate_json(found.model_dump_json()) == found
    assert list(HALF.readings) == ["loss", "absolute_change"]


def test_donors_and_references_make_the_standard_error():
    found = score([[2, 4], [3, 3], [9, 8], [4, 5]]).model_copy(update={"draws": 2})
    assert found.standard_error == pytest.approx(np.std([3, 3, 8.5, 4.5], ddof=1) / 2)
    several = found.model_copy(update={"variance_between": 18.0, "variance_within": 162.0, "draws": 4})
    assert several.standard_error == pytest.approx(np.sqrt((18 + 162 / 4) / 4))
    assert (several.best_draws(), several.best_draws(cost_ratio=4.0)) == (3, 6)
    assert (HALF.standard_error, HALF.best_draws()) == (pytest.approx(np.sqrt(HALF.variance_between / 4)), None)


def test_the_bootstrap_is_at_hand():
    low, high = PRINTED["less than nothing"][0].bootstrap(resamples=999)
    assert low < -0.25 < high
    assert score(BASELINE, original=BASELINE).bootstrap() is None


def test_no_bound_is_given_where_the_tail_is_too_heavy_for_one():
    rng = np.random.default_rng(2)
    gap, lost = np.full(200, 15.0), rng.lognormal(0, 2.0, 200)
    heavy = score(lost, original=np.zeros(200), baseline=gap, rows=tuple(range(200)))
    light = score(rng.gamma(2.0, 3.0, 200), original=np.zeros(200), baseline=gap, rows=tuple(range(200)))
    assert heavy.why_too_few.startswith("the tail of the losses is too heavy")
    assert not heavy.at_least(0.0)
    assert str(heavy.at_least(0.0)) == (
        "not shown to be at least 0.0%: the tail of the losses is too heavy for a bound by so few references"
    )
    assert light.at_least(0.3)


def test_a_better_score_is_greater():
    better = score(ORIGINAL + np.array([0.1, 0.2, 0.1, 0.0]))
    assert better > HALF
    assert HALF < better
    assert not HALF > better


@pytest.mark.parametrize("difference", [[0, 0, 0, 0], [1, -2, 1, -1]], ids=["nothing", "noise"])
def test_of_two_scores_that_differ_by_no_more_than_noise_neither_is_greater(difference):
    other = score((ORIGINAL + BASELINE + np.array(difference)) / 2)
    assert not HALF > other
    assert not HALF < other


@pytest.mark.parametrize("other", [score(ORIGINAL, rows=(0, 1, 2, 2)), score(ORIGINAL, seed=1)], ids=["rows", "seed"])
def test_scores_on_other_terms_are_not_compared(other):
    with pytest.raises(DataError, match=r"^only scores on the same references and seed can be compared; these have 4 "):
        operator.gt(other, HALF)


SCORES = {
    "plain": HALF,
    "nothing to recover": score(BASELINE, original=BASELINE),
    "no interval": PRINTED["no interval"][0],
}


@pytest.mark.parametrize("scored", [pytest.param(scored, id=name) for name, scored in SCORES.items()])
def test_a_score_comes_back_from_json_as_it_was(scored):
    back = Score.model_validate_json(scored.model_dump_json())
    assert back.model_dump() == scored.model_dump()
    assert back == scored
    assert str(back) == str(scored)


def test_scores_are_equal_by_value():
    graph = Graph(h=lambda x: x, loss=lambda h, y: (h - y).abs())
    h, data = Hypothesis(graph, Graph(loss=reads("y"))), {"x": [0, 1, 2, 3], "y": [0, 1, 2, 3]}
    first, again, other = (scrub(h, data, baseline=h, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_score_is_immutable():
    with pytest.raises(ValueError, match="frozen"):
        HALF.recovered = 1.0
