"""Percentages that are expected of a score, for tests."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

from scrubbing.errors import DataError
from scrubbing.errors.arguments import check_fields

ROUNDING = 1e-9  # points; far above the rounding of a float, so that both ends belong to the range


@dataclass(frozen=True, eq=False, repr=False)
class ApproxPercent:
    """A range of percentages, equal to every fraction (or score that recovers one) inside it, its ends included."""

    percent: int | float
    within: int | float

    __array_ufunc__: ClassVar[None] = None  # numpy's numbers leave the comparison to us

    def __post_init__(self) -> None:
        check_fields(self)
        if not math.isfinite(self.percent):
            raise DataError(f"approx_percent({self.percent}): the percentage must be a finite number")
        if not 0 <= self.within < math.inf:
            raise DataError(
                f"approx_percent({self.percent:g}, within={self.within}): `within` is in percentage points, 0 or more"
            )

    def distance(self, fraction: float) -> float:
        """How far a fraction lies from the percentage, in points; negative below it."""
        return 100 * fraction - self.percent

    def __eq__(self, other: object) -> bool:
        fraction: Any = getattr(other, "recovered", other)
        if fraction is None:
            return False
        if not isinstance(fraction, Real) or isinstance(fraction, bool):
            return NotImplemented
        return abs(self.distance(float(fraction))) <= self.within + ROUNDING

    __hash__ = None  # type: ignore[assignment]  # what is equal to a range has no hash in common

    def __repr__(self) -> str:
        return f"{self.percent:g}% ± {self.within:g} points"


def approx_percent(percent: int | float, within: int | float) -> ApproxPercent:
    """The percentage that a score should recover, give or take `within` percentage points.

    Compare it with a `Score`, or with a fraction such as `score.recovered`. A score without a percentage is unequal.

    >>> 0.339 == approx_percent(35, within=3)
    True

    It looks at the point estimate alone, not at its interval. A seeded score is the same in every run, so a test of it
    passes always or never. With a new seed, a test whose true value lies d points inside an end of the range fails at
    that end with probability Phi(-d/s), where s, the standard error, is about a quarter of the interval's width: keep
    the ends two standard errors away, or draw more references.

    Raises `DataError` for numbers that are not finite, or a negative `within`.
    """
    return ApproxPercent(percent, within)
