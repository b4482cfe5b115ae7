"""Which rows took part in the draws of a planned hypothesis."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from scrubbing.engine.plan import Scrubbed
from scrubbing.engine.sampling.agreement import Classes, PositionClasses
from scrubbing.engine.sampling.streams import Drawn, Fixed, Sample, Stream
from scrubbing.score import Participation, packed


def participation(
    planned: Scrubbed,
    sample: Sample,
    losses: Float[np.ndarray, "reference draw"],
    *,
    exact: bool = False,
    donors: bool = True,
) -> Participation:
    """The losses of a sample's draws and the donors of these, stream by stream, if they matter."""
    streams: dict[Stream, str] = {}
    for path, stream in planned.streams.items() if donors else ():
        streams.setdefault(stream, path)
    counted = [stream for stream in streams if _is_counted(stream, sample)]
    partitions: list[Classes] = []
    for stream in counted:
        classes = _classes(stream, sample)
        if classes not in partitions:
            partitions.append(classes)
    return Participation(
        draws=losses.shape[1],
        losses=packed(losses.ravel()) if losses.shape[1] > 1 or exact else None,
        donors=tuple(packed(sample.rows(stream)) for stream in counted),
        classes=tuple(packed(classes.ids[: sample.dataset_rows]) for classes in partitions),
        which=tuple(partitions.index(_classes(stream, sample)) for stream in counted),
        parents=tuple(_place(_parent(stream), counted) for stream in counted),
        exact=exact,
        uncounted=tuple(path for stream, path in streams.items() if stream not in counted),
    )


def _place(parent: Stream | None, counted: Sequence[Stream]) -> int:
    """The place of a stream among others; -1 for the references."""
    return counted.index(parent) if parent is not None and parent in counted else -1


def _is_counted(stream: Stream, sample: Sample) -> bool:
    """Whether each draw has one donor of the dataset."""
    if not isinstance(stream, Drawn | Fixed) or stream.positions is not None:
        return False
    return int(sample.rows(stream).max(initial=0)) < sample.dataset_rows


def _classes(stream: Stream, sample: Sample) -> Classes:
    held = stream.classes if isinstance(stream, Drawn) else None
    if held is None or isinstance(held, PositionClasses):
        return Classes(np.zeros(sample.dataset_rows, dtype=np.int64))
    return held


def _parent(stream: Stream) -> Stream | None:
    return stream.parent if isinstance(stream, Drawn) else None
