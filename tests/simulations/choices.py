"""The best of many hypotheses, and runs that were planned."""

import numpy as np
from scores import score

from scrubbing import compare, plan_samples
from scrubbing.score.statistics import interval_of_ratio


def several(rng, shares, n=200):
    """Scores of hypotheses that recover these shares."""
    gap = 1 + rng.gamma(2.0, 0.5, n)
    common = rng.normal(size=n) / 2
    losses = [(1 - share) * gap + common + rng.normal(size=n) for share in shares]
    made = [score(loss, original=np.zeros(n), baseline=gap, rows=tuple(range(n))) for loss in losses]
    return {str(k): one for k, one in enumerate(made)}


def the_best(shares):
    """Of hypotheses that recover these shares: each kind of interval of the winner, and of all or pairs at once."""
    shares = np.array(shares)

    def once(seed):
        scores = several(np.random.default_rng(seed), shares)
        pairs = compare(scores, held_out=0.5, simultaneous="pairs")
        best = compare(scores, simultaneous="best")
        winner, held_out = best.standings[0], pairs.held_out
        low, high = scores[winner.name].interval
        behind = {str(k): np.delete(shares, k).max() - share for k, share in enumerate(shares)}
        return {
            "its own interval": low <= shares[int(winner.name)] <= high,
            "at once": winner.interval[0] <= shares[int(winner.name)] <= winner.interval[1],
            "held out": held_out.interval[0] <= shares[int(held_out.name)] <= held_out.interval[1],
            "all differences": all(
                d.interval[0] <= shares[int(d.first)] - shares[int(d.second)] <= d.interval[1]
                for d in pairs.differences
            ),
            "behind the best": all(
                s.behind[0] - 1e-12 <= behind[s.name] <= s.behind[1] + 1e-12 for s in best.standings
            ),
            "a difference's width over Bonferroni's": _narrower(scores, pairs),
        }

    return once


def _narrower(scores, pairs) -> float:
    losses = [np.array(scores[name].by_reference.scrubbed) for name in ("0", "1")]
    gap, confidence = scores["0"].column("gap").values, 1 - 0.05 / len(pairs.differences)
    low, high = interval_of_ratio(losses[1] - losses[0], gap, confidence=confidence)
    return float(np.diff(pairs["0", "1"].interval)[0]) / (high - low)


def skewed(rng, n):
    """A score of `n` references, whose losses are somewhat skewed."""
    gap = 1 + rng.gamma(2.0, 0.5, n)
    lost = 0.3 * gap + rng.gamma(4.0, 0.3, n) - 1.2
    return score(lost, original=np.zeros(n), baseline=gap, rows=tuple(range(n)))


def planned(pilot: int, assurance: float):
    """A pilot, and the run of the size that it plans for a half-width of 5 points."""

    def once(seed):
        rng = np.random.default_rng(seed)
        plan = plan_samples(skewed(rng, pilot), 0.05, assurance=assurance)
        low, high = skewed(rng, plan.references).interval
        return {"width reached": (high - low) / 2 <= 0.05}

    return once
