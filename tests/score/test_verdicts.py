"""What holds in an assert, and what it prints: bounds, equality, and the errors that they make as often as they say."""

import numpy as np
import pytest
from scores import BASELINE, HALF, ORIGINAL, score

from scrubbing import DataError, Graph, Hypothesis, reads, scrub
from scrubbing.score.statistics import fieller

RNG = np.random.default_rng(0)
ROWS = tuple(range(200))
M = RNG.lognormal(0, 0.5, size=200)
B = M + RNG.gamma(2.0, size=200)


def recovering(fraction, *, noise=0.3, seed=0):
    """A score of the same network on the same references, with noise of its own."""
    own = np.random.default_rng(seed).normal(size=200) * noise
    return score(B - fraction * (B - M) + own - own.mean(), original=M, baseline=B, rows=ROWS)


def test_at_least_is_a_one_sided_bound():
    ninety = recovering(0.9)
    kept, gap = B - np.array(ninety.by_reference.scrubbed), B - M
    bound = fieller(kept, gap, confidence=0.9)[0]
    assert ninety.at_least(0.5).bound == pytest.approx(bound)
    assert ninety.at_least(bound)
    assert not ninety.at_least(bound + 1e-5)
    assert ninety.at_least(0.5, level=0.025).bound == pytest.approx(ninety.interval[0])


def test_at_least_prints_the_numbers_that_decided():
    assert str(recovering(0.9).at_least(0.8)) == "at least 80.0%: 90.0% recovered, at least 88.3% with 95% confidence"
    assert repr(recovering(0.9).at_least(0.95)) == (
        "not shown to be at least 95.0%: 90.0% recovered, at least 88.3% with 95% confidence"
    )


def test_nothing_is_at_least_anything_where_there_is_no_interval():
    nothing = score(BASELINE, original=BASELINE).at_least(-10.0)
    assert not nothing
    assert str(nothing) == (
        "not shown to be at least -1000.0%: the baseline does not differ significantly from the network"
    )


def test_what_changes_nothing_recovers_at_least_what_so_many_references_can_show():
    nothing_lost = score(M, original=M, baseline=B, rows=ROWS)
    assert nothing_lost.at_least(0.9)
    assert not nothing_lost.at_least(0.999)  # one in a thousand would hardly have been seen among 200


def test_an_empty_hypothesis_is_not_at_least_anything():
    graph = Graph(h=lambda x: 1 * x, loss=lambda h, y: (h - y).abs())
    h = Hypothesis(graph, Graph(h=reads("x"), loss=reads("h", "y")))
    data = {"x": [0, 1, 2, 3], "y": [0, 1, 2, 3]}
    found = scrub(h, data, baseline=Graph(loss=reads("y")), references=50)
    assert found.recovered == 1
    assert not found.at_least(0.5)
    assert str(found.at_least(0.5)).endswith(", so 100% is recovered by construction")


def test_a_score_equals_itself_within_anything():
    same = HALF.equals(HALF, within=1e-9)
    assert same
    assert (same.difference, same.interval) == (0, (0, 0))


def test_equality_is_an_interval_within_the_margin():
    first, second = recovering(0.9), recovering(0.88, seed=1)
    found = first.equals(second, within=0.1)
    advantage = np.array(second.by_reference.scrubbed) - np.array(first.by_reference.scrubbed)
    assert found.interval == pytest.approx(fieller(advantage, B - M, confidence=0.9))
    assert found.difference == pytest.approx(0.02)
    assert found
    assert not first.equals(second, within=0.02)
    assert not first.equals(second, within=found.interval[1])
    assert str(found) == "equal to within 10 points: they differ by 2.0, 90% interval [-0.5, 4.5]"
    assert repr(first.equals(second, within=0.01)).startswith("not shown to be equal to within 1 point: they differ")


def test_no_equality_without_a_percentage():
    nothing = score(BASELINE, original=BASELINE)
    assert not nothing.equals(nothing, within=0.5)
    assert "the baseline does not differ significantly" in str(nothing.equals(nothing, within=0.5))


REFUSED = {
    "another baseline": (
        HALF,
        score((ORIGINAL + BASELINE) / 2, baseline=BASELINE + 1),
        0.1,
        "only scores against the same baseline have fractions to compare; score both in one call",
    ),
    "another network": (
        HALF,
        score(ORIGINAL, original=ORIGINAL + np.array([0, 0, 0, 1])),
        0.1,
        "only scores of one network on the same data can be compared; its own loss of row 3 is 2 in the first and 3 in "
        "the second",
    ),
    "no margin": (HALF, HALF, 0.0, "within=0.0, but nothing is shown to be closer than that; give a margin such as"),
}


@pytest.mark.parametrize(("one", "other", "within", "message"), [pytest.param(*c, id=n) for n, c in REFUSED.items()])
def test_what_cannot_be_equal_is_refused(one, other, within, message):
    with pytest.raises(DataError, match=f"^{message}"):
        one.equals(other, within=within)


def test_differences_that_rounding_explains_are_none():
    single = float(np.finfo(np.float32).eps)
    first, second = (score(ORIGINAL + shift, precision=single) for shift in (0.0, 1e-7))
    assert not first > second
    assert first.equals(second, within=1e-6).difference == 0
    assert not first.equals(second, within=1e-6)  # what four references do not show may be there
    assert score(ORIGINAL) > score(ORIGINAL + 1e-7)


# -- how often they err


def errors_of(decide, *, replications=1500, n=100):
    """How often a decision about two hypotheses is made, by pairs of losses with a common part and heavy tails."""
    rng = np.random.default_rng(0)
    decisions = []
    for _ in range(replications):
        gap, common = rng.gamma(2.0, size=n), rng.standard_t(5, size=n)
        noise = rng.standard_t(5, size=(2, n)) / 2
        decisions.append(decide(gap, common, noise))
    return np.mean(decisions)


def within(interval, margin):
    return -margin < interval[0] and interval[1] < margin


@pytest.mark.slow
def test_two_hypotheses_at_the_margin_are_called_equal_as_seldom_as_was_said():
    def called_equal(apart):
        return errors_of(
            lambda gap, _, noise: within(fieller(noise[0] - noise[1] + apart * gap, gap, confidence=0.9), 0.2)
        )

    assert called_equal(0.2) == pytest.approx(0.05, abs=0.015)
    assert called_equal(0.0) > 0.9


def test_a_bound_is_too_high_as_seldom_as_was_said():
    too_high = errors_of(lambda gap, common, _: fieller(0.8 * gap + common, gap, confidence=0.9)[0] > 0.8)
    assert too_high == pytest.approx(0.05, abs=0.015)


@pytest.mark.slow
def test_the_paired_test_finds_what_the_unpaired_one_misses():
    def paired(gap, common, noise):
        return score_of(common + noise[0]) > score_of(common + noise[1] + 0.3)

    def score_of(losses):
        return score(losses, original=np.zeros(100), baseline=np.ones(100), rows=tuple(range(100)))

    def unpaired(gap, common, noise):
        first, second = common + noise[0], common + noise[1] + 0.3
        error = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 100)
        return (second.mean() - first.mean()) / error > 1.96

    assert errors_of(paired, replications=300) > 0.8
    assert errors_of(unpaired, replications=300) < 0.5


# -- what no test is passed by


def untested():
    """A hypothesis that leaves no freedom, on the same network and references as one that does."""
    graph = Graph(h=lambda x: 1 * x, loss=lambda h, y: (h - y).abs())
    data = {"x": np.arange(20.0), "y": np.arange(20.0)}
    claims = {
        "all": Graph(h=reads("x"), loss=reads("h", "y")),
        "half": Graph(h=lambda x: x > 9, loss=reads("h", "y")),
    }
    named = {name: Hypothesis(graph, I) for name, I in claims.items()}
    return scrub(named, data, baseline=Graph(loss=reads("y")), draws=20)


def test_where_nothing_was_tested_no_comparison_is_won():
    scores = untested()
    everything, half = scores["all"], scores["half"]
    assert everything.recovered == 1 > half.recovered
    assert not everything > half
    assert not half < everything
    assert not half > everything
    equality = everything.equals(everything, within=0.5)
    assert not equality
    assert str(equality).startswith("not shown to be equal to within 50 points: nothing was tested")
    assert not half.equals(everything, within=10.0)


def test_where_the_baseline_does_better_nothing_is_at_least_anything():
    backwards = score(M + 0.01 * RNG.normal(size=200), original=B, baseline=M, rows=ROWS)
    assert backwards.recovered < 0.1
    kept = score(B, original=B, baseline=M, rows=ROWS)
    assert kept.recovered == 1
    assert not kept.at_least(0.5)
    assert "the baseline's loss is below the network's" in str(kept.at_least(0.5))
    assert "the baseline's loss is below the network's" in str(kept)


@pytest.mark.parametrize("compare", [lambda s: s > 0.9, lambda s: s < 0.5, lambda s: 0.9 < s, lambda s: s > 1])
def test_a_score_is_no_number(compare):
    with pytest.raises(DataError, match=r"^a score is compared with scores; write score.at_least\((0.9|0.5|1)\)"):
        compare(HALF)
