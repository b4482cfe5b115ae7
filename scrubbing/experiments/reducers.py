"""What a stream of values comes to: added up chunk by chunk, in memory that does not grow with it.

Each has `add(...)` for a chunk, `merge(other)` for another part of the stream, and `result()`.
"""

import heapq
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from scrubbing.errors import DataError
from scrubbing.graph.data import of_any_device


class Count:
    """How often each value occurs.

    >>> count = Count()
    >>> count.add(["previous", "other"])
    >>> count.merge(Count(["other"])).result()
    {'other': 2, 'previous': 1}
    """

    def __init__(self, values: Iterable[Hashable] = ()) -> None:
        self._counter = Counter(values)

    def add(self, values: Iterable[Hashable]) -> None:
        """Count some more: text, numbers, or a tensor of one axis."""
        self._counter.update(_plain(values))

    def merge(self, other: "Count") -> "Count":
        """The counts of both."""
        both = Count()
        both._counter = self._counter + other._counter
        return both

    def result(self) -> dict[Any, int]:
        """The counts by value, the commonest first."""
        return dict(self._counter.most_common())


class Mean:
    """The mean over the first axis, entry by entry, in double precision.

    >>> mean = Mean()
    >>> mean.add([[1.0, 2.0], [3.0, 4.0]])
    >>> mean.add([[5.0, 6.0]])
    >>> mean.result()
    array([3., 4.])
    """

    def __init__(self) -> None:
        self.count = 0
        self._total: Any = 0.0

    def add(self, values: Float[np.ndarray, "row *entry"] | Sequence[Any]) -> None:
        """Add rows."""
        array = of_any_device(values).astype(np.float64)
        self.count += len(array)
        self._total = self._total + array.sum(axis=0)

    def merge(self, other: "Mean") -> "Mean":
        """The mean over the rows of both."""
        both = Mean()
        both.count, both._total = self.count + other.count, self._total + other._total
        return both

    def result(self) -> Float[np.ndarray, " *entry"]:
        """The mean. Raises `DataError` where nothing was added."""
        if not self.count:
            raise DataError("the mean of no rows; add some first")
        return np.asarray(self._total / self.count)


class TopShare:
    """The rows with the largest keys: `int(share * total)` of a stream of `total` rows, with what belongs to them.

    >>> top = TopShare(0.5, total=4)
    >>> top.add([0.1, 0.9], effect=[1.0, 2.0])
    >>> top.add([0.5, 0.2], effect=[3.0, 4.0])
    >>> {name: values.tolist() for name, values in top.result().items()}
    {'key': [0.9, 0.5], 'effect': [2.0, 3.0]}
    """

    def __init__(self, share: float, total: int) -> None:
        if not 0 < share <= 1 or total < 1:
            raise DataError(
                f"TopShare(share={share}, total={total}): a share is above 0 and at most 1, of 1 row or more"
            )
        self.size = int(share * total + 1e-9)  # .02 * 50 is 1 and not 0.9999
        self._columns: dict[str, np.ndarray] = {}

    def add(self, key: Any, **columns: Any) -> None:
        """Add rows: their keys, and further values of each by name."""
        new = {"key": of_any_device(key).astype(np.float64)} | {
            name: of_any_device(values) for name, values in columns.items()
        }
        self._columns = self._largest([self._columns, new] if self._columns else [new])

    def merge(self, other: "TopShare") -> "TopShare":
        """The largest of both."""
        both = TopShare(1.0, 1)
        both.size = self.size
        both._columns = self._largest([part for part in (self._columns, other._columns) if part])
        return both

    def result(self) -> Mapping[str, np.ndarray]:
        """The rows by column, those with the largest keys first; of equal keys the one that came first."""
        return dict(self._columns)

    def _largest(self, parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
        order = np.argsort(-whole["key"], kind="stable")[: self.size] if whole else []
        return {name: values[order] for name, values in whole.items()}


class Histogram:
    """How many values lie between edges; those outside count in the first and last bin.

    >>> histogram = Histogram([0.0, 1.0, 2.0])
    >>> histogram.add([0.5, 1.5, 1.7, 9.0])
    >>> histogram.result()
    array([1, 3])
    """

    def __init__(self, edges: Sequence[float] | Float[np.ndarray, " edge"]) -> None:
        self.edges = np.asarray(edges, dtype=np.float64)
        if len(self.edges) < 2 or (np.diff(self.edges) <= 0).any():
            raise DataError("the edges of a histogram are two numbers or more that rise")
        self._counts = np.zeros(len(self.edges) - 1, dtype=np.int64)

    def add(self, values: Any) -> None:
        """Count some more."""
        inside = np.clip(of_any_device(values).astype(np.float64), self.edges[0], self.edges[-1])
        self._counts += np.histogram(inside, self.edges)[0]

    def merge(self, other: "Histogram") -> "Histogram":
        """The counts of both. Raises `DataError` for other edges."""
        if not np.array_equal(self.edges, other.edges):
            raise DataError("two histograms have different edges; make them with the same")
        both = Histogram(self.edges)
        both._counts = self._counts + other._counts
        return both

    def result(self) -> Integer[np.ndarray, " bin"]:
        """The number of values in each bin."""
        return self._counts.copy()


class Quantiles:
    """Quantiles of a stream: of all values up to `size` of them, of a uniform sample of `size` beyond that.

    A sample of n values gives a quantile's level to about .5 / sqrt(n). Parts that are merged need different seeds.

    >>> quantiles = Quantiles([0.5, 1.0])
    >>> quantiles.add([3.0, 1.0, 2.0])
    >>> quantiles.result()
    array([2., 3.])

    Source: bottom-k sampling, Cohen and Kaplan 2007.
    """

    def __init__(self, levels: Sequence[float], *, size: int = 100_000, seed: int = 0) -> None:
        self.levels, self.size = tuple(levels), size
        self._rng = np.random.default_rng(seed)
        self._held: list[tuple[float, float]] = []  # a heap, the largest priority first: (-priority, value)

    def add(self, values: Any) -> None:
        """Add some more values, of whatever shape."""
        array = of_any_device(values).astype(np.float64).ravel()
        self._keep(zip((-self._rng.random(len(array))).tolist(), array.tolist(), strict=True))

    def merge(self, other: "Quantiles") -> "Quantiles":
        """The quantiles of both."""
        both = Quantiles(self.levels, size=self.size)
        both._keep(self._held)
        both._keep(other._held)
        return both

    def result(self) -> Float[np.ndarray, " level"]:
        """The quantile at each level. Raises `DataError` where nothing was added."""
        if not self._held:
            raise DataError("the quantiles of no values; add some first")
        return np.quantile([value for _, value in self._held], self.levels)

    def _keep(self, entries: Iterable[tuple[float, float]]) -> None:
        for entry in entries:
            if len(self._held) < self.size:
                heapq.heappush(self._held, entry)
            elif entry > self._held[0]:
                heapq.heapreplace(self._held, entry)


def _plain(values: Any) -> Iterable[Hashable]:
    return values.tolist() if hasattr(values, "tolist") else values
