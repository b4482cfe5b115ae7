"""Shapley values by permutation: what a player adds to those before it, averaged over the orders of arrival.

Source: Castro, Gomez and Tejada, "Polynomial calculation of the Shapley value based on sampling" (2009); orders are
drawn in pairs, an order and its reverse (antithetic sampling: Mitchell, Cooper, Frank and Holmes 2022).
"""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from scrubbing.engine.sampling.randomness import keyed_uniforms

MOST_ORDERS = 5040  # up to seven players are put in all their orders, if as many are asked for

Values = Mapping[frozenset[Any], Float[np.ndarray, " reference"]]


@dataclass(frozen=True)
class Orders:
    """The orders of arrival that are averaged over: all there are (`complete`), or random ones and their reverses."""

    orders: tuple[tuple[Any, ...], ...]
    complete: bool

    @classmethod
    def of(cls, players: Sequence[Hashable], count: int, seed: int) -> "Orders":
        """All orders, if they are no more than `count`; else that many (rounded up to pairs)."""
        if math.factorial(min(len(players), 20)) <= min(count, MOST_ORDERS):
            return cls(tuple(permutations(players)), complete=True)
        places = np.arange(len(players))
        drawn = [np.argsort(keyed_uniforms(seed, ("shapley", str(i)), places)) for i in range((count + 1) // 2)]
        forward = [tuple(players[i] for i in order) for order in drawn]
        return cls(tuple(order for pair in forward for order in (pair, pair[::-1])), complete=False)

    @property
    def coalitions(self) -> Iterator[frozenset[Any]]:
        """Everyone who is there before and after each arrival."""
        return (frozenset(order[:k]) for order in self.orders for k in range(len(order) + 1))

    def __str__(self) -> str:
        if self.complete:
            return f"Shapley values over all {len(self.orders)} orders"
        return f"Shapley values over {len(self.orders)} random orders (pairs of an order and its reverse)"


def shapley_value(
    player: Hashable, orders: Orders, values: Values, *, confidence: float = 0.95
) -> tuple[float, tuple[float, float] | None]:
    """The mean of what a player adds to the value of those before it, and its interval.

    Values are one per reference. The interval's variance is that between references, plus that between pairs of orders
    unless all orders were taken (the sum is on the wide side); its degrees of freedom are the fewer of the two. None
    for a single reference or pair.
    """
    added = np.stack([_added(player, order, values) for order in orders.orders])
    value, units = float(added.mean()), [added.mean(axis=0)]
    if not orders.complete:
        units.append(added.mean(axis=1).reshape(-1, 2).mean(axis=1))
    fewest = min(len(unit) for unit in units)
    if fewest < 2:
        return value, None
    variance = sum(float(np.var(unit, ddof=1)) / len(unit) for unit in units)
    half = float(stats.t.ppf(0.5 + confidence / 2, fewest - 1)) * math.sqrt(variance)
    return value, (value - half, value + half)


def _added(player: Hashable, order: tuple[Any, ...], values: Values) -> Float[np.ndarray, " reference"]:
    before = frozenset(order[: order.index(player)])
    return values[before | {player}] - values[before]
