"""What a run estimates is asked for and said, groups are checked, and what rows share is kept in the score."""

import numpy as np
import pytest
import torch

from hypotheses import toy
from scrubbing import DataError, Graph, Hypothesis, Score, ScrubbingWarning, reads, scrub

G = Graph(a=lambda z: z, loss=lambda a, z: (a - z) ** 2)
BY_CLASS = Hypothesis(G, Graph(a=lambda z, c: c, loss=reads("a", "z")), columns=("c",))
BASELINE = Graph(loss=reads("z"))
RNG = np.random.default_rng(0)
ROWS = 120
FILES = np.repeat(np.arange(12), 10)
DATA = {"z": torch.tensor(RNG.normal(size=ROWS) + RNG.normal(size=12)[FILES]), "c": np.arange(ROWS) % 3, "file": FILES}


def scored(data=DATA, **settings) -> Score:
    return scrub(BY_CLASS, data, baseline=BASELINE, **settings)


def width(score):
    return score.interval[1] - score.interval[0]


def test_the_estimand_is_an_option_and_is_printed():
    assert "120 references of the source" in str(scored())
    assert "120 references of the dataset" in str(scored(estimand="dataset"))
    assert "50 references of the dataset" in str(scored(references=50))
    assert "50 references of the source" in str(scored(references=50, estimand="source"))


@pytest.mark.usefixtures("unchecked")
def test_an_estimand_that_is_none_is_refused():
    with pytest.raises(DataError, match=r"^estimand='rows'.* \"source\" or \"dataset\""):
        scored(estimand="rows")


def test_figures_do_not_depend_on_what_they_estimate():
    found = [scored(draws=2, **s) for s in ({}, {"groups": "file"}, {"estimand": "dataset"})]
    assert len({(s.recovered, s.scrubbed, s.original, s.baseline) for s in found}) == 1
    assert len({s.interval for s in found}) == 3


def test_exactly_over_the_dataset_there_is_nothing_left_to_err():
    found = scored(exact=True, estimand="dataset")
    assert width(found) == pytest.approx(0, abs=1e-12)
    assert found.at_least(found.recovered)
    assert width(scored(exact=True)) > 0.1


def test_more_draws_leave_what_references_share():
    one, many, exact = (scored(**s) for s in ({"draws": 1}, {"draws": 32}, {"exact": True}))
    assert one.standard_error > many.standard_error > 0.8 * exact.standard_error
    ordinary = np.std(exact.by_reference.scrubbed, ddof=1) / np.sqrt(ROWS)
    assert exact.standard_error > 1.1 * ordinary  # that of independent references


def test_groups_are_one_observation_each():
    plain, grouped = scored(), scored(groups="file")
    assert (plain.clustering, grouped.clustering.groups) == (None, 12)
    assert grouped.design.units == 12
    assert grouped.settings["groups"][0] == "file"
    by_values = scored({k: v for k, v in DATA.items() if k != "file"}, groups=[f"file {k}" for k in FILES])
    assert by_values.interval == pytest.approx(grouped.interval)
    assert scored(groups="file", references=50).clustering is None  # drawn: the dataset is all there is


WRONG = {
    "unknown": ({"groups": "fil"}, "groups='fil': the data have no such column; did you mean 'file'?"),
    "one group": (
        {"groups": np.zeros(ROWS)},
        "all 120 references are of one group of 'groups', and one observation has no interval; group by something",
    ),
    "nan": ({"groups": np.where(FILES == 3, np.nan, FILES)}, "'groups' has no group in row 30 (NaN); leave such rows"),
    "none": ({"groups": [None, *FILES[1:].tolist()]}, "'groups' has no group in row 0 (NaN); leave such rows out"),
    "another length": (
        {"groups": FILES[:5]},
        "'groups' must hold one group for each of the 120 rows, and has the shape",
    ),
}


@pytest.mark.parametrize(("settings", "message"), [pytest.param(*case, id=name) for name, case in WRONG.items()])
def test_groups_that_are_none_are_refused(settings, message):
    with pytest.raises(DataError) as raised:
        scored(**settings)
    assert str(raised.value).startswith(message)


def test_a_group_for_each_row_changes_nothing_and_is_said():
    with pytest.warns(
        ScrubbingWarning, match=r"^each reference has a group of 'groups' of its own, so that groups chan"
    ):
        found = scored(groups=np.arange(ROWS))
    assert found.interval == scored().interval


def test_what_rows_share_comes_back_from_json():
    for settings in ({}, {"groups": "file", "draws": 3}, {"exact": True}):
        found = scored(**settings)
        back = Score.model_validate_json(found.model_dump_json())
        assert back == found
        assert back.at_least(0.1).bound == found.at_least(0.1).bound
        assert back.standard_error == found.standard_error


@pytest.mark.parametrize("wrong", ["u9 AAAA", "u1 ?", "pickle AAAA"])
def test_packed_numbers_that_are_none_are_refused(wrong):
    content = scored().model_dump(mode="json")
    content["donated"]["donors"] = [wrong]
    with pytest.raises(ValueError, match="donors"):
        Score.model_validate(content)


def test_the_difference_of_scores_counts_what_they_share():
    names = ("a threshold too high", "an exclusive or")
    data = {
        k: v[torch.randperm(1000, generator=torch.Generator().manual_seed(0))[:400]] for k, v in toy.digits().items()
    }
    high, xor = scrub([toy.case(n).hypothesis for n in names], data, baseline=toy.KNOWS_NOTHING)
    assert high > xor
    assert not xor > high
    assert high.equals(high, within=1e-9)


# -- datums that stand in for themselves


def small_classes(classes, *, rows=600, seed=0):
    """Half of the loss is recovered by classes without end; of as few members as these, more."""
    rng = np.random.default_rng(seed)
    c = rng.integers(0, classes, rows)
    return {"c": c, "z": torch.tensor(rng.normal(size=classes)[c] + rng.normal(size=rows))}


def test_what_is_recovered_without_self_donors_is_said_and_the_interval_reaches_it():
    found = scored(small_classes(300))
    itself = found.self_donors
    assert found.recovered > 0.62
    assert itself.recovered == pytest.approx(0.5, abs=0.12)
    assert found.interval[0] <= itself.interval[0] < 0.5 < found.interval[1]
    assert not found.at_least(0.58)
    assert itself.share == pytest.approx(0.43, abs=0.06)  # E[1/m] for about Poisson(2) + 1 members
    assert itself.irreplaceable == pytest.approx(0.135, abs=0.06)  # exp(-2)
    assert "of draws a datum stands in for itself; without them" in str(found)


def test_large_classes_have_none_worth_saying():
    assert scored().self_donors is None
    assert "stands in for itself" not in str(scored())
    assert scored(small_classes(300), exclude_self=True).self_donors.share < 0.2  # singletons alone
