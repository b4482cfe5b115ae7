"""What is promised of many runs, in which limits it must be found, and why these are wide where they are."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Promise:
    """A share of runs, or a mean over them: what is claimed, and where it must be found; `why` an exception is one."""

    claimed: float | None
    limits: tuple[float, float]
    why: str = ""


def covers(least: float = 0.93, most: float = 0.97, why: str = "") -> Promise:
    """A 95% interval."""
    return Promise(0.95, (least, most), why)


def errs(level: float, why: str = "") -> Promise:
    """A bound or a test that is wrong in at most a share `level` of runs."""
    return Promise(level, (0.0, level + 0.01), why)


@dataclass(frozen=True)
class Found:
    """A mean over runs, and its Monte Carlo error: a run at least, where all came to the same."""

    value: float
    error: float

    def keeps(self, promise: Promise) -> bool:
        """Whether it is in the limits, but for twice its own error."""
        low, high = promise.limits
        return low - 2 * self.error <= self.value <= high + 2 * self.error


@dataclass(frozen=True)
class Situation:
    """How references come about: `once` makes them from a seed, and says what came of each promise (NaN: nothing)."""

    once: Callable[[int], Mapping[str, float]]
    promises: Mapping[str, Promise]
    runs: int  # for the documentation
    few: int  # for a slow test

    def measured(self, runs: int) -> dict[str, Found]:
        """What comes of each promise in so many runs."""
        found = [self.once(seed) for seed in range(runs)]
        return {name: _mean([one[name] for one in found]) for name in self.promises}


def _mean(values: list[float]) -> Found:
    told = np.array([float(value) for value in values if not math.isnan(value)])
    return Found(float(told.mean()), max(float(told.std() / math.sqrt(len(told))), 1 / len(told)))
