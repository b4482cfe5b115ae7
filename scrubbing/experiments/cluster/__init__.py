"""Runs that the workers of a cluster compute, by Ray."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from scrubbing.engine.cost import Cost, Shared
from scrubbing.errors import MissingPackageError
from scrubbing.experiments.preparation import Prepared

if TYPE_CHECKING:
    from scrubbing.experiments.cluster.workers import RayWorkers


def workers_of(prepared: Prepared) -> "RayWorkers | None":
    """The workers of the run's engine; None where this process computes. Ray is imported here, when it is asked for.

    Raises `MissingPackageError` without Ray, and `ScrubbingError` where its cluster cannot be reached.
    """
    if prepared.engine is None:
        return None
    _check_installed()
    from scrubbing.experiments.cluster.workers import RayWorkers

    return RayWorkers.of(prepared.engine, prepared)


def shared_by_workers(prepared: Prepared, cost: Cost) -> Shared | None:
    """How the engine's workers would share a run of this cost; None where this process computes."""
    if prepared.engine is None:
        return None
    _check_installed()
    from scrubbing.experiments.cluster.forecast import shared

    return shared(prepared.engine, prepared, cost)


def _check_installed() -> None:
    if find_spec("ray") is None:
        raise MissingPackageError("an engine needs Ray: pip install 'scrubbing[ray]'")
