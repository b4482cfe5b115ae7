"""The history of a store: what was tried. Neither torch nor numpy is imported for it, so that it is listed at once."""

import json
import sqlite3
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from scrubbing.errors import StoreError


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
    """Scores from the oldest to the newest, `last` at most.

    `wanted` filters by suite, name (of a rung, or whole), run, and model and data by how their hashes begin.
    """
    conditions, values = ["TRUE"], []
    for name, value in wanted.items():
        if value is not None:
            condition, times = FILTERS[name]
            conditions.append(condition)
            values += [value] * times if name != "name" else [value, f"{value}/", f"{value}/"]
    rows = connection.execute(
        "SELECT scores.id, run, time, seconds, suite, name, model, data, hypothesis, score FROM scores"
        f" JOIN runs ON runs.id = run WHERE {' AND '.join(conditions)} ORDER BY scores.id DESC LIMIT ?",
        (*values, -1 if last is None else last),
    )
    return [_entry(*row) for row in rows][::-1]


def _entry(*row: Any) -> Entry:
    names = ("id", "run", "time", "seconds", "suite", "name", "model", "data", "hypothesis")
    columns = dict(zip(names, row[:-1], strict=True))
    try:
        return Entry(**{**json.loads(row[-1]), **columns})
    except (ValidationError, ValueError, TypeError):
        raise StoreError(f"score {columns['id']} is damaged; the others can be read with another --last") from None


def count_hypotheses(connection: sqlite3.Connection, model: str, data: str) -> int:
    """How many different hypotheses were scored on a model and a dataset, by content."""
    return connection.execute(
        "SELECT count(DISTINCT hypothesis) FROM scores JOIN runs ON runs.id = run WHERE model = ? AND data = ?",
        (model, data),
    ).fetchone()[0]
