"""Whether the losses of a score that stands in a file can be those of a run."""

import math
from collections.abc import Iterator

from scrubbing.score import Score

LOSSES = ("original", "baseline", "scrubbed", "change", "baseline_change")
ROUNDING = 1e-6  # how far a mean may be from what its column gives, relative to the largest entry


def implausible(score: Score, rows: int | None = None) -> str | None:
    """In words, what cannot be: columns of other lengths, losses that are not finite, rows that the data lack."""
    return next(_problems(score, rows), None)


def _problems(score: Score, rows: int | None) -> Iterator[str]:
    references = score.by_reference.reference
    columns = {name: column for name, column in score.by_reference if name != "reference" and column is not None}
    if score.references != len(references) or not references:
        yield f"it is of {score.references} references, and has rows of {len(references)}"
    for name, column in columns.items():
        if len(column) != len(references):
            yield f"its {name} losses are of {len(column)} references, and it is of {len(references)}"
        if name in LOSSES and not all(map(math.isfinite, column)):
            yield f"its {name} losses are not finite"
    if min(references, default=0) < 0 or (rows is not None and max(references, default=0) >= rows):
        wrong = next(row for row in references if row < 0 or (rows is not None and row >= rows))
        yield f"its references have row {wrong}" + ("" if rows is None else f", and the data have {rows} rows")


def unlike_its_losses(score: Score) -> str | None:
    """In words, which mean is not that of its column; None if all are."""
    for name in LOSSES[:3]:
        column, mean = getattr(score.by_reference, name), getattr(score, name)
        largest = max(map(abs, column), default=0.0)
        if not abs(mean - math.fsum(column) / len(column)) <= ROUNDING * largest:
            return f"its {name} loss is {mean:g}, which is not the mean of those of its references"
    return None
