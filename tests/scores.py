"""Scores made of losses that are written down."""

import numpy as np

from scrubbing.score import make_score, sampled_estimate
from scrubbing.score.vacuity import Vacuity

EPSILON = float(np.finfo(np.float64).eps)
ORIGINAL, BASELINE = np.array([1.0, 2.0, 3.0, 2.0]), np.array([5.0, 6.0, 6.0, 7.0])


def estimate(losses, original):
    """What one draw for each reference tells."""
    losses = np.array(losses, dtype=float).reshape(len(original), -1)
    return sampled_estimate(losses, np.array(original, dtype=float))


def score(scrubbed, *, original=ORIGINAL, baseline=BASELINE, rows=(0, 1, 2, 3), seed=0, precision=EPSILON):
    """A score from losses, one draw each."""
    return make_score(
        name=None,
        rows=np.array(rows),
        original=np.array(original, dtype=float),
        baseline=estimate(baseline, original),
        scrubbed=estimate(scrubbed, original),
        precision=precision,
        draws=1,
        seed=seed,
        settings={"others": "node"},
        vacuity=Vacuity(nodes=(), bits=1.0),
        donors={"loss/A": np.array([3, 2, 1, 0])},
    )


HALF = score((ORIGINAL + BASELINE) / 2)
