"""Results of tests: true or false in an assert, and printed with the numbers behind them."""

from dataclasses import dataclass

ROUNDING = 1e-6  # of a fraction recovered: where a hypothesis changes nothing, bounds are one but for rounding


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction in words.

    >>> percent(0.352), percent(-0.0001)
    ('35.2%', '0.0%')
    """
    return f"{rounded_percent(fraction, digits)}%"


def rounded_percent(fraction: float, digits: int = 1) -> str:
    """A fraction as a percentage without its sign, and without a minus sign before zero."""
    return f"{round(100 * fraction, digits) + 0.0:.{digits}f}"  # + 0.0 turns -0.0 into 0.0


def points(fraction: float) -> str:
    """A difference of fractions in words.

    >>> points(0.02), points(0.01)
    ('2 points', '1 point')
    """
    return f"{100 * fraction:g} point{'' if fraction == 0.01 else 's'}"


def interval_in_words(interval: tuple[float, float] | None, digits: int = 1) -> str:
    """An interval of fractions, in percent: "[33.1, 37.2]"."""
    return "[unbounded]" if interval is None else "[{}, {}]".format(*(rounded_percent(x, digits) for x in interval))


@dataclass(frozen=True, repr=False)
class AtLeast:
    """Whether a hypothesis recovers at least a fraction: whether a lower confidence bound does.

    If less is recovered, it is true in at most a share `level` of runs. `bound` is None, and the answer False, if the
    baseline does not differ significantly from the network. `refused` says why the percentage means nothing, if so.
    """

    fraction: float
    recovered: float | None
    bound: float | None
    level: float
    refused: str | None = None

    def __bool__(self) -> bool:
        return self.refused is None and self.bound is not None and self.bound >= self.fraction - ROUNDING

    def __str__(self) -> str:
        verdict = "at least" if self else "not shown to be at least"
        if self.refused:
            return f"{verdict} {percent(self.fraction)}: {self.refused}"
        if self.recovered is None or self.bound is None:
            return f"{verdict} {percent(self.fraction)}: the baseline does not differ significantly from the network"
        return (
            f"{verdict} {percent(self.fraction)}: {percent(self.recovered)} recovered, at least {percent(self.bound)} "
            f"with {1 - self.level:.0%} confidence"
        )

    __repr__ = __str__


@dataclass(frozen=True, repr=False)
class Equality:
    """Whether two hypotheses recover the same to within a margin: two one-sided tests (Schuirmann 1987).

    If the fractions differ by the margin or more, it is true in at most a share `level` of runs: the interval of their
    difference, at confidence 1 - 2 level, must lie within the margin. `interval` is None where there is none.
    """

    within: float
    difference: float | None
    interval: tuple[float, float] | None
    level: float
    refused: str | None = None

    def __bool__(self) -> bool:
        return (
            self.refused is None
            and self.interval is not None
            and -self.within < self.interval[0]
            and self.interval[1] < self.within
        )

    def __str__(self) -> str:
        verdict = f"{'equal' if self else 'not shown to be equal'} to within {points(self.within)}"
        if self.refused:
            return f"{verdict}: {self.refused}"
        if self.difference is None or self.interval is None:
            return f"{verdict}: the baseline does not differ significantly from the network"
        return (
            f"{verdict}: they differ by {rounded_percent(self.difference)}, "
            f"{1 - 2 * self.level:.0%} interval {interval_in_words(self.interval)}"
        )

    __repr__ = __str__
