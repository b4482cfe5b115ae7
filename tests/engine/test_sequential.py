"""Runs that draw until they know enough stop where they should, and give what a run of that size would have given."""

import numpy as np
import pytest
import torch
from known_answers import INDEPENDENT, NOTHING, ONE_NODE

from scrubbing import DataError, Graph, Hypothesis, HypothesisError, Score, ScrubbingWarning, reads, scrub
from scrubbing.engine.evaluate import Evaluator

# The exact fraction recovered: (22 - 12)/22, since claiming x1 leaves 12 of the 22 that claiming nothing leaves (O3).
TRUTH = 10 / 22
OTHER = Hypothesis(ONE_NODE.G, Graph(f=reads("x2"), loss=reads("f", "y")))


def until(width, h=ONE_NODE, **settings):
    return scrub(h, INDEPENDENT, baseline=NOTHING, until=width, **settings)


FOUND = until(0.1)


def test_it_stops_where_the_interval_is_narrow_enough():
    low, high = FOUND.interval
    assert (high - low) / 2 <= 0.1
    assert (high - low) / 2 > 0.08  # not long after
    assert FOUND.stopping.reached
    assert FOUND.settings["interval"] == "asymptotic confidence sequence, valid however often one looks"
    assert FOUND.settings["until"] == 0.1
    assert str(FOUND).endswith("(intervals and tests are of asymptotic confidence sequences, valid under looking)")


@pytest.mark.parametrize("settings", [{}, {"draws": 3}, {"exclude_self": True, "others": "reference"}], ids=str)
def test_the_losses_are_those_of_a_run_of_that_size(settings):
    found = until(0.15, **settings)
    same = scrub(ONE_NODE, INDEPENDENT, baseline=NOTHING, references=found.references, **settings)
    assert found.by_reference == same.by_reference
    assert (found.recovered, found.variance_within) == (same.recovered, same.variance_within)
    assert all((found.donors[path] == same.donors[path]).all() for path in same.donors | found.donors)
    assert found.interval[0] < same.interval[0] < same.interval[1] < found.interval[1]


def test_every_interval_must_be_narrow_and_hypotheses_stay_paired():
    both = until(0.07, {"x1": ONE_NODE, "x2": OTHER})
    assert both["x1"].references == both["x2"].references >= until(0.07, OTHER).references
    assert all((s.interval[1] - s.interval[0]) / 2 <= 0.07 for s in both.values())
    assert both["x2"] > both["x1"]
    assert both["x1"].equals(both["x1"], within=0.01)


def test_bounds_and_margins_are_of_the_sequence_too():
    assert FOUND.at_least(0.0, level=0.025).bound == pytest.approx(FOUND.interval[0])


def test_what_a_draw_takes_is_measured_at_the_first_look_alone(monkeypatch):
    measured = []
    fitting = Evaluator.fitting
    monkeypatch.setattr(Evaluator, "fitting", lambda self, one, share: measured.append(1) or fitting(self, one, share))
    looks = []
    until(0.1, progress=lambda done, total: looks.append(done))
    assert len(looks) > 3
    assert measured == [1]


def test_the_cap_is_said():
    message = (
        r"^the half-width of 1 point was not reached with 300 references, the most that could be drawn; allow more "
        r"\(references=\), or draw more donors for each \(draws=\)$"
    )
    with pytest.warns(ScrubbingWarning, match=message):
        found = until(0.01, references=300)
    assert (found.references, found.stopping.reached, found.stopping.most) == (300, False, 300)
    low, high = found.interval
    assert f"valid under looking; half its width was to be 1 point, and is {50 * (high - low):.2g})" in str(found)


def test_it_is_for_ten_times_the_data_or_twenty_thousand_where_nothing_is_said():
    with pytest.warns(ScrubbingWarning):
        assert until(0.004).references == 20_000


def test_it_comes_back_from_json():
    assert Score.model_validate_json(FOUND.model_dump_json()) == FOUND


def test_progress_goes_on():
    seen = []
    found = until(0.15, progress=lambda done, total: seen.append(done), draws=2)
    assert seen == sorted(seen)
    assert seen[-1] == 2 * found.references


REFUSED = {
    "no width": ({"until": 0.0}, DataError, "until=0.0 is no half-width of a fraction; 0.01 draws until it is 1 per"),
    "percent": ({"until": 5.0}, DataError, "until=5.0 is no half-width of a fraction"),
    "given references": (
        {"references": [0, 1]},
        DataError,
        "until= draws references itself; give references=, if at all, as the most that it may draw",
    ),
    "exact": (
        {"exact": True},
        HypothesisError,
        "until= draws references a few at a time, and exact=True has no draws to add; leave out one of them",
    ),
    "made donors": (
        {"donors": {"f": lambda columns, rng: columns}},
        HypothesisError,
        "until= draws references a few at a time, and donors that are made are made for all references at once; leave",
    ),
}


@pytest.mark.parametrize(("settings", "error", "message"), [pytest.param(*case, id=n) for n, case in REFUSED.items()])
def test_what_cannot_be_drawn_until_is_refused(settings, error, message):
    with pytest.raises(error) as raised:
        scrub(ONE_NODE, INDEPENDENT, baseline=NOTHING, **{"until": 0.1, **settings})
    assert str(raised.value).startswith(message)


def test_a_loss_that_is_not_finite_ends_it_at_once():
    calls = []

    def loss(f, y):
        calls.append(len(f))
        return torch.where(y == 3, torch.nan, f - y)

    with pytest.raises(DataError, match="losses must be finite"):
        scrub(
            Hypothesis(ONE_NODE.G | {"loss": loss}, ONE_NODE.I), INDEPENDENT, baseline=NOTHING, until=0.1, check=False
        )
    assert sum(calls) < 1000


# -- the errors that they make


@pytest.mark.usefixtures("unchecked")
def test_the_truth_is_held_by_runs_that_stop():
    held = [low <= TRUTH <= high for low, high in (until(0.2, seed=seed).interval for seed in range(40))]
    assert np.mean(held) >= 0.95


@pytest.mark.slow
def test_the_truth_is_held_by_many_runs_that_stop():
    held = [low <= TRUTH <= high for low, high in (until(0.15, seed=seed).interval for seed in range(400))]
    assert np.mean(held) >= 0.95


@pytest.mark.parametrize(("draws", "error"), [(1, 0.4243), (4, 0.2419), (16, 0.1677)])
@pytest.mark.usefixtures("unchecked")
def test_standard_errors_are_those_of_o12(draws, error):
    """References drawn with replacement: variance 18 between them and 162 within, so 18/n + 162/(n draws)."""
    scores = [
        scrub(ONE_NODE, INDEPENDENT, baseline=NOTHING, references=1000, draws=draws, seed=seed, check=False)
        for seed in range(60)
    ]
    assert np.mean([score.standard_error for score in scores]) == pytest.approx(error, rel=0.02)
    # and means of losses scatter by as much: the standard deviation of 60 is good to 9 percent
    assert np.std([score.scrubbed for score in scores], ddof=1) == pytest.approx(error, rel=0.27)
    assert np.mean([score.scrubbed for score in scores]) == pytest.approx(12, abs=4 * error / np.sqrt(60))
