"""Rows that stand in for each other, for themselves, by position; and rows of one group."""

from functools import cache

import numpy as np
import torch

from hypotheses import toy
from scrubbing import Graph, Hypothesis, Node, compare, per_position, reads, scrub
from scrubbing.score.statistics import Design, clustering, interval_of_mean, interval_of_ratio, p_of_mean

CUBE = toy.digits()  # all there is: samples of it are data, and its mean is the truth
HIGH = {
    name: Hypothesis(toy.NETWORK, toy.CLAIMS["an or of thresholds"] | {node: claim})
    for name, node, claim in (("A", "A", lambda z1: z1 > 5), ("B", "B", lambda z2: z2 > 5))
}  # equal by symmetry


def sampled(seed, rows=200):
    chosen = torch.from_numpy(np.random.default_rng(seed).integers(0, 1000, rows))
    return {name: column[chosen] for name, column in CUBE.items()}


@cache
def _recovered() -> float:
    return scrub(HIGH["A"], CUBE, baseline=toy.KNOWS_NOTHING, exact=True, estimand="dataset").recovered


def shared(**settings):
    """All of 200 rows are references, and donors of each other; two hypotheses are equally good."""

    def once(seed):
        truth = _recovered()
        scores = scrub(HIGH, sampled(seed), baseline=toy.KNOWS_NOTHING, seed=seed, check=False, **settings)
        a, b = scores["A"], scores["B"]
        return {
            "interval": np.mean([one.interval[0] <= truth <= one.interval[1] for one in (a, b)]),
            "at_least": np.mean([bool(one.at_least(truth)) for one in (a, b)]),
            ">": np.mean([a > b, b > a]),
            "compare": compare(scores)["A", "B"].p <= 0.05,
        }

    return once


G = Graph(a=lambda z: z, loss=lambda a, z: (a - z) ** 2)
BY_CLASS = Hypothesis(G, Graph(a=lambda z, c: c, loss=reads("a", "z")), columns=("c",))


def small_classes(classes):
    """Of 1,000 rows; half of the loss is recovered by classes without end."""

    def once(seed):
        rng = np.random.default_rng(seed)
        c = rng.integers(0, classes, 1000)
        data = {"c": c, "z": torch.tensor(rng.normal(size=classes)[c] + rng.normal(size=1000))}
        found = scrub(BY_CLASS, data, baseline=Graph(loss=reads("z")), seed=seed, check=False)
        return {
            "interval": found.interval[0] <= 0.5 <= found.interval[1],
            "at_least(0.55)": bool(found.at_least(0.55)),
        }

    return once


LETTERS = Graph(a=Node(lambda v: 1 * v, ("v",), position_axis=1), loss=lambda a, z: a.mean(dim=1) + z)
BY_KIND = Hypothesis(
    LETTERS, Graph(a=per_position(lambda kind, v: kind), loss=reads("a", "z")), columns=("kind",)
)  # a position has the value of a row with its kind there


def texts(rng, rows, positions):
    """Rows whose values have something in common at all positions: 1.9 on average."""
    kind = rng.integers(0, 2, (rows, positions))
    v = kind + rng.gamma(2.0, 0.7, size=(rows, 1)) + rng.normal(size=(rows, positions)) / 2
    return {name: torch.tensor(of) for name, of in {"kind": kind, "v": v, "z": rng.normal(size=rows) / 2}.items()}


def by_position(*, rows=200, positions=4, **settings):
    """A donor for each position: of the mean scrubbed loss, with its interval as if references were independent."""

    def once(seed):
        data = texts(np.random.default_rng(seed), rows, positions)
        found = scrub(BY_KIND, data, baseline=Graph(loss=reads("z")), seed=seed, check=False, **settings)
        low, high = found.readings["loss"].interval
        alone = interval_of_mean(np.array(found.by_reference.scrubbed))
        return {"interval": low <= 1.9 <= high, "as if independent": alone[0] <= 1.9 <= alone[1]}

    return once


def grouped(rng, groups, *, alike=0.5):
    """References in groups of 1 to 40, which share a part of their values: 0.7 of what there is to recover."""
    group = np.repeat(np.arange(groups), rng.integers(1, 41, size=groups))
    gap = 2 + rng.gamma(2.0, size=len(group)) / 2
    common, own = rng.normal(size=groups)[group], rng.normal(size=len(group))
    return 0.7 * gap + np.sqrt(alike) * common + np.sqrt(1 - alike) * own, gap, group


def of_files(groups, alike):
    """Files as the shipped data have them: what their rows share multiplies the variance."""

    def once(seed):
        rng = np.random.default_rng(seed)
        kept, gap, group = grouped(rng, groups, alike=alike)
        design = Design(group, group)
        low, high = interval_of_ratio(kept, gap, design=design, signed=False)
        bound = interval_of_ratio(kept, gap, design=design, signed=False, confidence=0.9)[0]
        alone = interval_of_ratio(kept, gap, signed=False)
        return {
            "interval": low <= 0.7 <= high,
            "at_least": bound > 0.7,
            "compare": p_of_mean(kept - 0.7 * gap, design=design) <= 0.05,
            "design effect": clustering(kept, gap, design).design_effect,
            "without groups": alone[0] <= 0.7 <= alone[1],
        }

    return once
