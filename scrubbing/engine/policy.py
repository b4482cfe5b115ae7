"""What stands in for what a hypothesis leaves open: the options of `scrub`, as the rest of the package takes them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scrubbing.engine.sampling.streams import Fixed, Stream
from scrubbing.errors import HypothesisError


@dataclass(frozen=True)
class mean:
    """In place of an unclaimed value its mean, over all rows or over those with one value of the column `by`.

    >>> mean(by="x0")  # scrub(..., unclaimed=mean(by="x0"))
    mean(by='x0')
    """

    by: str | None = None

    def __post_init__(self) -> None:
        if self.by is not None and not isinstance(self.by, str):
            raise HypothesisError(f"mean(by={self.by!r}) needs the name of a column, for example mean(by='template')")


# Makes a donor for each of the datums given: of their columns and a source of randomness, the columns that change.
DonorSampler = Callable[[dict[str, Any], np.random.Generator], Mapping[str, Any]]

Unclaimed = str | mean | Callable[[Any], Any]

# Of a node of I, the path that a stream of its is recorded by, the stream of the datum that it follows, and the stream
# that would be drawn: the stream that is taken in its place.
Choose = Callable[[str, str, Stream, Stream], Stream]


@dataclass(frozen=True)
class Policy:
    """What stands in for what a hypothesis leaves open (Chan et al. 2022).

    `others` is "node", "reference", "input" or a fixed pairing; `donors` fixes or makes the donors of I's nodes, by
    name; `unclaimed` is what a donor's value of an unclaimed node is replaced by; `together` groups nodes of I, read
    by one parent, that share their donor. `choose` takes other donors than those drawn: to replay them, or to search.
    """

    others: str | Fixed = "node"
    donors: Mapping[str, Fixed | DonorSampler] = field(default_factory=dict)
    exclude_self: bool = False
    unclaimed: Unclaimed = "resample"
    together: tuple[frozenset[str], ...] = ()
    cap: int = 100_000
    choose: Choose | None = None

    @property
    def makes_donors(self) -> bool:
        """Whether any donor is made rather than found in the data."""
        return any(callable(donor) for donor in self.donors.values())

    def group(self, name: str) -> frozenset[str]:
        """The nodes of I that share their donor with `name`, itself included."""
        return next((group for group in self.together if name in group), frozenset([name]))
