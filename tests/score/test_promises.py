"""Promises of whole runs, simulated: rows that stand in for each other, runs that stop, and choices among many."""

import re

import numpy as np
import pytest
from simulations.documented import table
from simulations.promise import Found, Situation, covers
from simulations.rows import BY_KIND, CUBE, HIGH, by_position, texts
from simulations.table import SITUATIONS, lines
from simulations.tails import calm, rare, stopped

from hypotheses import toy
from scrubbing import DataError, Graph, compare, reads, scrub

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.mark.slow
@pytest.mark.parametrize("name", SITUATIONS)
def test_what_is_promised_is_kept_in_many_runs(name):
    """The table of docs/statistics.md, in fewer runs."""
    situation = SITUATIONS[name]
    found = situation.measured(situation.few)
    broken = {of: found[of] for of, promise in situation.promises.items() if not found[of].keeps(promise)}
    assert broken == {}


def test_the_documented_table_has_all_situations_and_what_they_promise():
    documented = table()
    assert list(documented) == list(SITUATIONS)
    for name, situation in SITUATIONS.items():
        found = [re.search(r"\| (\S+) ± (\S+) \|", line) for line in documented[name]]
        measured = [Found(float(of[1]), float(of[2])) for of in found]
        expected = lines(name, dict(zip(situation.promises, measured, strict=True)))
        assert documented[name] == expected
        for one, promise in zip(measured, situation.promises.values(), strict=True):
            assert one.keeps(promise)


def test_exceptions_have_reasons():
    for situation in SITUATIONS.values():
        for of, promise in situation.promises.items():
            test = promise.claimed is not None and promise.limits == (0.0, promise.claimed + 0.01)
            by_its_name = of in ("no width", "design effect", "width reached")
            assert test or promise == covers() or by_its_name or promise.why


# -- a donor for each position


def test_all_rows_of_which_a_position_is_a_donor_are_counted():
    found = Situation(by_position(), {"interval": covers(), "as if independent": covers()}, 60, 60).measured(60)
    assert found["interval"].value >= 0.93 - 0.06
    assert found["as if independent"].value < 0.85


def test_donors_by_position_that_are_too_many_to_be_told_from_chance_are_said():
    data = texts(np.random.default_rng(0), 60, 4)
    baseline = Graph(loss=reads("z"))
    counted = scrub(BY_KIND, data, baseline=baseline, check=False)
    assert (len(counted.donated.donors), counted.donated.uncounted, counted.why_uncounted) == (4, (), None)
    few = scrub(BY_KIND, data, baseline=baseline, check=False, groups=np.arange(60) // 2)
    assert few.donated.uncounted == ("loss/a",)
    assert "what references share by the donors of 'a' is not counted" in str(few)
    assert scrub(BY_KIND, data, baseline=baseline, check=False, estimand="dataset").why_uncounted is None
    assert toy.case("the digits themselves").score().why_uncounted is None  # references that stay are no donors


# -- runs that stop

FAILING = rare(0.005, 5.2)  # at 0.01 a run was once wrong in 26 of 60: it stopped before it had seen a failure


@pytest.mark.parametrize(("draw", "truth", "width"), [(FAILING, 0.974, 0.02), (calm, 0.7, 0.02)])
def test_runs_that_stop_hold_the_truth(draw, truth, width):
    rng = np.random.default_rng(0)
    found = [stopped(rng, draw, width) for _ in range(40)]
    assert np.mean([low <= truth <= high for low, high, _ in found]) >= 0.93
    assert all(high - low <= 2 * width + 1e-12 for low, high, n in found if n < 20_000)


def test_tests_of_stopped_scores_are_of_sequences():
    both = scrub(HIGH, CUBE, baseline=toy.KNOWS_NOTHING, until=0.1)
    fixed = scrub(HIGH, CUBE, baseline=toy.KNOWS_NOTHING, references=both["A"].references)
    for name in HIGH:
        assert both[name].by_reference == fixed[name].by_reference
        for reading in both[name].readings:
            wide, narrow = (np.diff(s[name].readings[reading].interval)[0] for s in (both, fixed))
            assert wide > 1.2 * narrow
        assert both[name].at_least(0.5).bound < fixed[name].at_least(0.5).bound
        wide, narrow = (np.diff(s[name].cancellation.interval)[0] for s in (both, fixed))
        assert wide > 1.2 * narrow
        assert both[name].cvar(0.5).interval[1] > fixed[name].cvar(0.5).interval[1]
        assert (both[name].quantiles(0.5).low <= fixed[name].quantiles(0.5).low).all()
    sequence, plain = (compare(s)["A", "B"] for s in (both, fixed))
    assert sequence.p > plain.p
    assert np.diff(sequence.interval) > 1.2 * np.diff(plain.interval)
    for options in ({"test": "sign-flip"}, {"correction": "max-t"}):
        option, given = next(iter(options.items()))
        with pytest.raises(DataError, match=rf"^{option}='{given}' is for a number of references that was fixed"):
            compare(both, **options)
    with pytest.raises(DataError, match=r"^the bootstrap is for a number of references that was fixed beforehand"):
        both["A"].bootstrap()


# -- choices among many


@pytest.mark.slow
def test_the_winner_and_all_differences_at_once():
    situation = SITUATIONS["the best of 6 equal ones"]
    found = {of: one.value for of, one in situation.measured(40).items()}
    assert found["its own interval"] < found["at once"]
    assert min(found[of] for of in ("held out", "at once", "all differences", "behind the best")) >= 0.93 - 0.07
    assert found["a difference's width over Bonferroni's"] < 0.98
