"""Ctrl-C and its like: one line and a status at any moment, and what was finished stays in the record."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sampled import by_default

from scrubbing.cli.running import status_of
from scrubbing.store.schema import connected

ROOT = Path(__file__).parent.parent.parent
# The command, each chunk of ten references kept as soon as it is finished and named on standard output.
MANY_CHUNKS = """
import os, sys, time
from scrubbing.cli import main

def command(**options):
    from scrubbing.engine.evaluate import Evaluator
    from scrubbing.store import checkpoints
    Evaluator.fitting = lambda self, one, share: 10
    keep, checkpoints.PAUSE = checkpoints.StoredCheckpoints.keep, float(sys.argv.pop())

    def saying(self, chunk):
        keep(self, chunk)
        os.write(1, f"{chunk.start}\\n".encode())
        time.sleep(0.01)

    checkpoints.StoredCheckpoints.keep = saying
    from scrubbing.cli.commands import app
    return app(prog_name="scrubbing", **options)

import scrubbing.cli as cli
cli._command_line = command
print("started", flush=True)
main()
"""
SAID = {signal.SIGINT: (130, "scrubbing: interrupted\n"), signal.SIGTERM: (143, "scrubbing: terminated\n")}


def started(store: Path, pause: float) -> subprocess.Popen:
    """A run of many chunks in a process of its own, once Python itself has started."""
    arguments = ["score", "toy", "--store", str(store), str(pause)]
    run = subprocess.Popen(
        [sys.executable, "-c", MANY_CHUNKS, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.stdout
    assert run.stdout.readline() == "started\n"
    return run


def kept(store: Path) -> set[int]:
    """The chunks of unfinished runs, by where they begin."""
    with connected(store) as connection:
        return {start for (start,) in connection.execute("SELECT start FROM chunks")}


def interrupt(store: Path, number: signal.Signals, *, after: float, chunks: int = 0, pause: float = 0.0) -> bool:
    """Interrupt a run so many seconds after so many chunks; whether it was still running."""
    run = started(store, pause)
    assert run.stdout
    finished = [run.stdout.readline() for _ in range(chunks)]
    time.sleep(after)
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    if run.returncode == 0:
        return False
    said = {SAID[number][1], "scrubbing: interrupted\n"}  # the second before anything has begun
    assert (run.returncode, err in said) == (SAID[number][0], True), err
    finished += out.splitlines()
    assert {int(line) for line in finished} - (kept(store) if store.exists() else set()) == set()
    return True


@pytest.mark.parametrize("number", by_default(SAID), ids=lambda number: number.name)
def test_an_interrupt_while_chunks_wait_to_be_written_loses_none(number, tmp_path):
    assert interrupt(tmp_path / "store.db", number, after=0.05, chunks=5, pause=1000.0)
    assert len(kept(tmp_path / "store.db")) >= 5


def test_an_interrupt_during_imports_is_one_line(tmp_path):
    assert interrupt(tmp_path / "store.db", signal.SIGINT, after=0.3)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 20), (signal.SIGTERM, 10)])
def test_at_random_moments_nothing_is_lost(number, times, tmp_path):
    moments = random.Random(number)
    stopped = [
        interrupt(tmp_path / f"{i}.db", number, after=moments.uniform(0, 4), pause=moments.choice([0.0, 1000.0]))
        for i in range(times)
    ]
    assert sum(stopped) > times / 2


# -- in this process


def raising(number: int) -> None:
    signal.raise_signal(number)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Handlers are put back, whatever a run did; tests that a shell runs in the background ignore SIGINT themselves."""
    own = signal.signal(signal.SIGINT, signal.default_int_handler)
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before = [signal.getsignal(number) for number in signals]
    yield
    assert [signal.getsignal(number) for number in signals] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    signal.signal(signal.SIGINT, own)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_status_is_that_of_the_signal(number, status, capsys):
    own = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which is ignored where tests run under nohup
    try:
        assert status_of(lambda **_: raising(number)) == status
    finally:
        signal.signal(signal.SIGHUP, own)
    assert capsys.readouterr().err.count("\n") == 1


def test_an_interrupt_that_became_another_error_is_an_interrupt(capsys):
    def importing(**_: object) -> None:
        try:
            raising(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise ImportError("numpy could not be imported") from error

    assert status_of(importing) == 130
    assert capsys.readouterr().err == "scrubbing: interrupted\n"


def test_an_interrupt_that_was_lost_comes_again(capsys):
    class Dropped:
        def __del__(self) -> None:  # where Python drops whatever is raised
            raising(signal.SIGINT)

    def losing(**_: object) -> None:
        Dropped()
        time.sleep(30)

    started_at = time.monotonic()
    assert status_of(losing) == 130
    assert time.monotonic() - started_at < 20
    assert capsys.readouterr().err == "scrubbing: interrupted\n"


def test_what_an_interrupt_unwinds_is_not_interrupted_again(capsys):
    order = []

    def unwinding(**_: object) -> None:
        try:
            raising(signal.SIGINT)
        finally:
            time.sleep(0.5)  # longer than it takes to come again
            raising(signal.SIGTERM)
            order.append("in order")

    assert status_of(unwinding) == 130
    assert order == ["in order"]
    assert capsys.readouterr().err == "scrubbing: interrupted\n"


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert status_of(lambda **_: raising(signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)
