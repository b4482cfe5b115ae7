"""Runs that several processes compute in parts, each into a store of its own: what there is of them in one store."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scrubbing.errors import StoreError
from scrubbing.store.identity import Identity
from scrubbing.store.schema import transaction

Command = Mapping[str, Any]  # the options of `scrubbing score`, by name


@dataclass(frozen=True)
class PartialRun:
    """A run whose parts are in a store: its identity, how many draws it has, and which are missing.

    `command` are the options of the command line that compute its scores; None where it was begun in Python.
    """

    identity: Identity
    draws: int
    missing: tuple[range, ...]
    command: Command | None = None

    def __str__(self) -> str:
        name = self.identity.key[:12]
        if not self.missing:
            return f"run {name}: all of its {self.draws:,} draws"
        there = self.draws - sum(map(len, self.missing))
        gaps = ", ".join(f"{gap.start} to {gap.stop}" for gap in self.missing)
        return f"run {name}: {there:,} of its {self.draws:,} draws; missing are {gaps}"


def begin_parts(connection: sqlite3.Connection, identity: Identity, draws: int) -> None:
    """Say that a run is computed in parts."""
    with transaction(connection):
        connection.execute(
            "INSERT OR IGNORE INTO parts (key, draws, identity) VALUES (?, ?, ?)",
            (identity.key, draws, identity.model_dump_json()),
        )


def note_command(connection: sqlite3.Connection, key: str, command: Command) -> None:
    """Say how the command line computes the scores of a run."""
    with transaction(connection):
        connection.execute("UPDATE parts SET command = ? WHERE key = ?", (json.dumps(dict(command)), key))


def partial_runs(connection: sqlite3.Connection) -> list[PartialRun]:
    """All runs in parts that have no scores yet. Raises `StoreError` for one that is damaged."""
    rows = connection.execute(
        "SELECT key, draws, identity, command FROM parts WHERE key NOT IN (SELECT key FROM runs) ORDER BY key"
    ).fetchall()
    return [_partial_run(connection, *row) for row in rows]


def partial_run(connection: sqlite3.Connection, key: str) -> PartialRun:
    """One of them."""
    return next(run for run in partial_runs(connection) if run.identity.key == key)


def _partial_run(
    connection: sqlite3.Connection, key: str, draws: int, identity: str, command: str | None
) -> PartialRun:
    chunks = connection.execute("SELECT start, stop FROM chunks WHERE key = ? AND pass = 0 ORDER BY start", (key,))
    try:
        return PartialRun(
            Identity.model_validate_json(identity),
            draws,
            _missing(draws, chunks.fetchall()),
            None if command is None else dict(json.loads(command)),
        )
    except (ValueError, TypeError) as error:
        raise StoreError(f"the run {key[:12]} in parts is damaged ({error}); compute its parts again") from None


def _missing(draws: int, chunks: Sequence[tuple[int, int]]) -> tuple[range, ...]:
    """The draws that no chunk holds, of chunks that are found one after the other as a run finds them."""
    found: list[range] = []
    reached = 0
    for start, stop in [*chunks, (draws, draws)]:
        if start > reached:
            found.append(range(reached, start))
        reached = max(reached, stop)
    return tuple(found)
