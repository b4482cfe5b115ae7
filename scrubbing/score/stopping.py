"""Runs that draw references until their interval is narrow enough, and intervals that may be looked at meanwhile."""

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict

from scrubbing.statistics import fieller, fieller_sequence


class Stopping(BaseModel):
    """How a run came to its number of references, where it drew them until its interval was narrow enough.

    `half_width` is what was asked for, `most` the number of references that it could have drawn, `tightest_at` the
    number that the confidence sequence was tuned for, `reached` whether the interval became that narrow.
    """

    model_config = ConfigDict(frozen=True)

    half_width: float
    most: int
    tightest_at: float
    reached: bool

    def in_words(self, interval: tuple[float, float] | None) -> str:
        """What kind of interval this is, and whether it is as narrow as was asked for."""
        kind = "an asymptotic confidence sequence, valid under looking"
        asked = f"{100 * self.half_width:g} percentage points"
        if self.reached:
            return f"references were drawn until the half-width was below {asked}; the interval is {kind}"
        width = "unbounded" if interval is None else f"{50 * (interval[1] - interval[0]):.2g}"
        return (
            f"the half-width of {asked} was not reached with the {self.most:,} references allowed, it is {width}; "
            f"the interval is {kind}"
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
