"""The history of a store: what was tried. Neither torch nor numpy is imported for it, so that it is listed at once."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from numbers import Integral
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from scrubbing.errors import StoreError, nearest, warn


class Entry(BaseModel):
    """One recorded score in short: a line of the history. Hashes are of content; `time` is in UTC."""

    model_config = ConfigDict(frozen=True)

    id: int
    run: int
    time: datetime
    seconds: float
    suite: str | None
    name: str | None
    model: str
    data: str
    hypothesis: str
    recovered: float | None
    interval: tuple[float, float] | None
    original: float
    baseline: float
    scrubbed: float
    references: int
    draws: int
    seed: int
    settings: dict[str, Any]


STARTS = "substr({column}, 1, length(?)) = ?"  # not LIKE, in which some characters mean others
FILTERS = {
    "suite": ("suite = ?", 1),
    "name": ("(name = ? OR " + STARTS.format(column="name || '/'") + ")", 3),
    "model": (STARTS.format(column="model"), 2),
    "data": (STARTS.format(column="data"), 2),
    "run": ("run = ?", 1),
}


def read_entries(connection: sqlite3.Connection, *, last: int | None = None, **wanted: str | int | None) -> list[Entry]:
    """Scores from the oldest to the newest, `last` at most; those that are damaged are left out, with a warning.

    `wanted` filters by suite, name (of a rung, or whole), run, and model and data by how their hashes begin.
    """
    entries, damaged = [], []
    for row in entry_rows(connection, last, wanted):
        try:
            entries.append(as_entry(*row))
        except StoreError:
            damaged.append(str(row[0]))
    if damaged:
        said = f"score {damaged[0]} is" if len(damaged) == 1 else f"scores {', '.join(damaged)} are"
        warn(f"{said} damaged, and left out here")
    return entries


def entry_rows(connection: sqlite3.Connection, last: int | None, wanted: Mapping[str, str | int | None]) -> list[Any]:
    """What the store has of each score in short, as it stands there."""
    conditions, values = ["TRUE"], []
    if last is not None and not (isinstance(last, Integral) and not isinstance(last, bool)):
        raise StoreError(f"last={last!r}, but it must be a whole number")
    if last is not None and last < 1:
        raise StoreError(f"the last {last} scores were asked for; ask for at least one")
    for name, value in wanted.items():
        if name not in FILTERS:
            raise StoreError(f"there is no filter {name!r}; filters are {', '.join(FILTERS)}{nearest(name, FILTERS)}")
        if not (value is None or isinstance(value, int if name == "run" else str)):
            raise StoreError(f"{name}={value!r}, but it must be text")
        if value is not None:
            condition, times = FILTERS[name]
            conditions.append(condition)
            values += [value] * times if name != "name" else [value, f"{value}/", f"{value}/"]
    rows = connection.execute(
        "SELECT scores.id, run, time, seconds, suite, name, model, data, hypothesis, score, losses, digest FROM scores"
        f" LEFT JOIN runs ON runs.id = run WHERE {' AND '.join(conditions)} ORDER BY scores.id DESC LIMIT ?",
        (*values, -1 if last is None or last >= 2**63 else last),
    )
    return rows.fetchall()[::-1]


def as_entry(*row: Any) -> Entry:
    """A row as an entry. Raises `StoreError` for one that is damaged."""
    names = ("id", "run", "time", "seconds", "suite", "name", "model", "data", "hypothesis")
    *described, score, losses, digest = row
    try:
        check_written(score, losses, digest)
        return Entry(**{**json.loads(score), **dict(zip(names, described, strict=True))})
    except (ValidationError, ValueError, TypeError, RecursionError):
        raise StoreError(f"score {row[0]} is damaged") from None


def check_written(score: str, losses: str, digest: str) -> None:
    """Raise `StoreError` for a row of the store that is not what was written."""
    if blake2b((score + losses).encode(), digest_size=16).hexdigest() != digest:
        raise StoreError("its content is not what was written")


def count_hypotheses(connection: sqlite3.Connection, model: str, suite: str | None) -> int:
    """How many different hypotheses of a suite (or of none) were scored on a model, by content, on whatever data."""
    return connection.execute(
        "SELECT count(DISTINCT hypothesis) FROM scores JOIN runs ON runs.id = run WHERE model = ? AND suite IS ?",
        (model, suite),
    ).fetchone()[0]
