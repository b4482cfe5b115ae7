"""A planned sample gives the width that it was planned for."""

import numpy as np
import pytest
from known_answers import INDEPENDENT, NOTHING, ONE_NODE
from scores import BASELINE, HALF, score

from scrubbing import DataError, plan_equality, plan_samples, scrub


def half_width(**settings):
    low, high = scrub(ONE_NODE, INDEPENDENT, baseline=NOTHING, **settings).interval
    return (high - low) / 2


PILOT = scrub(ONE_NODE, INDEPENDENT, baseline=NOTHING, references=1000, draws=4)


@pytest.mark.parametrize("draws", [1, 4, 16])
def test_the_planned_references_have_the_width_asked_for(draws):
    plan = plan_samples(PILOT, 0.05, draws=draws)
    assert half_width(references=plan.references, draws=draws, seed=1) == pytest.approx(0.05, rel=0.12)


def test_the_least_work_is_no_more_than_any_other():
    plan = plan_samples(PILOT, 0.02, cost_ratio=3.0)
    work = {R: plan_samples(PILOT, 0.02, draws=R).references * (3 + R) for R in range(1, 30)}
    assert plan.best_references * (3 + plan.best_draws) == min(work.values())


def test_a_pilot_of_one_draw_plans_for_one_draw_only():
    pilot = scrub(ONE_NODE, INDEPENDENT, baseline=NOTHING, references=1000)
    plan = plan_samples(pilot, 0.05)
    assert (plan.draws, plan.best_references, plan.best_draws) == (1, None, None)
    assert half_width(references=plan.references, seed=1) == pytest.approx(0.05, rel=0.12)
    with pytest.raises(DataError, match=r"^the pilot's one draw cannot tell what draws=4 would do; make it with"):
        plan_samples(pilot, 0.05, draws=4)


def test_an_exact_pilot_plans_for_sampled_ones():
    plan = plan_samples(scrub(ONE_NODE, INDEPENDENT, baseline=NOTHING, references=1000, exact=True), 0.05)
    assert plan.references == pytest.approx(plan_samples(PILOT, 0.05, draws=1).references, rel=0.2)


def test_a_plan_in_words():
    assert (
        str(plan_samples(HALF, 0.05))
        == "2 references of 1 draw for a half-width of 5 points (80% of runs reach it; by a pilot of 4 references)"
    )
    words = str(plan_samples(PILOT, 0.01, draws=1))
    assert words.startswith("3")
    assert " of 1 draw for a half-width of 1 point; least work: " in words


@pytest.mark.parametrize("width", [0.0, 1.0, -0.1])
def test_a_width_is_a_fraction(width):
    with pytest.raises(DataError, match=rf"^width={width} is no half-width of a fraction; 0.01 is 1 percentage point"):
        plan_samples(PILOT, width)


def test_a_pilot_without_an_interval_plans_nothing():
    with pytest.raises(DataError, match=r"^this pilot plans nothing: the baseline's loss equals the original's"):
        plan_samples(score(BASELINE, original=BASELINE), 0.1)


@pytest.mark.usefixtures("unchecked")
def test_four_runs_of_five_are_as_narrow_as_was_planned():
    """Pilots of skewed losses, and a run of the size that each plans."""
    rng, reached, halves = np.random.default_rng(0), {0.5: [], 0.8: []}, (0.5, 0.8)
    for _ in range(60):
        for assurance in halves:
            plan = plan_samples(run(rng, 200), 0.05, assurance=assurance)
            low, high = run(rng, plan.references).interval
            reached[assurance].append((high - low) / 2 <= 0.05)
    assert 0.3 < np.mean(reached[0.5]) < 0.7
    assert 0.66 < np.mean(reached[0.8]) < 0.93


def run(rng, n):
    gap = 1 + rng.gamma(2.0, 0.5, n)
    return score(
        gap - 0.7 * gap + rng.gamma(4.0, 0.3, n) - 1.2, original=np.zeros(n), baseline=gap, rows=tuple(range(n))
    )


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_equal_hypotheses_are_shown_to_be_in_four_runs_of_five():
    rng, shown = np.random.default_rng(1), []
    for _ in range(100):
        one, other = equal_pair(rng, 100)
        one, other = equal_pair(rng, plan_equality(one, other, within=0.1).references)
        shown.append(bool(one.equals(other, within=0.1)))
    assert 0.68 < np.mean(shown) <= 0.93


def equal_pair(rng, n):
    """Two scores of hypotheses that recover the same."""
    gap = 1 + rng.gamma(2.0, 0.5, n)
    both = [0.4 * gap + 0.5 * rng.normal(size=n) for _ in range(2)]
    return [score(losses, original=np.zeros(n), baseline=gap, rows=tuple(range(n))) for losses in both]


def test_a_difference_is_planned_for_too():
    one, other = equal_pair(np.random.default_rng(2), 200)
    plan = plan_samples(one, 0.02, against=other)
    assert " for a half-width of 2 points of the difference (80% of runs reach it; by a pilot of 200 " in str(plan)
    with pytest.raises(DataError, match=r"^assurance=1.0 is no share of runs"):
        plan_samples(one, 0.02, assurance=1.0)
