"""Reading from a store: what was tried, and the scores. Nothing that stands in it is run or imported."""

import json
import sqlite3
import warnings
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from scrubbing.errors import ScrubbingWarning, StoreError, nearest
from scrubbing.graph.data import whole_number
from scrubbing.graph.fingerprint import content_hash
from scrubbing.graph.reading import in_short
from scrubbing.score import Score
from scrubbing.store.packing import Array, check_written, unpack, unpack_record
from scrubbing.store.record import Record
from scrubbing.store.record.parts import DataRecord, HypothesisRecord


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
    for row in _rows(connection, last, wanted):
        try:
            entries.append(_entry(*row))
        except StoreError:
            damaged.append(str(row[0]))
    if damaged:
        said = f"score {damaged[0]} is" if len(damaged) == 1 else f"scores {', '.join(damaged)} are"
        warnings.warn(f"{said} damaged, and left out here", ScrubbingWarning, stacklevel=3)
    return entries


def _rows(connection: sqlite3.Connection, last: int | None, wanted: Mapping[str, str | int | None]) -> list[Any]:
    conditions, values = ["TRUE"], []
    last = None if last is None else whole_number("last", last)
    if last is not None and last < 1:
        raise StoreError(f"the last {last} scores were asked for; ask for at least one")
    for name, value in wanted.items():
        if name not in FILTERS:
            raise StoreError(f"there is no filter {name!r}; filters are {', '.join(FILTERS)}{nearest(name, FILTERS)}")
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


def _entry(*row: Any) -> Entry:
    names = ("id", "run", "time", "seconds", "suite", "name", "model", "data", "hypothesis")
    *described, score, losses, digest = row
    try:
        check_written(score, losses, digest)
        return Entry(**{**json.loads(score), **dict(zip(names, described, strict=True))})
    except (ValidationError, ValueError, TypeError, RecursionError):
        raise StoreError(f"score {row[0]} is damaged") from None


def read_score(connection: sqlite3.Connection, id: int) -> Score:
    """A score, with the losses of its references.

    Raises `StoreError` where there is none, it is damaged, or another version of this package recorded it.
    """
    row: tuple[str, str, str] | None = None
    id = whole_number("id", id)
    if -(2**63) <= id < 2**63:  # what SQLite has numbers for
        row = connection.execute("SELECT score, losses, digest FROM scores WHERE id = ?", (id,)).fetchone()
    if row is None:
        (largest,) = connection.execute("SELECT max(id) FROM scores").fetchone()
        there = f"the last is {largest}" if largest else "there are none yet"
        raise StoreError(f"there is no score {id}; {there} (see `scrubbing history`)")
    try:
        return unpack(*row, lambda digest: _array(connection, digest))
    except StoreError as error:
        raise StoreError(f"score {id} cannot be read: {error}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StoreError(f"score {id} is damaged ({error})") from None


def _array(connection: sqlite3.Connection, digest: str) -> Array:
    row = connection.execute("SELECT type, content FROM arrays WHERE digest = ?", (digest,)).fetchone()
    if row is None:
        raise StoreError("its losses are missing")
    return Array(*row)


def read_run(connection: sqlite3.Connection, key: str) -> list[tuple[Entry, Score]] | None:
    """The scores of the last run with this key, in order; None if there is none."""
    (run,) = connection.execute("SELECT max(id) FROM runs WHERE key = ?", (key,)).fetchone()
    if run is None:
        return None
    rows = _rows(connection, None, {"run": run})
    scores = [read_score(connection, row[0]) for row in rows]
    return [(_entry(*row), score) for row, score in zip(rows, scores, strict=True)]


def read_record(connection: sqlite3.Connection, id: int) -> Record:
    """The hypothesis, data's fingerprint, settings and score, as `load_record` gives and `restore` takes them."""
    score = read_score(connection, id)
    found = connection.execute(
        "SELECT hypotheses.digest, hypotheses.record, datasets.record FROM scores"
        " JOIN hypotheses ON hypotheses.digest = hypothesis JOIN runs ON runs.id = run"
        " JOIN datasets ON datasets.digest = data WHERE scores.id = ?",
        (id,),
    ).fetchone()
    if found is None:
        raise StoreError(f"score {id} cannot be read: its hypothesis or its run is missing")
    hypothesis, described, data = found
    try:
        text = unpack_record(described)
        if content_hash(text) != hypothesis:
            raise StoreError("its hypothesis is not what was written")
        return Record(
            hypothesis=HypothesisRecord.model_validate_json(text),
            data=DataRecord.model_validate_json(data),
            settings=score.settings,
            score=score,
        )
    except (StoreError, ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"score {id} cannot be read: {in_short(error)}") from None


def count_hypotheses(connection: sqlite3.Connection, model: str, data: str) -> int:
    """How many different hypotheses were scored on a model and a dataset, by content."""
    return connection.execute(
        "SELECT count(DISTINCT hypothesis) FROM scores JOIN runs ON runs.id = run WHERE model = ? AND data = ?",
        (model, data),
    ).fetchone()[0]
