"""Join stores: the scores of all, and the parts of runs that several processes computed."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from scrubbing.errors import StoreError, warn
from scrubbing.errors.arguments import checked
from scrubbing.store.identity import Identity, differences
from scrubbing.store.parts import PartialRun, partial_runs
from scrubbing.store.schema import connected, file_identity, opened, telling, transaction
from scrubbing.store.writing import chunk_hash

CONTENTS = {  # tables whose rows are known by what is in them
    "datasets": ("digest", "record"),
    "hypotheses": ("digest", "record"),
    "arrays": ("digest", "type", "content"),
}
RUN = ("key", "time", "seconds", "suite", "data", "identity")
SCORE = ("place", "name", "model", "hypothesis", "score", "losses", "digest")
CHUNK = ("key", "pass", "start", "stop", "next_size", "time", "losses", "digest")


@checked
def merge(stores: Sequence[Path | str], into: Path | str) -> list[PartialRun]:
    """Join stores into one, which is made or added to; the runs in parts that have no scores yet.

    Once all parts of a run are there, `scrub` with the arguments and settings of the run and `store=into` computes its
    scores from them, and runs nothing.

    >>> import tempfile
    >>> from hypotheses import toy
    >>> from scrubbing import Store, merge
    >>> case = toy.case("an exclusive or")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for seed in (1, 2):
    ...         score = case.score(seed=seed, references=100, store=f"{folder}/{seed}.db")
    ...     merge([f"{folder}/1.db", f"{folder}/2.db"], f"{folder}/all.db")
    ...     len(Store(f"{folder}/all.db").history())
    []
    2

    Raises `StoreError` for a store that cannot be read. Warns of parts of different runs, none of which is whole.
    """
    target = Path(into).expanduser()
    sources = [Path(store).expanduser() for store in stores]
    for source in sources:
        if file_identity(source) is not None and file_identity(source) == file_identity(target):
            raise StoreError(f"{source} is to be merged into itself; leave it out, or name another file")
        with connected(source):  # all can be read, before anything is written
            pass
    with telling(target), closing(opened(target)) as connection:
        for source in sources:
            with connected(source) as read, transaction(connection):
                _copy(read, connection, source)
        runs = partial_runs(connection)
    _warn_of_strangers([run.identity for run in runs if run.missing])
    return runs


def _copy(read: sqlite3.Connection, connection: sqlite3.Connection, source: Path) -> None:
    for table, columns in CONTENTS.items():
        _insert(connection, table, columns, read.execute(f"SELECT {', '.join(columns)} FROM {table}"))
    for number, *run in read.execute(f"SELECT id, {', '.join(RUN)} FROM runs ORDER BY id").fetchall():
        known = connection.execute("SELECT 1 FROM runs WHERE (key, time, seconds) = (?, ?, ?)", run[:3]).fetchone()
        if not known:
            new = _insert(connection, "runs", RUN, [run])
            scores = read.execute(f"SELECT {', '.join(SCORE)} FROM scores WHERE run = ? ORDER BY place", (number,))
            _insert(connection, "scores", ("run", *SCORE), ((new, *score) for score in scores))
    if read.execute("SELECT 1 FROM sqlite_master WHERE name = 'parts'").fetchone():  # not in older stores
        columns = ("key", "draws", "identity", "command")
        _insert(connection, "parts", columns, read.execute(f"SELECT {', '.join(columns)} FROM parts"))
    chunks = read.execute(f"SELECT {', '.join(CHUNK)} FROM chunks WHERE key NOT IN (SELECT key FROM runs)")
    _insert(connection, "chunks", CHUNK, _whole(chunks, source))


def _insert(
    connection: sqlite3.Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> int | None:
    """Add the rows that are not there yet; the number of the last."""
    places = ", ".join("?" * len(columns))
    last = None
    for row in rows:
        statement = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({places})"
        last = connection.execute(statement, row).lastrowid
    return last


def _whole(chunks: Iterable[Sequence[Any]], source: Path) -> Iterator[Sequence[Any]]:
    for chunk in chunks:
        key, _, *bounds, _, losses, digest = chunk
        if chunk_hash((bounds[0], bounds[1], bounds[2]), losses) == digest:
            yield chunk
        else:
            warn(f"the draws {bounds[0]} to {bounds[1]} of run {key[:12]} in {source} are damaged, and left out")


def _warn_of_strangers(runs: Sequence[Identity]) -> None:
    """Parts that do not fit each other look like parts that are missing: say what differs."""
    if len(runs) > 1:
        warn(
            f"there are parts of {len(runs)} different runs, none of them whole; the first two differ in "
            f"{', '.join(differences(*runs[:2]))}"
        )
