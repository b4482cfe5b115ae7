"""What a user should know of a run beside its numbers: claims without effect, and what was not done as asked."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from scrubbing.engine.outcomes import Job
from scrubbing.engine.plan import Scrubbed
from scrubbing.engine.sampling.agreement import Classes, PositionClasses
from scrubbing.engine.sampling.streams import Fixed, Sample
from scrubbing.errors import warn
from scrubbing.graph.data import Columns
from scrubbing.score import Score

ALONE = 0.95  # of the references in classes of their own: what is left to be resampled is next to nothing


def notes_of(planned: Scrubbed, sample: Sample) -> tuple[str, ...]:
    """What a planned hypothesis does otherwise than its user may think, in sentences."""
    return (*_resampled(planned), *_disagreeing(planned, sample))


def _resampled(planned: Scrubbed) -> Iterator[str]:
    for name in planned.resampled:
        yield f"{name} is resampled and not averaged: its reader passes on some of its columns"


def _disagreeing(planned: Scrubbed, sample: Sample) -> Iterator[str]:
    for visit in planned.visits:
        if not isinstance(visit.donor, Fixed):
            continue
        own, donor = (_in_columns(sample.rows(stream)) for stream in (visit.parent, visit.donor))
        positions = len(visit.classes.at) if isinstance(visit.classes, PositionClasses) else 1
        shape = np.broadcast_shapes(own.shape, donor.shape, (1, positions))
        own, donor = np.broadcast_to(own, shape), np.broadcast_to(donor, shape)
        wrong = np.argwhere(_class_of(own, visit.classes) != _class_of(donor, visit.classes))
        if len(wrong):
            first = tuple(wrong[0])
            yield (
                f"{len(wrong):,} of {own.size:,} given donors of {_name(visit.path)!r} do not agree with what they "
                f"stand in for, first row {donor[first]} for row {own[first]}"
            )


def _in_columns(rows: np.ndarray) -> np.ndarray:
    """Rows by draw and position; in one column where they are the same at all positions."""
    return rows if rows.ndim == 2 else rows[:, None]


def _class_of(rows: np.ndarray, classes: Classes | PositionClasses) -> np.ndarray:
    """The number of each row's class, at its position."""
    if isinstance(classes, PositionClasses):
        return np.stack([at.ids[rows[:, p]] for p, at in enumerate(classes.at)], axis=1)
    return classes.ids[rows]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def warn_of_idle_claims(jobs: Mapping[Any, Job]) -> None:
    """Warn of claims without which the same would be passed on."""
    for key, job in jobs.items():
        for name in job.scrubbed.idle:
            warn(f"hypothesis {key!r}: the claim {name!r} changes nothing; without it, the same would be passed on")


def warn_of_singletons(jobs: Mapping[Any, Job], scores: Mapping[Any, Score]) -> None:
    """Warn of features on which hardly any two references agree, so that there was nothing to resample."""
    for key, score in scores.items():
        I = jobs[key].hypothesis.I
        alone = {_name(n.path): n.singletons for n in score.vacuity.nodes if n.swapped <= 1 - ALONE}
        for name, share in alone.items():
            if share >= ALONE and score.references > 1 and name in I and not I[name].claims_inputs_alone:
                warn(
                    f"hypothesis {key!r}: {share:.0%} of the references are alone in their class of {name!r}, so that "
                    f"next to nothing was resampled there; claim a coarser feature, or reads(...) if all of it matters"
                )


def warn_of_neighbours(scores: Mapping[Any, Score], columns: Columns) -> None:
    """Warn of rows of tokens that look like windows of common texts, where no groups are given."""
    tokens = columns.get("tokens")
    if tokens is None or tokens.ndim != 2:
        return
    for key, score in scores.items():
        correlation = score.correlation_of_neighbours
        if correlation is not None:
            warn(
                f"hypothesis {key!r}: losses of neighbouring rows correlate ({correlation:.2f}), as those of one text "
                f"do, so that its interval is too narrow; say with groups= which document or file each row is from"
            )
            return
