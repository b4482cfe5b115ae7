"""Comparisons are paired, corrected and symmetric, and print as an order with ties."""

import numpy as np
import pytest
from scores import score

from scrubbing import DataError, compare
from scrubbing.score.comparison import Comparison
from scrubbing.score.statistics import benjamini_hochberg, fieller, holm

RNG = np.random.default_rng(0)
N = 300
M = RNG.lognormal(0, 0.5, size=N)
B = M + RNG.gamma(2.0, size=N)
COMMON = RNG.normal(size=N)


def recovering(fraction, *, noise=0.1, seed=0, **settings):
    """A score with noise that all share, and noise of its own."""
    own = np.random.default_rng(seed).normal(size=N)
    scrubbed = B - fraction * (B - M) + COMMON + noise * own
    return score(scrubbed, **{"original": M, "baseline": B, "rows": tuple(range(N)), **settings})


SCORES = {
    "naive": recovering(0.3),
    "refined": recovering(0.9, seed=1),
    "refined again": recovering(0.901, seed=2),
    "wild": recovering(0.88, seed=3, noise=3.0),
}
COMPARED = compare(SCORES)


PRINTED = """\
 ────────────────────────────────────────────────────────────────
 rank  hypothesis     recovered    behind the best       p  ties
 ────────────────────────────────────────────────────────────────
  1-3  refined             93.4                             a
  1-3  refined again       93.2    0.2 [-0.6, 0.9]   0.777  a
  1-3  wild                83.3  10.1 [-7.4, 28.0]   0.777  a
 ────────────────────────────────────────────────────────────────
    4  naive               33.0  60.3 [59.5, 61.2]  <0.001  b
 ────────────────────────────────────────────────────────────────
p: 6 paired t tests, Holm's correction (chance of any false finding: 5%)
ties: one letter, no significant difference; a line: all above beat all below
percent of the loss recovered; 95% intervals of paired differences, uncorrected
300 references, seed 0; estimates the mean over the source of the data
the mean loss is kept better than single losses are by: refined, refined again,
wild
"""


def test_the_best_comes_first_and_ties_are_marked():
    lines = str(COMPARED).splitlines()
    assert [line.rstrip() for line in lines] == PRINTED.splitlines()
    assert max(map(len, lines)) <= 80


def test_differences_are_paired():
    found = COMPARED["refined", "naive"]
    advantage = np.array(SCORES["naive"].by_reference.scrubbed) - np.array(SCORES["refined"].by_reference.scrubbed)
    assert found.difference == pytest.approx(SCORES["refined"].recovered - SCORES["naive"].recovered)
    assert found.interval == pytest.approx(fieller(advantage, B - M))
    unpaired = SCORES["refined"].interval[1] - SCORES["refined"].interval[0]
    assert found.interval[1] - found.interval[0] < unpaired / 3


def test_each_pair_reads_both_ways():
    forth, back = COMPARED["refined", "naive"], COMPARED["naive", "refined"]
    assert (back.first, back.second, back.difference) == ("naive", "refined", -forth.difference)
    assert back.interval == (-forth.interval[1], -forth.interval[0])
    assert (back.p, back.corrected) == (forth.p, forth.corrected)


def test_a_comparison_with_itself_is_exactly_zero():
    same = compare({"one": SCORES["naive"], "two": SCORES["naive"]})
    found = same["one", "two"]
    assert (found.difference, found.interval, found.p, found.corrected) == (0, (0, 0), 1, 1)
    assert [(s.rank, s.ties, s.tier) for s in same.standings] == [((1, 2), "a", 1)] * 2


@pytest.mark.parametrize("correction", ["holm", "benjamini-hochberg", "max-t"])
def test_a_comparison_with_itself_is_a_tie_whatever_the_correction(correction):
    same = compare({"one": SCORES["naive"], "two": SCORES["naive"], "three": SCORES["refined"]}, correction=correction)
    assert same["one", "two"].corrected == 1
    assert same["three", "one"].corrected < 0.001


def test_the_order_has_tiers_and_ranks():
    assert COMPARED.order[-1] == ("naive",)
    assert {name for tier in COMPARED.order for name in tier} == SCORES.keys()
    ranks = {standing.name: standing.rank for standing in COMPARED.standings}
    assert ranks["naive"] == (4, 4)
    assert all(1 <= low <= high <= 3 for name, (low, high) in ranks.items() if name != "naive")


@pytest.mark.parametrize(("correction", "correct"), [("holm", holm), ("benjamini-hochberg", benjamini_hochberg)])
@pytest.mark.parametrize(("against", "tests"), [(None, 6), ("naive", 3)])
def test_p_values_are_corrected_for_the_tests_that_were_made(correction, correct, against, tests):
    found = compare(SCORES, correction=correction, against=against)
    assert found.tests == len(found.differences) == tests
    p, corrected = (np.array([getattr(d, kind) for d in found.differences]) for kind in ("p", "corrected"))
    assert corrected == pytest.approx(correct(p))


def test_all_that_was_tried_counts():
    assert compare(SCORES, tried=20).tests == 190
    few, many = compare(SCORES, against="naive"), compare(SCORES, against="naive", tried=1000)
    assert (few.tests, many.tests) == (3, 999)
    assert all(m.corrected >= f.corrected for f, m in zip(few.differences, many.differences, strict=True))
    assert "counted: 20 hypotheses tried, 4 of them shown" in str(compare(SCORES, tried=20))


def test_against_one_there_is_no_order():
    found = compare(SCORES, against="naive")
    assert all(standing.rank is standing.ties is standing.tier is None for standing in found.standings)
    with pytest.raises(DataError, match=r"^'refined' and 'wild' were not compared; leave out against= to compare all "):
        found["refined", "wild"]
    assert "beyond naive" in str(found)


def test_names_are_the_scores_own_where_they_are_unique():
    first, second = (s.model_copy(update={"name": name}) for s, name in zip(SCORES.values(), "ab", strict=False))
    assert {s.name for s in compare([first, second]).standings} == {"a", "b"}
    assert {s.name for s in compare([first, first]).standings} == {"1", "2"}
    assert {s.name for s in compare(list(SCORES.values())).standings} == {"1", "2", "3", "4"}


def test_tables_have_a_row_for_each_hypothesis_and_each_pair():
    assert COMPARED.table["name"].tolist() == [standing.name for standing in COMPARED.standings]
    assert COMPARED.table["recovered"].is_monotonic_decreasing
    assert COMPARED.pairs[["first", "second"]].drop_duplicates().shape == (6, 2)
    assert "naive" in COMPARED._repr_mimebundle_()["text/html"]


def test_it_comes_back_from_json_as_it_was():
    assert Comparison.model_validate_json(COMPARED.model_dump_json()) == COMPARED


def test_without_a_percentage_losses_are_compared():
    flat = [score(M + shift, original=M, baseline=M, rows=tuple(range(N))) for shift in (0.0, 0.5)]
    found = compare(flat)
    assert (found.unit, found["1", "2"].difference) == ("loss", pytest.approx(0.5))
    (remark,) = found.remarks
    assert remark == "the baseline does not differ significantly from the network: differences are of mean losses"
    assert "1.6194  0.5000 [0.5000, 0.5000]  <0.001" in str(found)
    assert "\nlosses; 95% intervals" in str(found)


def test_against_other_baselines_losses_are_compared():
    found = compare([SCORES["naive"], recovering(0.9, baseline=B + 1)])
    assert found.unit == "loss"
    assert found.remarks[0] == (
        "the baselines differ, and so does what there is to recover: differences are of mean losses"
    )


def test_names_cannot_move_the_cursor_or_be_markup():
    printed = str(compare({"[red]\x1b[2J": SCORES["naive"], "b\nc": SCORES["refined"]}))
    assert r"[red]\x1b[2J" in printed
    assert r"b\nc" in printed
    assert "\x1b" not in printed


REFUSED = {
    "one": ({"a": SCORES["naive"]}, {}, "1 score given, but only two or more can be compared"),
    "other references": (
        [SCORES["naive"], recovering(0.5, rows=tuple(range(1, N + 1)))],
        {},
        "only scores on the same references and seed can be compared; these have 300 references with seed 0 and 300",
    ),
    "another seed": (
        [SCORES["naive"], recovering(0.5, seed=1).model_copy(update={"seed": 1})],
        {},
        "only scores on the same references and seed can be compared",
    ),
    "other data": (
        [SCORES["naive"], recovering(0.5, original=M + 0.1)],
        {},
        "only scores of one network on the same data can be compared; its own loss of row 0 is",
    ),
    "against nobody": (SCORES, {"against": "naiv"}, "against='naiv' is none of the scores; did you mean 'naive'?"),
    "no correction": (SCORES, {"correction": "none"}, "correction='none', but it must be \"holm\", "),
    "max-t of a selection": (SCORES, {"correction": "max-t", "tried": 9}, 'correction="max-t" is for all pairs'),
    "fewer tried than shown": (SCORES, {"tried": 3}, "tried=3, but 4 scores are given, and each was tried"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("scores", "settings", "message"), [pytest.param(*case, id=n) for n, case in REFUSED.items()])
def test_what_cannot_be_compared_is_refused(scores, settings, message):
    with pytest.raises(DataError) as raised:
        compare(scores, **settings)
    assert str(raised.value).startswith(message)


def test_a_pair_that_was_not_there_is_named():
    with pytest.raises(DataError, match=r"^no hypothesis 'refind' was compared; did you mean 'refined'"):
        COMPARED["refind", "naive"]


@pytest.mark.slow
def test_scores_that_are_equal_are_told_apart_five_times_in_a_hundred_at_most():
    rng = np.random.default_rng(0)
    wrong = []
    for _ in range(60):
        alike = [score(COMMON + rng.normal(size=N), original=M, baseline=B, rows=tuple(range(N))) for _ in range(4)]
        wrong.append(len(compare(alike).order) > 1 or any(d.corrected <= 0.05 for d in compare(alike).differences))
    assert np.mean(wrong) <= 0.1


# -- choosing


def test_the_best_is_scored_on_references_that_did_not_choose_it():
    rng = np.random.default_rng(0)
    M, B = np.zeros(200), np.ones(200)
    equal = {
        str(k): score(0.5 + rng.normal(size=200), original=M, baseline=B, rows=tuple(range(200))) for k in range(12)
    }
    found = compare(equal, held_out=0.5)
    assert found.held_out.references == 100
    assert found.held_out.interval[0] < 0.5 < found.held_out.interval[1]
    assert f"best on the other references: {found.held_out.name}, on 100 held out " in str(found)
    assert "the interval of the best of 12 is too good for a choice; held_out=0.5" in " ".join(
        str(compare(equal)).split()
    )
    wide, own = compare(equal, simultaneous="pairs"), compare(equal)
    assert all(
        a.interval[0] < b.interval[0] < b.interval[1] < a.interval[1]
        for a, b in zip(wide.differences, own.differences, strict=True)
    )
    assert compare(equal, test="sign-flip").differences[0].p == pytest.approx(own.differences[0].p, abs=0.02)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"held_out": 1.0}, "held_out=1.0 is no share of the references; 0.5 leaves half of them out of the choice"),
        ({"test": "sign"}, "test='sign'"),
        ({"simultaneous": "all"}, 'simultaneous=\'all\', but it must be "pairs" or "best"'),
        (
            {"simultaneous": "best", "against": "a"},
            'simultaneous="best" compares each with the best; leave out against=',
        ),
    ],
)
def test_options_of_choosing_are_checked(options, message):
    with pytest.raises(DataError, match=f"^{message}"):
        compare({"a": score(np.zeros(4)), "b": score(np.ones(4))}, **options)


def test_how_far_each_is_behind_the_best_is_said_for_all_at_once():
    found = compare(SCORES, simultaneous="best")
    assert "wild" in found.may_be_best
    assert "naive" not in found.may_be_best
    standing = {each.name: each for each in found.standings}
    assert standing["refined"].behind[0] < 0
    assert 0.3 < standing["naive"].behind[0] < COMPARED["wild", "naive"].interval[0]  # if the wild one is the best
    assert "behind the best other" in str(found)
    assert f"may be the best: {', '.join(found.may_be_best)}" in str(found)
    assert compare(SCORES).may_be_best == ()
    more = compare(SCORES, simultaneous="best", tried=100)  # by Bonferroni's inequality
    assert all(a.behind[0] <= b.behind[0] for a, b in zip(more.standings, found.standings, strict=True))
    with pytest.raises(DataError, match=r"^1 score given"):
        compare({"naive": SCORES["naive"]}, simultaneous="best")
