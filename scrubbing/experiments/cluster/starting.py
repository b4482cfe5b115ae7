"""Reach a cluster of Ray, or start one on this machine."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from scrubbing.engine.memory import memory_in_bytes, readable
from scrubbing.errors import HypothesisError, ScrubbingError
from scrubbing.experiments.engines import Engine

PATIENCE = 5.0  # seconds, for an address to answer
SILENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def connect(engine: Engine) -> int:
    """Reach the engine's cluster, which stays for further runs; how many workers it can have.

    Raises `ScrubbingError` where nothing answers, and where the cluster has no room for a worker.
    """
    if not ray.is_initialized():
        _start(engine)
    room = _room(engine)
    if engine.workers is not None and engine.workers > room:
        raise HypothesisError(
            f"the cluster has room for {room} such workers, and workers={engine.workers} were asked for"
        )
    return engine.workers or room


def _start(engine: Engine) -> None:
    for name, value in SILENT.items():
        os.environ.setdefault(name, value)
    if engine.address is not None:
        _check_listening(engine.address)
    quiet = {"log_to_driver": False, "logging_level": "error"}
    here = {"include_dashboard": False, "num_cpus": max(processors(), (engine.workers or 1) * engine.threads)}
    try:
        with _own_signals():
            ray.init(engine.address or "local", **quiet, **({} if engine.address else here))
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"at {engine.address}" if engine.address else "on this machine"
        raise ScrubbingError(f"Ray cannot be reached {where}: {' '.join(str(error).split())}") from None


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_listening(address: str) -> None:
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():  # "auto", and what else Ray knows
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise ScrubbingError(
            f"no Ray answers at {address} ({error}); `ray start --head` begins a cluster and prints its address"
        ) from None


def _room(engine: Engine) -> int:
    """How many workers the cluster holds."""
    wanted = {"CPU": engine.threads, "GPU": engine.gpus}
    if engine.memory is not None:
        wanted["memory"] = memory_in_bytes(engine.memory)
    there = ray.cluster_resources()
    room = min(int(there.get(name, 0) // amount) for name, amount in wanted.items() if amount)
    if not room:
        memory = readable(int(there.get("memory", 0)))
        has = f"{there.get('CPU', 0):.0f} processors, {there.get('GPU', 0):.0f} GPUs and {memory}"
        raise HypothesisError(f"no worker fits into the cluster, which has {has}: {engine}")
    return room


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray answers SIGTERM in its own way; keep the caller's."""
    try:
        before = signal.getsignal(signal.SIGTERM)
        yield
        signal.signal(signal.SIGTERM, before)
    except ValueError:  # not in the main thread, where Ray does not answer either
        yield
