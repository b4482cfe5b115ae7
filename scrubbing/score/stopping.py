"""Runs that draw references until their interval is narrow enough."""

import math
from dataclasses import replace

from pydantic import BaseModel, ConfigDict

from scrubbing.score.statistics import Design
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

    def design(self, design: Design) -> Design:
        """The same design, of references that were looked at while they were drawn."""
        return replace(design, tightest_at=self.tightest_at)

    def in_words(self, interval: tuple[float, float] | None, many: str | None = None) -> str:
        """The kind of interval, and whether it is as narrow as `until`.

        `many` says of what there must be many, where that is not references.
        """
        kind = "intervals and tests are of asymptotic confidence sequences, valid under looking"
        kind += f" where there are many {many}" if many else ""
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
