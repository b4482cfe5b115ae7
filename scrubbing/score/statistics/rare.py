"""Means that few references make: intervals that have a width even where nothing was seen."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats

from scrubbing.score.statistics.looking import expected_events

FEW = 20  # units that carry a mean, below which their number decides how well it is known
SHARE = 0.25  # of all units, below which they are few
CARRIED = 0.99  # of the mean


def is_rare(values: Float[np.ndarray, " unit"]) -> bool:
    """Whether a mean is made by few of many: fewer than 20, and than a quarter, have 99% of it; or none has any."""
    sizes = np.sort(np.abs(values))[::-1]
    total = float(sizes.sum())
    if total == 0:
        return True
    carriers = int(np.searchsorted(np.cumsum(sizes), CARRIED * total)) + 1
    return carriers < min(FEW, SHARE * len(values))


def weighted_poisson(
    weights: Float[np.ndarray, " event"],
    largest: float,
    *,
    confidence: float = 0.95,
    looking: tuple[int, int] | None = None,
) -> tuple[float, float]:
    """The interval of an expected sum of weights of events, of which each of many units has few (Fay and Feuer 1997).

    `largest` is the weight that an event which was not seen may have. Garwood's exact interval for equal weights. Where
    one looked meanwhile, `looking` has the number of references and that which the sequence is tuned for: as many
    events of equal weight have a mixture's interval in place of Garwood's.
    """
    tail = (1 - confidence) / 2
    y, v = float(weights.sum()), float((weights**2).sum())
    above, w = y + largest, v + largest**2  # with one event that was not seen
    if looking is not None:
        low = 0.0 if y == 0 else v / y * expected_events(y * y / v, *looking, confidence=confidence)[0]
        seen = 0.0 if above == 0 else max(0.0, above * above / w - 1)
        return low, 0.0 if above == 0 else w / above * expected_events(seen, *looking, confidence=confidence)[1]
    low = 0.0 if y == 0 else v / (2 * y) * float(stats.chi2.ppf(tail, 2 * y * y / v))
    high = 0.0 if above == 0 else w / (2 * above) * float(stats.chi2.ppf(1 - tail, 2 * above * above / w))
    return low, high


def rare_mean(
    parts: Float[np.ndarray, " unit"],
    largest: float,
    *,
    confidence: float = 0.95,
    signed: bool = True,
    bounded: bool = False,
    stretch: float = 1.0,
    looking: tuple[int, int] | None = None,
) -> tuple[float, float]:
    """The interval of a sum of parts, of which few units have one: of the positive less that of the negative ones.

    `largest` is the part that a unit may have of which none was seen; without `signed`, such parts are of the sign that
    was seen. Where parts were seen that differ, the next may exceed them, by their mean at most (as exponential ones
    do): not if they are `bounded` by the largest. The two signs are combined by the distances of their ends (MOVER: Zou
    and Donner 2008); `stretch` widens these.
    """
    mean = float(parts.sum())
    up, down = parts[parts > 0], -parts[parts < 0]
    ends = []
    for seen, other in ((up, down), (down, up)):
        reach = largest if signed or len(seen) or not len(other) else 0.0
        most = max(reach, float(seen.max(initial=0)) if bounded else _next_record(seen))
        low, high = weighted_poisson(seen, most, confidence=confidence, looking=looking)
        ends.append((float(seen.sum()) - low, high - float(seen.sum())))
    (up_low, up_high), (down_low, down_high) = ends
    if not signed and not len(down):
        down_low = down_high = 0.0
    low, high = math.hypot(up_low, down_high), math.hypot(up_high, down_low)
    return mean - stretch * low, mean + stretch * high


def _next_record(seen: Float[np.ndarray, " event"]) -> float:
    """How large the next one may be that exceeds all that were seen: larger by their mean, where they differ."""
    if not len(seen):
        return 0.0
    largest, mean = float(seen.max()), float(seen.mean())
    return largest + min(mean, largest - mean)


def ratio_of_intervals(
    top: float, top_interval: tuple[float, float], bottom: float, bottom_interval: tuple[float, float]
) -> tuple[float, float] | None:
    """The interval of a ratio from those of its parts (MOVER-R: Donner and Zou 2012); None where it is unbounded."""
    (l1, u1), (l2, u2) = top_interval, bottom_interval
    if bottom < 0:
        return ratio_of_intervals(-top, (-u1, -l1), -bottom, (-u2, -l2))
    if l2 <= 0:
        return None
    middle = top * bottom
    low = middle - math.sqrt(max(0.0, middle**2 - l1 * u2 * (2 * top - l1) * (2 * bottom - u2)))
    high = middle + math.sqrt(max(0.0, middle**2 - u1 * l2 * (2 * top - u1) * (2 * bottom - l2)))
    return low / (u2 * (2 * bottom - u2)), high / (l2 * (2 * bottom - l2))


def clopper_pearson(share: float, n: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a proportion (Clopper and Pearson 1934); n may be an effective number of units.

    Source for that: Korn and Graubard 1998.
    """
    tail, k = (1 - confidence) / 2, share * n
    low = 0.0 if k <= 0 else float(stats.beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k >= n else float(stats.beta.ppf(1 - tail, k + 1, n - k))
    return low, high


def p_of_zero(interval: Callable[[float], tuple[float, float]], mean: float) -> float:
    """The p-value that goes with the interval of a rare mean: one less the confidence at which it reaches zero."""

    def nearest_end(confidence: float) -> float:
        low, high = interval(confidence)
        return low if mean > 0 else -high

    least, most = 1e-9, 1 - 1e-12
    if mean == 0 or nearest_end(least) <= 0:
        return 1.0
    if nearest_end(most) > 0:
        return 1 - most
    return 1 - float(optimize.brentq(nearest_end, least, most))  # pyright: ignore[reportArgumentType]
