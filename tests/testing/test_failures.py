"""A failed assertion says what was compared, by how much it failed and where it is worst."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypotheses import toy
from scrubbing import Score, approx_percent
from scrubbing.score import make_score, sampled_estimate
from scrubbing.score.vacuity import Vacuity
from scrubbing.testing.failures import difference, ladder, why


def score(scrubbed, *, name, original=(1.0, 2.0, 3.0, 2.0), baseline=(5.0, 6.0, 6.0, 7.0), donors=None, draws=1):
    """A score from losses, one entry for each of the references 10, 11, ..."""
    original, baseline, scrubbed = (np.array(losses, dtype=float) for losses in (original, baseline, scrubbed))
    return make_score(
        name=name,
        rows=np.arange(10, 10 + len(original)),
        original=original,
        baseline=sampled_estimate(baseline[:, None], original),
        scrubbed=sampled_estimate(np.repeat(scrubbed[:, None], draws, axis=1), original),
        precision=2.2e-16,
        draws=draws,
        seed=0,
        settings={},
        vacuity=Vacuity(nodes=(), bits=1.0),
        donors=donors or {},
    )


HALF = score([3.0, 4.0, 4.5, 5.5], name="half", donors={"loss/A": np.array([3, 2, 1, 0])})
MORE = score([2.0, 3.0, 4.0, 4.0], name="more", donors={"loss/A": np.array([3, 2, 1, 0])})
NOTHING = score([5.0, 6.0, 6.0, 7.0], name="nothing", original=[5.0, 6.0, 6.0, 7.0])
ROWS = {
    "half": "  half   43.8% recovered [28.9, 68.9], 4 references",
    "more": "  more   68.8% recovered [57.0, 84.9], 4 references",
}
WORST = {
    "half": ["worst for 'half': row 13, loss 2 originally, 5.5 scrubbed", "  stood in: row 0 at loss/A"],
    "more": ["worst for 'more': row 13, loss 2 originally, 4 scrubbed", "  stood in: row 0 at loss/A"],
}


def test_of_two_scores_the_difference_and_the_worst_example():
    assert why(">", HALF, MORE, []) == [
        "'half' > 'more'",
        "'half' does not recover more than 'more', by a paired t test, one-sided at 2.5%",
        ROWS["half"],
        ROWS["more"],
        "difference -25.00 points [-31.13, -12.97]",
        *WORST["half"],
    ]


def test_less_than_asks_for_the_other_to_recover_more():
    found = why("<", MORE, HALF, [])
    assert found
    assert found[:2] == [
        "'more' < 'half'",
        "'half' does not recover more than 'more', by a paired t test, one-sided at 2.5%",
    ]
    assert found[5:] == WORST["half"]


def test_under_a_not_it_says_that_the_comparison_holds():
    found = why(">", MORE, HALF, [])
    assert found
    assert found[1] == "'more' recovers more than 'half', by a paired t test, one-sided at 2.5%"
    assert found[4] == "difference 25.00 points [12.97, 31.13]"


def test_equality_of_scores_says_how_they_differ():
    found = why("==", HALF, MORE, [])
    assert found
    assert found[:3] == ["'half' == 'more'", ROWS["half"], ROWS["more"]]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("found", "what"), [(HALF, "'half'"), (HALF.recovered, "0.4375")], ids=["score", "fraction"])
def test_of_an_expected_percentage_the_distance(found, what, swapped):
    sides = (approx_percent(50, within=3), found) if swapped else (found, approx_percent(50, within=3))
    assert why("==", *sides, [MORE, HALF]) == [
        f"{what} == 50% ± 3 points",
        "43.8% is 6.2 points below 50%",
        ROWS["half"],
        *WORST["half"],
    ]


def test_a_fraction_that_no_score_has_is_compared_all_the_same():
    assert why("==", 0.5, approx_percent(45, within=3), [HALF]) == [
        "0.5 == 45% ± 3 points",
        "50.0% is 5.0 points above 45%",
    ]


def test_no_percentage_is_explained():
    assert NOTHING.recovered is None
    found = why("==", NOTHING, approx_percent(0, within=3), [])
    assert found
    assert found[:2] == [
        "'nothing' == 0% ± 3 points",
        "there is no percentage: the baseline's loss equals the original's, so there is nothing to recover",
    ]
    assert why("==", None, approx_percent(0, within=3), []) == [
        "None == 0% ± 3 points",
        "there is no percentage: see score.why_no_percentage",
    ]


@pytest.mark.parametrize(
    ("op", "left", "right", "shown"),
    [
        (">", HALF.recovered, 0.9, "0.4375 > 0.9"),
        ("<", 0.9, HALF.recovered, "0.9 < 0.4375"),
        (">=", (HALF.interval or (0.0,))[0], 1, "0.2891 >= 1"),
        ("<", HALF.scrubbed, 0.5, "4.25 < 0.5"),
    ],
)
def test_a_number_read_from_a_score_brings_the_score(op, left, right, shown):
    assert why(op, left, right, [MORE, HALF]) == [shown, ROWS["half"], *WORST["half"]]


def test_an_equal_number_from_elsewhere_does_not():
    assert why(">", float(str(HALF.recovered)), 0.9, [HALF]) is None


@pytest.mark.parametrize("values", [(0.5, 0.9), ("a", "b"), (None, 3), (4, 4.5), ([0.5], [0.6])])
def test_what_has_nothing_to_do_with_scores_is_left_to_pytest(values):
    assert why("==", *values, [MORE, HALF]) is None


def last_line(**terms):
    found = why("==", score([3.0, 4.0, 4.5, 5.5], name="x", **terms), approx_percent(0, within=0), [])
    assert found
    return found[-1]


def test_a_few_donors_are_shown():
    donors = {f"loss/{name}": np.arange(k, k + 4) for k, name in enumerate("ABCDE")}
    assert last_line(donors=donors) == "  stood in: row 3 at loss/A, row 4 at loss/B, row 5 at loss/C, and 2 more"


def test_a_row_that_stood_in_at_several_places_is_shown_once():
    donors = {f"loss/{name}": np.array([1, 2, 3, row]) for name, row in zip("ABCDEF", (7, 8, 7, 7, 8, 9), strict=True)}
    shown = "row 7 at loss/A and 2 more places, row 8 at loss/B and 1 more place, row 9 at loss/F"
    assert last_line(donors=donors) == f"  stood in: {shown}"


def test_a_reference_does_not_stand_in_for_itself():
    donors = {"loss/A": np.array([1, 2, 3, 13]), "loss/B": np.array([1, 2, 3, 4])}
    assert last_line(donors=donors) == "  stood in: row 4 at loss/B"


def test_of_several_draws_the_first_is_shown():
    assert last_line(donors={"loss/A": np.arange(8)}, draws=2) == "  stood in, in the first of 2 draws: row 6 at loss/A"


def test_donors_by_position_are_not_listed():
    donors = {"loss/A": np.full((4, 3), 13), "loss/B": np.array([[13, 13, 13]] * 3 + [[13, 1, 13]])}
    assert last_line(donors=donors) == "  stood in: rows by position at loss/B"


def test_without_donors_there_is_no_line_of_them():
    found = why("==", NOTHING, approx_percent(0, within=3), [])
    assert found
    assert found[-1] == "worst for 'nothing': row 10, loss 5 originally, 5 scrubbed"


def test_scores_with_other_baselines_differ_by_losses():
    other = score([2.0, 3.0, 4.0, 4.0], name="other", baseline=[9.0, 9.0, 9.0, 9.0])
    assert difference(other, HALF) == "of losses 1 [0.35, 1.65]"


def test_against_a_baseline_better_than_the_network_losses_are_compared():
    worse = {"original": [5.0, 6.0, 6.0, 7.0], "baseline": [1.0, 2.0, 3.0, 2.0]}
    a, b = (score(losses, name="x", **worse) for losses in ([2.0, 3.0, 4.0, 4.0], [3.0, 4.0, 4.5, 5.5]))
    assert a > b
    assert difference(a, b).startswith("of losses 1 [0.35")


@given(st.lists(st.tuples(st.floats(0, 4), st.floats(0, 4)), min_size=3, max_size=8))
def test_the_interval_of_the_difference_says_what_the_comparison_says(losses):
    n = len(losses)
    gap = {"original": np.linspace(0, 0.1, n), "baseline": np.linspace(5, 5.1, n)}
    a, b = (score([pair[side] for pair in losses], name="x", **gap) for side in (0, 1))
    said = difference(a, b)
    low = float(said.split("[")[1].split(",")[0])
    if abs(low) > (0.01 if "points" in said else 1e-6):  # what is printed is rounded
        assert (a > b) is (low > 0)


def test_all_explanations_fit_into_what_pytest_shows_of_them():
    a, b = (toy.case(name).score(references=200) for name in ("a threshold too high", "an or of thresholds"))
    for found in (why(">", a, b, []), why("==", a, approx_percent(3, within=1), [])):
        assert found
        assert len(found) <= 8
        assert len("".join(found)) < 640


def test_a_ladder_is_a_line_for_each_score():
    unnamed: Score = HALF.model_copy(update={"name": None})
    assert ladder([HALF, unnamed]) == [f"  half        {HALF}", f"  (unnamed)   {HALF}"]
    assert ladder([]) == []
