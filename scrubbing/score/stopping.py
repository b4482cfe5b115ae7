"""Runs that draw references until their interval is narrow enough, and intervals that stay valid meanwhile."""

import math

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict

from scrubbing.score.statistics import fieller, fieller_sequence
from scrubbing.score.verdicts import points


class Stopping(BaseModel):
    """The rule of a run with `until`, and whether it was reached.

    `half_width` is the user's `until`, `most` the number of references that it could have drawn, `tightest_at` the
    number that the confidence sequence was tuned for, `reached` whether the interval became that narrow.
    """

    model_config = ConfigDict(frozen=True)

    half_width: float
    most: int
    tightest_at: int
    reached: bool

    def in_words(self, interval: tuple[float, float] | None) -> str:
        """The kind of interval, and whether it is as narrow as `until`."""
        kind = "the interval is of an asymptotic confidence sequence, valid under looking"
        width = math.inf if interval is None else (interval[1] - interval[0]) / 2
        if width <= self.half_width:
            return kind
        found = "unbounded" if interval is None else f"{100 * width:.2g}"
        return f"{kind}; half its width was to be {points(self.half_width)}, and is {found}"

    @property
    def not_reached(self) -> str:
        """The warning of a run that used up its references."""
        return (
            f"the half-width of {points(self.half_width)} was not reached with {self.most:,} references, the most that "
            f"could be drawn; allow more (references=), or draw more donors for each (draws=)"
        )


def fraction_interval(
    values: Float[np.ndarray, " reference"],
    gap: Float[np.ndarray, " reference"],
    stopping: Stopping | None = None,
    *,
    confidence: float = 0.95,
) -> tuple[float, float] | None:
    """The interval of mean(values)/mean(gap), for a number of references fixed beforehand or stopped at by looking."""
    if stopping is None:
        return fieller(values, gap, confidence=confidence)
    return fieller_sequence(values, gap, tightest_at=stopping.tightest_at, confidence=confidence)
