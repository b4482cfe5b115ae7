"""What a user should know of a run beside its numbers: claims without effect, and what was not done as asked."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from scrubbing.engine.outcomes import Job
from scrubbing.engine.plan import Scrubbed
from scrubbing.engine.sampling.agreement import PositionClasses
from scrubbing.engine.sampling.streams import Fixed, Sample
from scrubbing.errors import ScrubbingWarning
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
        own, donor = sample.rows(visit.parent), sample.rows(visit.donor)
        if isinstance(visit.classes, PositionClasses):
            own, donor = (rows if rows.ndim == 2 else rows[:, None] for rows in (own, donor))
            wrong = np.stack(
                [
                    c.ids[own[:, p % own.shape[1]]] != c.ids[donor[:, p % donor.shape[1]]]
                    for p, c in enumerate(visit.classes.at)
                ],
                axis=1,
            )
        else:
            wrong = visit.classes.ids[own] != visit.classes.ids[donor]
        at = np.argwhere(wrong)
        if len(at):
            first, name = tuple(at[0]), visit.path.rpartition("/")[2]
            yield (
                f"{len(at):,} of {wrong.size:,} given donors of {name!r} do not agree with what they stand in for, "
                f"first row {_at(donor, first)} for row {_at(own, first)}"
            )


def _at(rows: np.ndarray, place: tuple[Any, ...]) -> int:
    return int(rows[place[: rows.ndim]] if rows.ndim < 2 or rows.shape[1] > 1 else rows[place[0], 0])


def warn_of_idle_claims(jobs: Mapping[Any, Job]) -> None:
    """Warn of claims without which the same would be passed on."""
    for key, job in jobs.items():
        for name in job.scrubbed.idle:
            _warn(f"hypothesis {key!r}: the claim {name!r} changes nothing; without it, the same would be passed on")


def warn_of_singletons(jobs: Mapping[Any, Job], scores: Mapping[Any, Score]) -> None:
    """Warn of features on which hardly any two references agree, so that there was nothing to resample."""
    for key, score in scores.items():
        I = jobs[key].hypothesis.I
        alone = {node.path.rpartition("/")[2]: node.singletons for node in score.vacuity.nodes}
        for name, share in alone.items():
            if share >= ALONE and score.references > 1 and name in I and not I[name].claims_inputs_alone:
                _warn(
                    f"hypothesis {key!r}: {share:.0%} of the references are alone in their class of {name!r}, so that "
                    f"next to nothing was resampled there; claim a coarser feature, or reads(...) if all of it matters"
                )


def _warn(message: str) -> None:
    warnings.warn(message, ScrubbingWarning, stacklevel=4)
