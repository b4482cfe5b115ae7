"""Runs that are killed, that run together, and that run out of room: one warm process forks them all.

`python -m tests.killing kill FILE 10` prints what it saw as JSON; so do `everywhere FILE` and `everything FOLDER`.
Importing torch takes seconds, a fork does not; no connection to the store is open across one.
"""

import itertools
import json
import os
import random
import resource
import signal
import sqlite3
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from hypotheses.toy import CLAIMS, KNOWS_NOTHING, NETWORK, digits
from scrubbing import Hypothesis, scrub
from scrubbing.engine.evaluate import Evaluator
from scrubbing.store import Store, checkpoints, recording
from scrubbing.store.schema import connected

torch.set_num_threads(1)
DATA = digits()
REFERENCES = 200
HYPOTHESES = {name: Hypothesis(NETWORK, I) for name, I in CLAIMS.items()}


def many_chunks(draws: int = 10) -> None:
    """Have runs of many chunks of so many draws, each written as soon as it is finished."""
    Evaluator.fitting = lambda self, one, share: draws  # pyright: ignore
    checkpoints.PAUSE = 0.0


def score(seed: int, store: Path | str | Store | None = None) -> str:
    """All scores of a run as JSON."""
    scores = scrub(HYPOTHESES, DATA, baseline=KNOWS_NOTHING, references=REFERENCES, seed=seed, store=store)
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


def is_begun(file: Path) -> bool:
    """Whether there is a store: a run that is killed while it begins one may leave a file that holds none."""
    if not file.exists():
        return False
    with closing(sqlite3.connect(file)) as connection:
        return bool(connection.execute("SELECT 1 FROM sqlite_master").fetchall())


def chunks_in(file: Path) -> set[tuple[str, int]]:
    """The chunks that are kept, by run and start."""
    if not is_begun(file):
        return set()
    with connected(file) as connection:
        return set(connection.execute("SELECT key, start FROM chunks"))


def scores_in(file: Path) -> dict[int, str]:
    """All recorded scores, by id."""
    if not is_begun(file):
        return {}
    store = Store(file)
    return {entry.id: store.score(entry.id).model_dump_json() for entry in store.history()}


def kill(file: Path, kills: int, seed: int = 0) -> dict[str, int]:
    """Kill a run again and again at random moments, until it is finished; then the next, until there were enough.

    The child says which chunks it has kept; what it said must be there after it was killed.
    """
    many_chunks()
    random.seed(seed)
    started = time.monotonic()
    score(0)
    length = 2 * (time.monotonic() - started)  # keeping chunks takes as long as computing these
    seen = Counter({"kills": 0, "runs": 0, "resumed": 0, "lost": 0, "unequal": 0, "failed": 0})
    while seen["kills"] < kills:
        expected, finished = score(seen["runs"]), False
        while not finished:
            finished = _attempt(file, seen["runs"], lambda: time.sleep(random.uniform(0, length)), seen)
        seen["runs"] += 1
        seen["unequal"] += score(seen["runs"] - 1, file) != expected or chunks_in(file) != set()
    return dict(seen)


def everywhere(file: Path, step: int = 1) -> dict[str, int]:
    """Kill a run before its first statement to the database, another a step later, and so on to the last."""
    many_chunks(REFERENCES // 2)
    expected = score(0)
    seen = Counter({"kills": 0, "resumed": 0, "lost": 0, "unequal": 0, "failed": 0})
    finished = False
    while not finished and not seen["failed"]:
        here = file.with_name(f"{seen['kills']}.db")
        finished = _attempt(here, 0, lambda: None, seen, statement=step * seen["kills"])
        seen["unequal"] += score(0, here) != expected or chunks_in(here) != set()
    return dict(seen)


def _attempt(
    file: Path, run: int, wait: Callable[[], None], seen: Counter[str], *, statement: int | None = None
) -> bool:
    """One child that is killed after a wait, or before a statement; whether its run is recorded then."""
    chunks, scores = chunks_in(file), scores_in(file)
    reading, writing = os.pipe()

    def work() -> None:
        keep = checkpoints.StoredCheckpoints.keep

        def saying(self: Any, chunk: Any) -> None:
            keep(self, chunk)
            os.write(writing, f"{chunk.start}\n".encode())

        checkpoints.StoredCheckpoints.keep = saying
        if statement is not None:
            _die_at(statement)
        score(run, file)

    pid = forked(work)
    os.close(writing)
    if statement is None:
        wait()
        os.kill(pid, signal.SIGKILL)  # a child that has ended is waited for, and minds no signal
    _, status = os.waitpid(pid, 0)
    with os.fdopen(reading) as pipe:
        said = {int(line) for line in pipe}
    after = scores_in(file)
    recorded = len(after) > len(scores)
    seen["kills"] += os.WIFSIGNALED(status)
    seen["failed"] += not os.WIFSIGNALED(status) and status != 0
    seen["resumed"] += bool(chunks)
    seen["lost"] += sum(after.get(id) != content for id, content in scores.items())
    if not recorded:
        seen["lost"] += len(({start for _, start in chunks} | said) - {start for _, start in chunks_in(file)})
    return recorded if statement is None else status == 0


def _die_at(statement: int) -> None:
    """Have this process killed before a statement to the database, counted from the opening of the store."""
    count = itertools.count()
    opened = recording.opened

    def trace(_: str) -> None:
        if next(count) == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    def traced(path: Path) -> sqlite3.Connection:
        connection = opened(path)
        connection.set_trace_callback(trace)
        return connection

    recording.opened = traced


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


def everything(folder: Path) -> dict[str, object]:
    """All of it, in short."""
    for name in ("kill", "everywhere", "together", "full", "fuller"):
        (folder / name).mkdir()
    return {
        "kill": kill(folder / "kill" / "store.db", 6),
        "everywhere": everywhere(folder / "everywhere" / "store.db", 5),
        "together": together(folder / "together" / "store.db", 2, 2),
        "full": full(folder / "full" / "store.db", 30_000),
        "fuller": full(folder / "fuller" / "store.db", 0),
    }


if __name__ == "__main__":
    mode, where, *numbers = sys.argv[1:]
    modes = {"kill": kill, "everywhere": everywhere, "everything": everything}
    print(json.dumps(modes[mode](Path(where), *map(int, numbers))))
