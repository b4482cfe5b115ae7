"""Which rows took part in the draws of a planned hypothesis."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from scrubbing.engine.plan import Scrubbed
from scrubbing.engine.sampling.agreement import Classes, PositionClasses
from scrubbing.engine.sampling.streams import Drawn, Fixed, References, Sample, Stream
from scrubbing.score import Participation, packed

MOST_BY_POSITION = 32  # donors by position of one draw: the time grows with their square
NOISIEST = 1.0  # the error of a variance that counts them, over the variance without donors


@dataclass(frozen=True)
class Donor:
    """The donor of each draw in one stream; `position` is set where each position has one of its own."""

    stream: Stream
    position: int | None

    def rows(self, sample: Sample) -> Int[np.ndarray, " draw"]:
        """The donors' rows."""
        rows = sample.rows(self.stream)
        return rows if self.position is None else rows[:, self.position]

    def classes(self, sample: Sample) -> Classes:
        """The partition of rows that the donor was drawn by."""
        held = self.stream.classes if isinstance(self.stream, Drawn) else None
        if isinstance(held, PositionClasses) and self.position is not None:
            held = held.at[self.position]
        if held is None or isinstance(held, PositionClasses):
            return Classes(np.zeros(sample.dataset_rows, dtype=np.int64))
        return held

    def parent(self, others: Sequence["Donor"]) -> int:
        """The place, among others, of what it agrees with; -1 for the references."""
        parent = self.stream.parent if isinstance(self.stream, Drawn) else None
        of_parent = [k for k, other in enumerate(others) if other.stream == parent]
        return next((k for k in of_parent if others[k].position in (None, self.position)), -1)


def participation(
    planned: Scrubbed,
    sample: Sample,
    losses: Float[np.ndarray, "reference draw"],
    *,
    exact: bool = False,
    donors: bool = True,
    units: int | None = None,
) -> Participation:
    """The losses of a sample's draws and the donors of these, stream by stream, if they matter.

    `units` is the number of independent references; all of them by default. It decides how many donors by position can
    be counted.
    """
    streams: dict[Stream, str] = {}
    for path, stream in planned.streams.items() if donors else ():
        streams.setdefault(stream, path)
    known = [donor for stream in streams for donor in _donors(stream, sample)]
    if not _can_be_told(known, losses.shape[1], units or len(losses)):
        known = [donor for donor in known if donor.position is None]
    partitions: list[Classes] = []
    for donor in known:
        classes = donor.classes(sample)
        if classes not in partitions:
            partitions.append(classes)
    counted = {donor.stream for donor in known}
    return Participation(
        draws=losses.shape[1],
        losses=packed(losses.ravel()) if losses.shape[1] > 1 or exact else None,
        donors=tuple(packed(donor.rows(sample)) for donor in known),
        classes=tuple(packed(classes.ids[: sample.dataset_rows]) for classes in partitions),
        which=tuple(partitions.index(donor.classes(sample)) for donor in known),
        parents=tuple(donor.parent(known) for donor in known),
        exact=exact,
        uncounted=tuple(
            path for stream, path in streams.items() if not isinstance(stream, References) and stream not in counted
        ),
    )


def _donors(stream: Stream, sample: Sample) -> Iterator[Donor]:
    """The donors of each draw, one for each position where these have their own; none if they were made."""
    if not isinstance(stream, Drawn | Fixed) or int(sample.rows(stream).max(initial=0)) >= sample.dataset_rows:
        return
    yield from (Donor(stream, p) for p in ([None] if stream.positions is None else range(stream.positions)))


def _can_be_told(known: Sequence[Donor], draws: int, units: int) -> bool:
    """Whether what donors by position share can be told from chance.

    What a unit adds to the mean is that of its own references, and of the draws in which it is a donor. By chance alone
    its square errs by sqrt(2) times that, and the sum over units, in units of the variance without donors, by
    (1 + donors/draws) sqrt(2/units).
    """
    by_position = sum(donor.position is not None for donor in known)
    noise = (1 + len(known) / draws) * math.sqrt(2 / units)
    return by_position <= MOST_BY_POSITION and noise <= NOISIEST
