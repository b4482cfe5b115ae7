"""Which processes compute: this one, or the workers of a Ray cluster."""

from dataclasses import dataclass
from typing import Annotated, Literal

from scrubbing.engine.memory import Memory, memory_in_bytes
from scrubbing.errors import HypothesisError
from scrubbing.errors.arguments import check_fields


@dataclass(frozen=True)
class Engine:
    """Workers of Ray that compute a run's losses: `scrub(..., engine=Engine(workers=8))`. Needs `scrubbing[ray]`.

    - `address`: of a cluster, as `ray.init` takes it: "auto", "host:6379", or "ray://host:10001"; without one, Ray is
      started on this machine
    - `workers`: how many compute at once; by default one for each `threads` processors of the cluster
    - `threads`: of each worker. Rounding depends on them, and not on the number of workers
    - `gpus`: of each worker, 0 or 1
    - `memory`: what Ray sets aside for each worker, such as "8GiB"; without it, Ray counts processors alone

    >>> Engine(workers=2).threads
    1

    Raises `HypothesisError` for numbers below 1.
    """

    address: str | None = None
    workers: int | None = None
    threads: int = 1
    gpus: int = 0
    memory: Memory | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("workers", "threads"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise HypothesisError(f"{name}={number} of an Engine must be 1 or more")
        if self.gpus not in (0, 1):
            raise HypothesisError(f"gpus={self.gpus} of an Engine must be 0 or 1: a worker computes on one device")
        if self.memory is not None:
            memory_in_bytes(self.memory)


ChosenEngine = Annotated[Engine | Literal["ray"] | None, "None (this process), 'ray', or an Engine"]


def engine_of(chosen: ChosenEngine) -> Engine | None:
    """The engine that a user chose; None for this process."""
    return Engine() if chosen == "ray" else chosen
