"""Which interval and test of a mean or a ratio: by how the values are distributed over references.

- few references carry the mean, or none does: Fay and Feuer's for rare events, Clopper and Pearson's for shares
- the values are skewed for their number: Student's and Fieller's, with the quantiles of the bootstrapped t, and where
  the tail is heavy no narrower than Fay and Feuer's
- else Student's and Fieller's own

Where one looked at references while they were drawn, each has a counterpart that stays valid (`looking.py`).
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

from scrubbing.score.statistics.columns import Column, Design, Moments, Values, as_column, moments
from scrubbing.score.statistics.critical import Critical, critical, is_heavy, student
from scrubbing.score.statistics.looking import Looking, betting
from scrubbing.score.statistics.means import mean_interval
from scrubbing.score.statistics.rare import clopper_pearson, is_rare, p_of_zero, rare_mean, ratio_of_intervals
from scrubbing.score.statistics.ratios import ratios_within

Interval = tuple[float, float]

FEWEST = 20  # independent units, below which no interval is honest without a model
FURTHER = 4.0  # times what there is to recover (root mean square): how much a reference of which none was seen may lose


@dataclass(frozen=True, eq=False)
class Ratio:
    """A ratio of two means over the same references, with what its interval is made of: each is computed once."""

    numerator: Column
    denominator: Column
    design: Design | None = None

    @classmethod
    def of(cls, numerator: Values, denominator: Values, design: Design | None = None) -> "Ratio":
        """The ratio of two means, of columns or of values that have no donors."""
        return cls(as_column(numerator), as_column(denominator), design)

    @cached_property
    def moments(self) -> Moments:
        """Of the numerator and the denominator."""
        return moments([self.numerator, self.denominator], self.design)

    @cached_property
    def law(self) -> Critical | Looking:
        """Of the numerator less the ratio times the denominator."""
        return critical_of(self.moments, self.design)

    @cached_property
    def carried_by(self) -> str:
        """By "few kept" or "few lost" references, or by many."""
        return _carried_by(self.numerator, self.denominator, self.design)

    @property
    def is_too_heavy(self) -> bool:
        """As `too_heavy`."""
        if self.moments.df < FEWEST - 1:
            return False
        return self.carried_by == "many" and is_heavy(_parts(self.moments, self.design))

    def interval(self, *, confidence: float = 0.95, signed: bool = True) -> Interval | None:
        """As `interval_of_ratio`."""
        if self.moments.df < 1:
            return None
        if self.carried_by == "many":
            return ratios_within(self.moments, *self.law.bounds(confidence)[::-1])
        a, b, design = self.numerator, self.denominator, self.design
        rare = a if self.carried_by == "few kept" else b - a
        rare = replace(rare, values=_beyond_rounding(rare.values, b))
        bottom = mean_interval(b, confidence=confidence, design=design)
        assert bottom is not None  # for the type checker: there are two units
        top = _rare_interval(rare, b, design, confidence=confidence, signed=signed)
        ends = ratio_of_intervals(rare.mean(), top, b.mean(), bottom)
        if ends is None or self.carried_by == "few kept":
            return ends
        return 1 - ends[1], 1 - ends[0]

    @property
    def kind(self) -> str:
        """The name of the interval."""
        if self.moments.df < 1 or not self.denominator.mean():
            return "none"
        rare = self.carried_by != "many"
        if self.design is not None and self.design.tightest_at is not None:
            return f"{'rare events' if rare else 'asymptotic'} confidence sequence, valid however often one looks"
        if rare:
            return "Fay and Feuer"
        if not isinstance(self.law, Critical) or self.law.bootstrapped is None:
            return "Fieller"
        return "Fieller, bootstrapped t" + (" or Fay and Feuer" if self.law.heavy is not None else "")


def interval_of_ratio(
    numerator: Values,
    denominator: Values,
    *,
    confidence: float = 0.95,
    design: Design | None = None,
    signed: bool = True,
) -> Interval | None:
    """The interval of a ratio of means; None where the denominator is not significantly non-zero.

    Where the numerator is made by few references, or what it lacks of the denominator, one of which none was seen is
    taken to move it by four times the denominator; without `signed`, by what was seen only in the seen direction.
    """
    return Ratio.of(numerator, denominator, design).interval(confidence=confidence, signed=signed)


def interval_of_mean(
    values: Values, *, confidence: float = 0.95, design: Design | None = None, most: float | None = None
) -> Interval | None:
    """The interval of a mean; None for fewer than two independent values.

    `most` is how much a reference can have of which none was seen; None where that is not known.
    """
    column = as_column(values)
    found = moments([column], design)
    if found.df < 1:
        return None
    if most is not None and _may_be_rare(column, design) and is_rare(_by_unit(column.values, design)):
        return _rare_of(column, most, design, confidence=confidence)
    below, above = critical_of(found, design).bounds(confidence)
    mean, error = column.mean(), math.sqrt(found.variance([1.0]))
    return mean - above * error, mean + below * error


def interval_of_share(values: Values, *, confidence: float = 0.95, design: Design | None = None) -> Interval | None:
    """The interval of the mean of values between 0 and 1, which has a width also where all are 1.

    Clopper and Pearson's of as many independent units as have the variance found, if all values are 0 or 1. Else that
    of what is lacking to 1, which is often rare. By betting where one looked at independent references meanwhile.
    """
    column = as_column(values)
    inside = column.values.min(initial=0) >= 0 and column.values.max(initial=1) <= 1 + 1e-9
    if len(column) < 2 or not inside:
        return interval_of_mean(column, confidence=confidence, design=design)
    looked = design is not None and design.tightest_at is not None
    if design is not None and looked and design.are_independent:
        return betting(column.values, confidence=confidence)
    found = moments([column], design)
    share, variance = float(np.clip(column.mean(), 0, 1)), found.variance([1.0])
    if np.isin(column.values, (0, 1)).all() and not looked:
        units = share * (1 - share) / variance if variance > 0 else found.df + 1.0
        return clopper_pearson(share, min(units, len(column)), confidence=confidence)
    lacking = interval_of_mean(as_column(np.ones(len(column))) - column, confidence=confidence, design=design, most=1.0)
    return None if lacking is None else (max(0.0, 1 - lacking[1]), min(1.0, 1 - lacking[0]))


def p_of_mean(values: Values, *, design: Design | None = None, most: float | None = None) -> float:
    """The p-value of the two-sided test that a mean is zero, by the law that its interval has."""
    column = as_column(values)
    found = moments([column], design)
    if found.df < 1 or column.mean() == 0:
        return 1.0
    if most is not None and _may_be_rare(column, design) and is_rare(_by_unit(column.values, design)):
        return p_of_zero(lambda confidence: _rare_of(column, most, design, confidence=confidence), column.mean())
    error = math.sqrt(found.variance([1.0]))
    return 0.0 if error == 0 else critical_of(found, design).p_value(column.mean() / error)


def critical_of(found: Moments, design: Design | None) -> Critical | Looking:
    """The law of the first mean, or of the first less its ratio to the second times the second."""
    if design is not None and design.tightest_at is not None:
        return student(found.df, design)
    return critical(_parts(found, design), found.df)


def _parts(found: Moments, design: Design | None) -> Float[np.ndarray, " unit"]:
    """What each unit that has references adds to the mean, or to the numerator less the ratio times the denominator."""
    parts = found.parts @ _contrast(found)
    if design is None or len(parts) == found.df + 1:
        return parts
    return parts[np.unique(design.unit)]


def too_few(numerator: Values, denominator: Values, design: Design | None = None) -> str | None:
    """Why there are too few references for any honest interval; None where there are enough."""
    ratio = Ratio.of(numerator, denominator, design)
    if 1 <= ratio.moments.df < FEWEST - 1:
        return f"{ratio.moments.df + 1} independent observations are too few for any honest interval"
    if ratio.is_too_heavy:
        return "the tail of the losses is too heavy for any honest interval of so few references"
    return None


def too_heavy(numerator: Values, denominator: Values, design: Design | None = None) -> bool:
    """Whether so few references make the variance that no interval is honest, and yet too many to be rare events."""
    return Ratio.of(numerator, denominator, design).is_too_heavy


def reach(gap: Float[np.ndarray, " reference"]) -> float:
    """How much the loss of a reference may move of which none was seen, from what there is to recover."""
    return FURTHER * float(np.sqrt(np.mean(gap**2)))


def _contrast(found: Moments) -> Float[np.ndarray, " column"]:
    if len(found.means) == 1:
        return np.ones(1)
    top, bottom = found.means.tolist()
    return np.array([1.0, -top / bottom if bottom else 0.0])


def _carried_by(a: Column, b: Column, design: Design | None) -> str:
    if _may_be_rare(a, design):
        for values, kind in ((b.values - a.values, "few lost"), (a.values, "few kept")):
            if is_rare(_by_unit(_beyond_rounding(values, b), design)):
                return kind
    return "many"


def _beyond_rounding(values: Float[np.ndarray, " reference"], b: Column) -> Float[np.ndarray, " reference"]:
    """The values, with zero for those that are nothing beside the denominator's."""
    return np.where(np.abs(values) > 1e-9 * np.abs(b.values).max(initial=0), values, 0.0)


def _may_be_rare(column: Column, design: Design | None) -> bool:
    """Whether what was not seen is a matter of chance: not where donors' draws are all the chance, and are several."""
    return design is None or not design.finite or column.draws is None


def _by_unit(values: Float[np.ndarray, " reference"], design: Design | None) -> Float[np.ndarray, " unit"]:
    """What each unit adds to the mean."""
    if design is None:
        return values / len(values)
    return np.bincount(np.unique(design.unit, return_inverse=True)[1], values) / len(values)


def _stretch(column: Column, design: Design | None) -> float:
    """How much wider donors make an interval."""
    found = moments([column], design)
    without = float(found.without_donors[0, 0])
    return math.sqrt(found.variance([1.0]) / without) if without > 0 else 1.0


def _rare_of(column: Column, most: float, design: Design | None, *, confidence: float) -> Interval:
    """The interval of a rare mean of which no reference has more."""
    size = Column(np.full(len(column), most))
    return _rare_interval(column, size, design, confidence=confidence, further=1.0, bounded=True)


def _rare_interval(
    rare: Column,
    size: Column,
    design: Design | None,
    *,
    confidence: float,
    signed: bool = True,
    further: float = FURTHER,
    bounded: bool = False,
) -> Interval:
    largest = further * float(np.sqrt(np.mean(_by_unit(size.values, design) ** 2)))
    return rare_mean(
        _by_unit(rare.values, design),
        largest,
        confidence=confidence,
        signed=signed,
        bounded=bounded,
        stretch=_stretch(rare, design),
        looking=None if design is None or design.tightest_at is None else (len(rare), design.tightest_at),
    )
