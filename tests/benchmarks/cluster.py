"""Workers of Ray: what a piece of work costs besides its computation, and two workers against one."""

import time

import numpy as np
import ray
import torch

from scrubbing import Engine
from scrubbing.experiments.cluster.shipping import packed, unpacked
from scrubbing.experiments.cluster.starting import connect

from .figures import Figure, in_turns, quotient
from .ladder import ladder

PIECES = 200
MIB = 2**20


def measure(*, rows: int = 256, repeats: int = 3) -> list[Figure]:
    """Seconds per piece and per byte, and the ladder by one process, by one worker and by two (one thread each)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [*_overheads(), *_speed(rows, repeats)]
    finally:
        ray.shutdown()
        torch.set_num_threads(threads)


def _overheads() -> list[Figure]:
    started = time.perf_counter()
    connect(Engine(workers=2))
    start = time.perf_counter() - started
    nothing = ray.remote(_nothing)
    ray.get([nothing.remote(np.zeros(1)) for _ in range(4)])
    started = time.perf_counter()
    ray.get([nothing.remote(np.zeros(1000)) for _ in range(PIECES)])
    piece = (time.perf_counter() - started) / PIECES
    weights = {"weights": torch.zeros(256 * MIB // 4)}
    started = time.perf_counter()
    reference = ray.put(packed(weights))
    put = time.perf_counter() - started
    started = time.perf_counter()
    unpacked(ray.get(reference))
    read = time.perf_counter() - started
    return [
        Figure("cluster", "starting Ray on this machine", start, unit="s"),
        Figure("cluster", "scheduling and returning a piece", 1000 * piece, unit="ms"),
        Figure("cluster", "packing and storing a GiB of weights, once a machine", 4 * put, unit="s"),
        Figure("cluster", "reading a GiB of weights, once a worker (mapped, not copied)", 4 * read, unit="s"),
    ]


def _nothing(value: np.ndarray) -> np.ndarray:
    return value


def _speed(rows: int, repeats: int) -> list[Figure]:
    L = ladder(rows=rows)
    for workers in (1, 2):  # so that all are warm
        L.score(engine=Engine(workers=workers), references=4)
    seconds = in_turns(
        repeats,
        here=lambda: L.score(),
        one=lambda: L.score(engine=Engine(workers=1)),
        two=lambda: L.score(engine=Engine(workers=2)),
    )
    detail = f"{rows} rows of the ladder, one thread each"
    overhead = quotient("cluster", "one worker / this process", seconds["one"], seconds["here"], detail=detail)
    speed = quotient("cluster", "two workers / one", seconds["two"], seconds["one"], at_most=0.65, detail=detail)
    return [overhead, speed]
