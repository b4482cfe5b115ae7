"""Losses of which few references have much: heavy tails, rare failures, shares near one, means of tails."""

from collections.abc import Callable

import numpy as np

from scrubbing.engine.sequential import FIRST_LOOK, GROWTH, stopping_rule
from scrubbing.score.statistics import (
    Design,
    conditional_value_at_risk,
    interval_of_ratio,
    interval_of_share,
    too_few,
    too_heavy,
)

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def lognormal(sigma: float) -> Draw:
    """Half of the loss is recovered on average, and what is lost is lognormal."""
    mean = np.exp(sigma**2 / 2)
    return lambda rng, n: (2 * mean - rng.lognormal(0, sigma, n), np.full(n, 2 * mean))


def rare(share: float, size: float) -> Draw:
    """A share of the references loses `size` times what there is to recover, the others nothing."""

    def draw(rng, n):
        gap = 1 + rng.gamma(2.0, 0.5, n)
        return gap - (rng.random(n) < share) * size * rng.gamma(2.0, 1.0, n), gap

    return draw


def ordinary(rng, n):
    gap = 1 + rng.gamma(2.0, 0.5, n)
    return 0.7 * gap + rng.standard_t(6, size=n), gap


def calm(rng, n):
    gap = 1 + rng.gamma(2.0, 0.5, n)
    return 0.7 * gap + 0.5 * rng.standard_t(6, size=n), gap


def a_ratio(draw: Draw, truth: float, n: int):
    """The interval and the bound of what `n` references recover, as a score has them."""

    def once(seed):
        kept, gap = draw(np.random.default_rng([n, seed]), n)
        low, high = interval_of_ratio(kept, gap, signed=False)
        bound = interval_of_ratio(kept, gap, signed=False, confidence=0.9)[0]
        held = low - 1e-9 <= truth <= high + 1e-9
        return {
            "interval": held,
            "interval, or a remark that none is honest": held or too_few(kept, gap) is not None,
            "at_least": bound > truth + 1e-9 and not too_heavy(kept, gap),  # it is then false
            "at_least(0.995)": bound >= 0.995 and not too_heavy(kept, gap),
            "no width": high - low < 1e-9,
        }

    return once


def stopped(rng, draw: Draw, half_width: float, *, most=20_000):
    """The interval at which a run with `until` stops, and its references."""
    rule = stopping_rule(half_width, most)
    kept, gap = draw(rng, most)
    n = FIRST_LOOK
    while True:
        design = rule.design(Design.independent(n))
        low, high = interval_of_ratio(kept[:n], gap[:n], design=design, signed=False)
        widest = (high - low) / 2
        if widest <= half_width or n == most:
            return low, high, n
        n = int(np.ceil(min(max(n * (widest / half_width) ** 2, GROWTH[0] * n), GROWTH[1] * n, most)))


def until(draw: Draw, truth: float, half_width: float):
    """A run that stops when its interval is so narrow."""

    def once(seed):
        low, high, _ = stopped(np.random.default_rng(seed), draw, half_width)
        return {"interval": low <= truth <= high}

    return once


def a_share(share: float, n: int):
    """The agreement of `n` references."""

    def once(seed):
        low, high = interval_of_share((np.random.default_rng(seed).random(n) < share).astype(float))
        return {"interval": low <= share <= high, "no width": high - low < 1e-9}

    return once


def a_tail(draw, truth: float, level: float, n: int):
    """The mean of the values above a quantile, where it has an interval."""

    def once(seed):
        _, interval = conditional_value_at_risk(draw(np.random.default_rng(seed), n), level)
        held = np.nan if interval is None else interval[0] <= truth <= interval[1]
        return {"interval": held, "has an interval": interval is not None}

    return once
