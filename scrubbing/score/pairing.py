"""Two scores on common references and random numbers, one difference for each reference."""

import math
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from scrubbing.errors import DataError
from scrubbing.score.statistics import Column

if TYPE_CHECKING:
    from scrubbing.score.measured import Measured


def paired_advantage(score: "Measured", other: "Measured") -> Column:
    """How much smaller the first's loss is, on each reference; all zero if the mean is within rounding.

    Raises `DataError` for scores that are not of one network on the same data, references and seed.
    """
    mine, theirs = score.by_reference, other.by_reference
    if mine.reference != theirs.reference or score.seed != other.seed:
        raise DataError(
            f"only scores on the same references and seed can be compared; these have {score.references} references "
            f"with seed {score.seed} and {other.references} with seed {other.seed}: score both in one call of scrub"
        )
    precision = max(score.precision, other.precision)
    own, others_own = np.array(mine.original), np.array(theirs.original)
    wrong = np.flatnonzero(np.abs(own - others_own) > math.sqrt(precision) * (np.abs(own) + np.abs(own).mean()))
    if len(wrong):
        row = mine.reference[wrong[0]]
        raise DataError(
            f"only scores of one network on the same data can be compared; its own loss of row {row} is "
            f"{own[wrong[0]]:.6g} in the first and {others_own[wrong[0]]:.6g} in the second"
        )
    advantage = other.column("scrubbed") - score.column("scrubbed")
    negligible = rounding_of_means(precision, np.array(theirs.scrubbed), np.array(mine.scrubbed))
    return Column(np.zeros(len(advantage))) if abs(advantage.mean()) <= negligible else advantage


def same_run(score: "Measured", other: "Measured") -> bool:
    """Whether two scores are of one hypothesis, by all that was measured: their difference is exactly zero."""
    if score is other:
        return True
    measured = ("by_reference", "vacuity", "donated")
    return all(getattr(score, name) == getattr(other, name) for name in measured)


def same_baseline(score: "Measured", other: "Measured") -> bool:
    """Whether two scores that are comparable have equal baseline losses, up to rounding."""
    mine, theirs = np.array(score.by_reference.baseline), np.array(other.by_reference.baseline)
    return np.allclose(mine, theirs, rtol=0, atol=math.sqrt(max(score.precision, other.precision)) * np.abs(mine).max())


def rounding_of_means(precision: float, *losses: Float[np.ndarray, " reference"]) -> float:
    """What rounding may do to a difference of means: a forward pass loses a few hundred epsilon, below eps^(3/4)."""
    return precision**0.75 * sum(float(np.mean(np.abs(each))) for each in losses)
