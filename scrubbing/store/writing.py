"""Writing to a store: a finished run in one transaction, and the chunks of one that is not finished."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from scrubbing.engine.evaluate import Chunk
from scrubbing.graph.fingerprint import content_hash
from scrubbing.score import Score
from scrubbing.store.identity import Described
from scrubbing.store.packing import Packed, pack, pack_losses, pack_record
from scrubbing.store.schema import transaction

ABANDONED = timedelta(days=30)  # after which the chunks of a run that nobody went on with are dropped


def now() -> datetime:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def write_run(
    connection: sqlite3.Connection,
    described: Described,
    scores: Sequence[Score],
    *,
    suite: str | None,
    seconds: float,
) -> None:
    """Record a run's scores, and drop its chunks: both or neither."""
    identity = described.identity
    packed = [pack(score) for score in scores]
    with transaction(connection):
        _write_contents(connection, described, packed)
        run = connection.execute(
            "INSERT INTO runs (key, time, seconds, suite, data, identity) VALUES (?, ?, ?, ?, ?, ?)",
            (identity.key, now().isoformat(), seconds, suite, identity.data, identity.model_dump_json()),
        ).lastrowid
        connection.executemany(
            "INSERT INTO scores (run, place, name, model, hypothesis, score, losses, digest)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (run, place, score.name, model, hypothesis, content.score, content.losses, content.digest)
                for place, (score, content, model, hypothesis) in enumerate(
                    zip(scores, packed, identity.models, identity.hypotheses, strict=True)
                )
            ],
        )
        for table in ("chunks", "parts"):
            connection.execute(f"DELETE FROM {table} WHERE key = ?", (identity.key,))
        connection.execute("DELETE FROM chunks WHERE time < ?", ((now() - ABANDONED).isoformat(),))


def _write_contents(connection: sqlite3.Connection, described: Described, packed: Iterable[Packed]) -> None:
    """What is known by its content hash; if it is there already it stays, unless it is damaged."""
    data = described.data
    connection.execute(
        "INSERT INTO datasets VALUES (?, ?) ON CONFLICT DO UPDATE SET record = excluded.record"
        " WHERE record IS NOT excluded.record",
        (data.digest, data.model_dump_json()),
    )
    connection.executemany(
        "INSERT INTO hypotheses VALUES (?, ?) ON CONFLICT DO UPDATE SET record = excluded.record"
        " WHERE record IS NOT excluded.record",
        [(digest, pack_record(record)) for digest, record in described.hypotheses.items()],
    )
    connection.executemany(
        "INSERT INTO arrays VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET type = excluded.type, content = excluded.content"
        " WHERE (type, content) IS NOT (excluded.type, excluded.content)",
        [(array.digest, array.type, array.content) for score in packed for array in score.columns.values()],
    )


def write_chunks(connection: sqlite3.Connection, key: str, number: int, chunks: Iterable[Chunk]) -> None:
    """Keep finished chunks of a run's pass over its references, in one transaction."""
    rows = []
    for chunk in chunks:
        losses = pack_losses(chunk.losses)
        bounds = (chunk.start, chunk.stop, chunk.next_size)
        rows.append((key, number, *bounds, now().isoformat(), losses, chunk_hash(bounds, losses)))
    with transaction(connection):
        connection.executemany("INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def chunk_hash(bounds: tuple[int, int, int], losses: bytes) -> str:
    """The content hash of a chunk."""
    return content_hash(json.dumps(bounds).encode() + losses)
