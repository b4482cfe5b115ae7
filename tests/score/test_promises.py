"""Promises of whole runs, simulated: rows that stand in for each other, runs that stop, and choices among many."""

import numpy as np
import pytest
import torch
from scores import score

from hypotheses import toy
from scrubbing import DataError, Graph, Hypothesis, compare, reads, scrub
from scrubbing.engine.sequential import FIRST_LOOK, GROWTH, stopping_rule
from scrubbing.score.statistics import Design, interval_of_ratio

pytestmark = pytest.mark.usefixtures("unchecked")


# -- rows that are references and donors at once

CUBE = toy.digits()  # all there is: samples of it are data, and its mean is the truth
HIGH = {
    name: Hypothesis(toy.NETWORK, toy.CLAIMS["an or of thresholds"] | {node: claim})
    for name, node, claim in (("A", "A", lambda z1: z1 > 5), ("B", "B", lambda z2: z2 > 5))
}  # equal by symmetry


def sampled(seed, rows=200):
    chosen = torch.from_numpy(np.random.default_rng(seed).integers(0, 1000, rows))
    return {name: column[chosen] for name, column in CUBE.items()}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"draws": 8}, {"exact": True}], ids=str)
def test_rows_that_stand_in_for_each_other_keep_every_promise(settings):
    truth = scrub(HIGH["A"], CUBE, baseline=toy.KNOWS_NOTHING, exact=True, estimand="dataset").recovered
    held, greater, p, over = [], [], [], []
    for seed in range(200):
        scores = scrub(HIGH, sampled(seed), baseline=toy.KNOWS_NOTHING, seed=seed, check=False, **settings)
        for one in scores.values():
            held.append(one.interval[0] <= truth <= one.interval[1])
            over.append(bool(one.at_least(truth)))
        greater += [scores["A"] > scores["B"], scores["B"] > scores["A"]]
        p.append(compare(scores)["A", "B"].p)
    assert 0.93 - 0.015 <= np.mean(held) <= 0.97 + 0.015  # of .89, .78 and .69 with independent references
    assert np.mean(over) <= 0.06 + 0.02
    assert np.mean(greater) <= 0.035 + 0.015
    assert np.mean(np.array(p) <= 0.05) <= 0.06 + 0.03


@pytest.mark.slow
@pytest.mark.parametrize("classes", [100, 500])
def test_datums_that_stand_in_for_themselves_do_not_make_a_bound_wrong(classes):
    """Half of the loss is recovered by classes without end."""
    G = Graph(a=lambda z: z, loss=lambda a, z: (a - z) ** 2)
    h = Hypothesis(G, Graph(a=lambda z, c: c, loss=reads("a", "z")), columns=("c",))
    held, over = [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        c = rng.integers(0, classes, 1000)
        data = {"c": c, "z": torch.tensor(rng.normal(size=classes)[c] + rng.normal(size=1000))}
        found = scrub(h, data, baseline=Graph(loss=reads("z")), seed=seed, check=False)
        held.append(found.interval[0] <= 0.5 <= found.interval[1])
        over.append(bool(found.at_least(0.55)))
    assert np.mean(held) >= 0.93  # wider than need be: what the other references hide is not known
    assert np.mean(over) <= 0.06


# -- runs that stop


def stopped(rng, draw, half_width, *, most=20_000):
    """The interval at which a run stops."""
    rule = stopping_rule(half_width, most)
    kept, gap = draw(rng, most)
    n = FIRST_LOOK
    while True:
        design = rule.design(Design.independent(n))
        low, high = interval_of_ratio(kept[:n], gap[:n], design=design, signed=False)
        widest = (high - low) / 2
        if widest <= half_width or n == most:
            return low, high, n
        n = int(np.ceil(min(max(n * (widest / half_width) ** 2, GROWTH[0] * n), GROWTH[1] * n, most)))


def rare(rng, n):
    """One in 200 references loses ten times what there is to recover, and the others nothing."""
    gap = 1 + rng.gamma(2.0, 0.5, n)
    return gap - (rng.random(n) < 0.005) * 5.2 * rng.gamma(2.0, 1.0, n), gap


def ordinary(rng, n):
    gap = 1 + rng.gamma(2.0, 0.5, n)
    return 0.7 * gap + 0.5 * rng.standard_t(6, size=n), gap


@pytest.mark.parametrize(("draw", "truth", "width"), [(rare, 0.974, 0.02), (ordinary, 0.7, 0.02)])
def test_runs_that_stop_hold_the_truth(draw, truth, width):
    rng = np.random.default_rng(0)
    found = [stopped(rng, draw, width) for _ in range(40)]
    assert np.mean([low <= truth <= high for low, high, _ in found]) >= 0.93
    assert all(high - low <= 2 * width + 1e-12 for low, high, n in found if n < 20_000)


@pytest.mark.slow
@pytest.mark.parametrize(("draw", "truth", "width"), [(rare, 0.974, 0.01), (rare, 0.974, 0.02), (ordinary, 0.7, 0.02)])
def test_many_runs_that_stop_hold_the_truth(draw, truth, width):
    """At 0.01 a run of the rare losses was wrong in 26 of 60: it stopped before it had seen one."""
    rng = np.random.default_rng(1)
    found = [stopped(rng, draw, width) for _ in range(400)]
    assert np.mean([low <= truth <= high for low, high, _ in found]) >= 0.93


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


def equal(rng, count, n=200):
    """Scores of hypotheses that all recover half."""
    gap = 1 + rng.gamma(2.0, 0.5, n)
    common = rng.normal(size=n) / 2
    losses = [0.5 * gap + common + rng.normal(size=n) for _ in range(count)]
    made = [score(loss, original=np.zeros(n), baseline=gap, rows=tuple(range(n))) for loss in losses]
    return {str(k): one for k, one in enumerate(made)}


def chosen(rng, count, replications):
    """How often the winner's own interval has the truth, that of references that did not choose it, and all at once."""
    own, held_out, all_at_once = [], [], []
    for _ in range(replications):
        scores = equal(rng, count)
        best = min(scores.values(), key=lambda one: one.scrubbed)
        found = compare(scores, held_out=0.5, simultaneous=True)
        own.append(best.interval[0] <= 0.5 <= best.interval[1])
        held_out.append(found.held_out.interval[0] <= 0.5 <= found.held_out.interval[1])
        all_at_once.append(all(d.interval[0] <= 0 <= d.interval[1] for d in found.differences))
    return np.mean(own), np.mean(held_out), np.mean(all_at_once)


def test_the_winner_on_references_that_did_not_choose_it_and_all_differences_at_once():
    own, held_out, all_at_once = chosen(np.random.default_rng(0), 6, 40)
    assert own < held_out + 0.02
    assert held_out >= 0.93 - 0.07
    assert all_at_once >= 0.93 - 0.07


@pytest.mark.slow
def test_the_winner_of_26_in_many_runs():
    own, held_out, all_at_once = chosen(np.random.default_rng(1), 26, 150)
    assert own < 0.8  # which is why its own interval is warned of
    assert 0.93 - 0.035 <= held_out <= 0.97 + 0.03
    assert all_at_once >= 0.93
