"""Runs that are killed, that run together, and that run out of room: one warm process forks them all.

`python -m tests.killing kill FILE 10` prints what it saw as JSON. Importing torch takes seconds, a fork
does not; no connection to the store is open across one.
"""

import json
import os
import random
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from hypotheses.toy import CLAIMS, KNOWS_NOTHING, NETWORK, digits
from scrubbing import Hypothesis, experiment, scrub
from scrubbing.evaluate import Evaluator
from scrubbing.store import Store, journal
from scrubbing.store.schema import connected

torch.set_num_threads(1)
DATA = digits()
HYPOTHESES = {name: Hypothesis(NETWORK, I) for name, I in CLAIMS.items()}
CHUNK_BYTES = 12_000  # a hundred chunks or so


def many_chunks() -> None:
    """Have runs of many chunks, each written as soon as it is finished."""
    experiment.Evaluator = partial(Evaluator, live_bytes=CHUNK_BYTES)  # pyright: ignore
    journal.PAUSE = 0.0


def score(seed: int, store: Path | str | Store | None = None) -> str:
    """All scores of a run as JSON."""
    scores = scrub(HYPOTHESES, DATA, baseline=KNOWS_NOTHING, seed=seed, store=store)
    return json.dumps({name: s.model_dump_json() for name, s in scores.items()})


def forked(work: Callable[[], object]) -> int:
    """The process id of a child that does the work and ends with status 0, or 1 where that fails."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)


def chunks_in(file: Path) -> set[tuple[str, int]]:
    """The chunks that are kept, by run and start."""
    if not file.exists():
        return set()
    with connected(file) as connection:
        return set(connection.execute("SELECT key, start FROM chunks"))


def scores_in(file: Path) -> dict[int, str]:
    """All recorded scores, by id."""
    if not file.exists():
        return {}
    store = Store(file)
    return {entry.id: store.score(entry.id).model_dump_json() for entry in store.history()}


def kill(file: Path, kills: int, seed: int = 0) -> dict[str, object]:
    """Kill a run again and again at random moments, until it is finished; then the next, until there were enough.

    The child says which chunks it has kept; what it said must be there after it was killed.
    """
    many_chunks()
    random.seed(seed)
    started = time.monotonic()
    expected = score(0)
    length = 2 * (time.monotonic() - started)
    seen = {"kills": 0, "runs": 0, "resumed": 0, "lost chunks": 0, "lost scores": 0, "unequal": 0, "failed": 0}
    known: dict[int, str] = {}
    run = 0
    while seen["kills"] < kills:
        expected = score(run)
        finished = False
        while not finished:
            before = chunks_in(file)
            said, status, killed = attempt(file, run, random.uniform(0, length))
            after, scores = chunks_in(file), scores_in(file)
            finished = status == 0
            seen["kills"] += killed
            seen["failed"] += not killed and not finished
            seen["resumed"] += bool(before)
            recorded = len(scores) > len(known)  # then the run's chunks are no longer needed
            wanted = {start for _, start in before} | said
            seen["lost chunks"] += 0 if recorded else len(wanted - {start for _, start in after})
            seen["lost scores"] += sum(scores.get(id) != content for id, content in known.items())
            known = scores
            finished = finished or recorded
        seen["runs"] += 1
        seen["unequal"] += score(run, store=file) != expected
        seen["unequal"] += chunks_in(file) != set()
        run += 1
    return seen


def attempt(file: Path, run: int, moment: float) -> tuple[set[int], int, bool]:
    """One child that is killed at a moment: the chunks that it said to have kept, its status, whether it was killed."""
    reading, writing = os.pipe()

    def work() -> None:
        keep = journal.StoredJournal.keep

        def saying(self: journal.StoredJournal, chunk: object) -> None:
            keep(self, chunk)  # pyright: ignore
            os.write(writing, f"{chunk.start}\n".encode())  # pyright: ignore

        journal.StoredJournal.keep = saying  # pyright: ignore
        score(run, store=file)

    pid = forked(work)
    os.close(writing)
    time.sleep(moment)
    os.kill(pid, signal.SIGKILL)  # a child that has ended is waited for, and minds no signal
    _, status = os.waitpid(pid, 0)
    said = b""
    while piece := os.read(reading, 65536):
        said += piece
    os.close(reading)
    lines = said.decode().split("\n")[:-1]
    return {int(line) for line in lines}, status, os.WIFSIGNALED(status)


def together(file: Path, processes: int, rounds: int) -> dict[str, object]:
    """Several processes begin a store at once, and score the same and other runs."""
    many_chunks()
    expected = {seed: score(seed) for seed in range(processes + 1)}
    failed = unequal = 0
    for number in range(rounds):
        here = file.with_name(f"{number}.db")
        children = [
            forked(lambda n=n, here=here: [score(seed, here) for seed in (0, n)]) for n in range(1, processes + 1)
        ]
        failed += sum(os.waitpid(pid, 0)[1] != 0 for pid in children)
        for seed, scores in expected.items():
            unequal += score(seed, here) != scores
        unequal += len(Store(here).history()) < len(CLAIMS) * len(expected) or chunks_in(here) != set()
    return {"failed": failed, "unequal": unequal}


def full(file: Path, room: int) -> dict[str, object]:
    """A disk that fills up: no file may grow beyond so many bytes. What was recorded before, and the result, remain."""
    many_chunks()
    score(0, store=file)
    before = scores_in(file)
    expected = [score(seed) for seed in range(1, 6)]
    report = file.with_name("report.json")
    report.touch()

    def work() -> None:
        largest = max(f.stat().st_size for f in file.parent.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest + room, resource.RLIM_INFINITY))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = [score(seed, store=file) for seed in range(1, 6)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        report.write_text(json.dumps({"equal": found == expected, "warned": sorted({str(w.message) for w in caught})}))

    _, status = os.waitpid(forked(work), 0)
    kept = scores_in(file).items() >= before.items()
    return {"status": status, "kept": kept, **json.loads(report.read_text() or "{}")}


if __name__ == "__main__":
    mode, where, *numbers = sys.argv[1:]
    print(json.dumps({"kill": kill, "together": together, "full": full}[mode](Path(where), *map(int, numbers))))
