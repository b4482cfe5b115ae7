"""What happens in a worker: a run is unpacked and planned once, and pieces of it are computed."""

import pickle
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Protocol, runtime_checkable

import ray
import torch
from torch import Tensor

from scrubbing.engine.evaluate import Evaluator
from scrubbing.engine.outcomes import Outcome, Outputs, exact_outcomes
from scrubbing.engine.row_sharing import Arranged
from scrubbing.engine.sampling.streams import Sample
from scrubbing.errors import ScrubbingError, ScrubbingWarning
from scrubbing.experiments.cluster.shipping import Shipment, unpacked
from scrubbing.experiments.cluster.tiles import Group, Tile, first_needed
from scrubbing.experiments.cluster.weighing import outputs_of
from scrubbing.experiments.preparation import Prepared
from scrubbing.store.identity import versions

KEPT = 2  # runs that a worker holds: those of a sweep that calls `scrub` again and again


@dataclass(frozen=True)
class Shipped:
    """How to plan a run, packed, and the versions that it was packed by: others may not understand it."""

    versions: Mapping[str, str]
    plan: Shipment  # of a function without arguments: a worker plans as the caller does, to the same draws


@dataclass(frozen=True)
class Alone:
    """How some hypotheses are computed by themselves, and where each loss is that they are the first to need: by its
    number in the run, its place among theirs.
    """

    work: Arranged
    places: Mapping[int, int]


@dataclass
class Planned:
    """A run as a worker holds it, for one sample at a time: the parts of a sequential run come one after the other."""

    prepared: Prepared
    _part: str = ""
    _evaluator: Evaluator | None = None
    _alone: dict[Group, Alone] = field(default_factory=dict)

    def evaluator(self, part: "ray.ObjectRef[Sample]") -> Evaluator:
        """What computes the losses of a sample."""
        if self._evaluator is None or self._part != part.hex():
            self._evaluator, self._part = self.prepared.evaluator.on(ray.get(part)), part.hex()
            self._alone.clear()
        return self._evaluator

    @property
    def all_jobs(self) -> Group:
        """All hypotheses."""
        return range(len(self.prepared.jobs))

    def alone(self, part: "ray.ObjectRef[Sample]", jobs: Group) -> Alone:
        """How some hypotheses are computed, in the order of draws of the whole run."""
        evaluator = self.evaluator(part)
        if jobs not in self._alone:
            own = outputs_of(self.prepared, jobs)
            work = evaluator.arranged(own.roots)
            order = work.order if jobs == self.all_jobs else self.alone(part, self.all_jobs).work.order
            self._alone[jobs] = Alone(replace(work, order=order), self._places(own, jobs))
        return self._alone[jobs]

    def _places(self, own: Outputs, jobs: Group) -> dict[int, int]:
        outputs = self.prepared.outputs
        number, place = ({root: i for i, root in enumerate(roots)} for roots in (outputs.roots, own.roots))
        # The same losses: what is read together with others is another expression.
        same = zip(chain(*outputs.needed[jobs.start : jobs.stop]), chain(*own.needed), strict=True)
        places = {number[root]: place[ours] for root, ours in same}
        return {loss: places[loss] for loss in first_needed(outputs.needed, jobs)}


@runtime_checkable
class Task(Protocol):
    """A piece of work on a run. Its text is its name in Ray's dashboard."""

    def __call__(self, planned: Planned) -> Any:
        """The result."""
        ...


@dataclass(frozen=True)
class ChunkSize:
    """How many draws at a time fit into memory."""

    part: "ray.ObjectRef[Sample]"

    def __call__(self, planned: Planned) -> int:
        return planned.evaluator(self.part).chunk_size(planned.alone(self.part, planned.all_jobs).work)

    def __str__(self) -> str:
        return "measure memory"


@dataclass(frozen=True)
class Losses:
    """The losses of a tile that its hypotheses are the first to need, by number."""

    part: "ray.ObjectRef[Sample]"
    tile: Tile

    def __call__(self, planned: Planned) -> dict[int, Tensor]:
        alone, draws = planned.alone(self.part, self.tile.jobs), self.tile.draws
        chunks = planned.evaluator(self.part).on_range(alone.work, draws, len(draws))
        values = [torch.cat(pieces) for pieces in zip(*(chunk.losses for chunk in chunks), strict=True)]
        return {loss: values[place] for loss, place in alone.places.items()}

    def __str__(self) -> str:
        return str(self.tile)


@dataclass(frozen=True)
class Expected:
    """The expected losses of some hypotheses, by number."""

    jobs: range

    def __call__(self, planned: Planned) -> list[Outcome]:
        prepared = planned.prepared
        jobs = prepared.jobs[self.jobs.start : self.jobs.stop]
        source = prepared.population.estimand == "source"
        return exact_outcomes(jobs, prepared.planner, prepared.evaluator, lambda done: None, source=source)

    def __str__(self) -> str:
        return f"expected losses of hypotheses {self.jobs.start} to {self.jobs.stop}"


@dataclass(frozen=True)
class Answer:
    """What a task gave: a value, or an error that is the user's to see; and the warnings on the way."""

    value: Any
    error: Exception | None
    warnings: Sequence[str]


_held: dict[str, Planned] = {}  # by the reference of what was shipped, in this worker


def perform(shipped: "Sequence[ray.ObjectRef[Shipped]]", task: Task, threads: int) -> Answer:
    """Do a task. The reference comes in a list, or Ray would read it anew for each task."""
    torch.set_num_threads(threads)
    value, error = None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ScrubbingWarning)
        try:
            value = task(_planned(*shipped))
        except Exception as failure:
            error = _portable(failure)
    return Answer(value, error, [str(warning.message) for warning in caught])


def _planned(shipped: "ray.ObjectRef[Shipped]") -> Planned:
    key = shipped.hex()
    if key not in _held:
        while len(_held) >= KEPT:
            del _held[next(iter(_held))]
        sent: Shipped = ray.get(shipped)
        _check_versions(sent.versions)
        try:
            plan = unpacked(sent.plan)
        except ImportError as error:
            raise ScrubbingError(
                f"a worker cannot import {error.name!r}, which the run needs; install it on all machines, or start Ray "
                f"where PYTHONPATH names its folder"
            ) from None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the caller was warned of the same
            _held[key] = Planned(plan())
    return _held[key]


def _check_versions(theirs: Mapping[str, str]) -> None:
    ours = versions()
    for name, version in theirs.items():
        if ours.get(name) != version:
            raise ScrubbingError(
                f"a worker has {name} {ours.get(name) or 'missing'}, and this process {version}: their losses would "
                f"differ; install the same on all machines"
            )


def _portable(error: Exception) -> Exception:
    """The error as another process can read it."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return ScrubbingError(f"{type(error).__name__}: {error}")
