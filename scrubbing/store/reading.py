"""Reading from a store: the scores, and what they are of. Nothing that stands in it is run or imported."""

import sqlite3

from scrubbing.errors import StoreError
from scrubbing.graph.data import whole_number
from scrubbing.graph.fingerprint import content_hash
from scrubbing.graph.reading import in_short
from scrubbing.score import Score
from scrubbing.store.entries import Entry, as_entry, entry_rows
from scrubbing.store.packing import Array, unpack, unpack_record
from scrubbing.store.record import Record
from scrubbing.store.record.parts import DataRecord, HypothesisRecord


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
    rows = entry_rows(connection, None, {"run": run})
    scores = [read_score(connection, row[0]) for row in rows]
    return [(as_entry(*row), score) for row, score in zip(rows, scores, strict=True)]


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
