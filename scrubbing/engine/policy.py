"""The options of `scrub` that say who stands in for whom, checked and in one object."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np

from scrubbing.engine.sampling.streams import Fixed, Stream
from scrubbing.errors import HypothesisError


@dataclass(frozen=True, repr=False)
class mean:
    """Replace an unclaimed value by its mean over all rows, or over the rows with the same value of the column `by`.

    In interventions (`measure`, `values`), `over` names a column that marks the rows that the mean is taken over.

    >>> mean(by="x0")  # scrub(..., unclaimed=mean(by="x0"))
    mean(by='x0')
    """

    by: str | None = None
    over: str | None = None

    def __post_init__(self) -> None:
        for name, column in (("by", self.by), ("over", self.over)):
            if column is not None and not isinstance(column, str):
                raise HypothesisError(f"mean({name}={column!r}) needs the name of a column, as in mean(by='template')")

    def __repr__(self) -> str:
        return f"mean(by={self.by!r})" if self.over is None else f"mean(by={self.by!r}, over={self.over!r})"


# Makes a donor for each given datum. It gets their columns and a generator, and returns the columns that it changes.
DonorSampler = Callable[[dict[str, Any], np.random.Generator], Mapping[str, Any]]

Unclaimed = Annotated[
    str | mean | Callable[[Any], Any], '"resample", "mean", mean(by=column), "zero" or a function of the donor\'s value'
]

# Gets a node of I, the path of its stream, its reader's stream and the stream that would be drawn; returns the stream
# to use instead.
Choose = Callable[[str, str, Stream, Stream], Stream]


@dataclass(frozen=True)
class Policy:
    """Where donors come from, and what replaces unclaimed values (Chan et al. 2022).

    `others` is "node", "reference", "input" or a fixed pairing; `donors` fixes or makes the donors of I's nodes, by
    name; `unclaimed` says what replaces a donor's value of an unclaimed node; `together` groups nodes of I, read by one
    parent, that share their donor. `choose` replaces the drawn donors, to replay or to search them.
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
