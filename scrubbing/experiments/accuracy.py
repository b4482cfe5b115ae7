"""How often two computations of one thing agree."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor

from scrubbing.errors import DataError

Decide = Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class Accuracy:
    """The share of rows on which `of` agrees with `against`; of a row with many entries, the share of its entries."""

    of: str
    against: str
    by_row: Float[np.ndarray, "row"]

    @property
    def share(self) -> float:
        """Between 0 and 1, over all entries."""
        return float(self.by_row.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the share, with rows as the independent units (see `wilson`)."""
        return wilson(self.share, len(self.by_row))

    @property
    def wrong(self) -> Int[np.ndarray, "wrong"]:
        """The rows with an entry that does not agree."""
        return np.flatnonzero(self.by_row < 1)

    def __str__(self) -> str:
        low, high = self.interval
        agrees = f"{100 * self.share:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"
        return f"{self.of} agrees with {self.against} in {agrees} of {len(self.by_row)} rows"

    __repr__ = __str__


def wilson(share: float, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a proportion (Wilson 1927), from the share of n independent units.

    It never leaves [0, 1] and has a width at 100% too. For units between 0 and 1 it errs on the wide side: their
    variance is at most share * (1 - share).
    """
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def agreement_by_row(
    mine: tuple[str, Any],
    other: tuple[str, Any],
    rows: int,
    *,
    decide: Decide | None = None,
    tolerance: float | None = None,
) -> Float[np.ndarray, "row"]:
    """The share of entries in each row on which two values (each with its name) agree.

    Integers and booleans are compared as they are; `decide` makes such out of any other value. With `tolerance`,
    numbers agree if they differ by no more.

    Raises `DataError` for values of different shapes, for numbers that are not whole where neither is given, and for
    what is no array.
    """
    if tolerance is not None and not 0 <= tolerance < math.inf:
        raise DataError(f"tolerance={tolerance}, but it must be a number of 0 or more")
    a, b = (_decided(*value, rows, decide, tolerance) for value in (mine, other))
    if a.shape != b.shape:
        raise DataError(
            f"{mine[0]} has shape {list(a.shape)} and {other[0]} has shape {list(b.shape)}, so they cannot be "
            f"compared; decide=... can make a value of another shape, e.g. decide=lambda logits: logits.argmax(-1)"
        )
    return _equal(a, b, tolerance).reshape(rows, -1).mean(axis=1)


def _equal(a: np.ndarray, b: np.ndarray, tolerance: float | None) -> Bool[np.ndarray, "*shape"]:
    if tolerance is None:
        return np.asarray(a == b)
    return np.abs(a.astype(np.float64) - b.astype(np.float64)) <= tolerance


def _decided(name: str, value: Any, rows: int, decide: Decide | None, tolerance: float | None) -> np.ndarray:
    if isinstance(value, tuple):
        raise DataError(
            f"{name} is a tuple of {len(value)} values: reads(...) says which inputs matter and not what is computed "
            f"of them; write it as a function, or compare at a node that is one"
        )
    array = _as_array(value)
    if decide is not None and (array is None or array.dtype.kind not in "biuUS"):
        array = _as_array(_decision(decide, value))
    if array is None:
        raise DataError(f"{name} is a {type(value).__name__}, not an array; decide=... must make a tensor of it")
    if array.shape[:1] != (rows,):
        raise DataError(f"{name} has shape {list(array.shape)}, but must hold one value for each of {rows} rows")
    if array.dtype.kind == "f" and tolerance is None:
        fractions = array[array != np.round(array)]
        if fractions.size:
            raise DataError(
                f"{name} holds numbers such as {fractions.flat[0]:.4g}, which are equal only by luck; say what is "
                f"decided from one, e.g. decide=lambda value: value > 0.5, or how near is equal, e.g. tolerance=1e-3"
            )
    return array


def _decision(decide: Decide, value: Any) -> Any:
    try:
        return decide(value)
    except Exception as error:
        raise DataError(f"decide raised {type(error).__name__}: {error}") from error


def _as_array(value: Any) -> np.ndarray | None:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()
    array = np.asarray(value)
    return None if array.dtype == object else array
