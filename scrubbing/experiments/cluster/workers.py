"""Have a run computed by Ray: pieces go out, losses come back, and what is lost on the way goes out again."""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError

from scrubbing.engine.evaluate import Advance, Chunk
from scrubbing.engine.memory import memory_in_bytes
from scrubbing.engine.outcomes import Outcome, Outputs
from scrubbing.engine.sampling.streams import Sample
from scrubbing.errors import ScrubbingError, warn
from scrubbing.experiments.cluster.shipping import packed
from scrubbing.experiments.cluster.starting import connect
from scrubbing.experiments.cluster.tiles import ENOUGH, Weigh, groups, tiles, whole
from scrubbing.experiments.cluster.weighing import weighing
from scrubbing.experiments.cluster.working import Answer, ChunkSize, Expected, Losses, Shipped, Task, perform
from scrubbing.experiments.engines import Engine
from scrubbing.experiments.preparation import Prepared
from scrubbing.store.identity import versions

DEATHS = 20  # of workers, with no piece done in between, after which the pieces themselves are taken to be deadly
LOST = (WorkerCrashedError, NodeDiedError, ObjectLostError, OutOfMemoryError)  # with what was on its way

SomeTask = TypeVar("SomeTask", bound=Task)


@dataclass(frozen=True)
class RayWorkers:
    """The workers of one run: `Workers` of the engine."""

    engine: Engine
    count: int
    shipped: "ray.ObjectRef[Shipped]"
    outputs: Outputs
    weigh: Weigh

    @classmethod
    def of(cls, engine: Engine, prepared: Prepared) -> "RayWorkers":
        """Workers for a run. What it needs is put into the memory of each machine once.

        Raises `ScrubbingError` where no cluster can be reached, and for a run that cannot be sent.
        """
        count = connect(engine)
        try:
            plan = packed(partial(prepared.plan, prepared.options.elsewhere))
        except Exception as error:
            raise ScrubbingError(f"the run cannot be sent to workers: {type(error).__name__}: {error}") from error
        return cls(engine, count, ray.put(Shipped(versions(), plan)), prepared.outputs, weighing(prepared))

    def chunk_size(self, sample: Sample) -> int:
        """How many draws at a time fit into a worker's memory."""
        ((_, size),) = self._done([ChunkSize(ray.put(sample))])
        return size

    def chunks(self, sample: Sample, ranges: Sequence[range], missing: Sequence[range]) -> Iterator[Chunk]:
        """Of the chunks of a run, which are these ranges of draws, those that are missing, in any order.

        All ranges say how hypotheses are grouped, on which rounding depends: a run that goes on goes on as it was.
        """
        if not missing:
            return
        part = ray.put(sample)
        cut = tiles(len(self.outputs.jobs), ranges, self.count, self.weigh)
        lacking = set(missing)
        pieces = [tile for tile in cut if tile.draws in lacking]
        done = self._done([Losses(part, tile) for tile in pieces])
        yield from whole(((task.tile, losses) for task, losses in done), len(self.outputs.roots))

    def outcomes(self, advance: Advance) -> list[Outcome]:
        """The outcomes of all hypotheses in exact mode."""
        jobs, found = len(self.outputs.jobs), dict[int, Outcome]()
        with closing(self._done([Expected(some) for some in groups(jobs, ENOUGH * self.count)])) as done:
            for task, outcomes in done:
                found.update(zip(task.jobs, outcomes, strict=True))
                advance(len(found))
        return [found[job] for job in range(jobs)]

    def _done(self, tasks: Sequence[SomeTask]) -> Generator[tuple[SomeTask, Any]]:
        """Tasks with their results, as they come. Whatever ends the run early leaves no task behind."""
        waiting, running, deaths = deque(tasks), dict[Any, SomeTask](), 0
        try:
            while waiting or running:
                while waiting and len(running) < self.count:
                    task = waiting.popleft()
                    running[self._started(task)] = task
                (reference,), _ = ray.wait(list(running), num_returns=1)
                task = running.pop(reference)
                try:
                    answer: Answer = ray.get(reference)
                except LOST as error:
                    deaths += 1
                    if deaths >= DEATHS:
                        raise ScrubbingError(_deadly(task, deaths, error)) from None
                    waiting.append(task)
                    continue
                except RayTaskError as error:  # outside of what the task catches: the package is not there
                    raise ScrubbingError(
                        f"a worker cannot run scrubbing ({error.cause}); install it on all machines"
                    ) from None
                except RayError as error:
                    raise ScrubbingError(f"Ray gave up on {task}: {' '.join(str(error).split())}") from None
                deaths = 0
                for line in answer.warnings:
                    warn(line)
                if answer.error is not None:
                    raise answer.error
                yield task, answer.value
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

    def _started(self, task: Task) -> "ray.ObjectRef[Answer]":
        engine = self.engine
        memory = memory_in_bytes(engine.memory) if engine.memory is not None else None
        options = {"num_cpus": engine.threads, "num_gpus": engine.gpus, "memory": memory, "max_retries": 0}
        return _perform.options(name=f"scrubbing: {task}", **options).remote([self.shipped], task, engine.threads)


_perform = ray.remote(perform)


def _deadly(task: Task, deaths: int, error: RayError) -> str:
    if isinstance(error, OutOfMemoryError):
        return f"workers ran out of memory {deaths} times, last with {task}; give a smaller memory=, or fewer workers"
    return f"{deaths} workers died one after the other, the last with {task}: {' '.join(str(error).split())[:500]}"
