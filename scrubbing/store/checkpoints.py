"""The chunks of a run that is not finished, kept so that it can go on after it was killed."""

import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path

from scrubbing.engine.evaluate import Chunk
from scrubbing.errors import StoreError, warn
from scrubbing.store.packing import unpack_losses
from scrubbing.store.schema import check_same_file, telling
from scrubbing.store.writing import chunk_hash, write_chunks

PAUSE = 1.0  # seconds of work that a kill may cost; writing more often would slow runs of quick chunks


@dataclass
class StoredCheckpoints:
    """Checkpoints in a store. Where it cannot be written, the run goes on without."""

    path: Path
    connection: sqlite3.Connection
    file: tuple[int, int] | None  # which it is, whatever becomes of its name
    key: str
    number: int  # which pass over the references, in a run of several
    roots: int
    draws: int
    _waiting: list[Chunk] = field(default_factory=list)
    _written: float = field(default_factory=time.monotonic)
    _broken: bool = False

    def find(self, start: int) -> Chunk | None:
        """The chunk that starts here; None if there is none, or none that is whole."""
        if self._broken:
            return None
        try:
            with telling(self.path):
                row = self.connection.execute(
                    "SELECT stop, next_size, losses, digest FROM chunks WHERE key = ? AND pass = ? AND start = ?",
                    (self.key, self.number, start),
                ).fetchone()
            return row and self._chunk(start, *row)
        except StoreError as error:
            self._give_up(error)
            return None

    def keep(self, chunk: Chunk) -> None:
        """Keep a chunk, soon."""
        self._waiting.append(chunk)
        if time.monotonic() - self._written >= PAUSE:
            self.write()

    def write(self) -> None:
        """Keep what is waiting now."""
        if self._broken or not self._waiting:
            return
        try:
            with telling(self.path):
                write_chunks(self.connection, self.key, self.number, self._waiting)
            check_same_file(self.path, self.file)
        except StoreError as error:
            self._give_up(error)
        self._waiting.clear()
        self._written = time.monotonic()

    def _chunk(self, start: int, stop: int, next_size: int, content: bytes, digest: str) -> Chunk | None:
        if chunk_hash((start, stop, next_size), content) != digest:
            return None
        losses = unpack_losses(content)
        fits = start < stop <= self.draws and next_size > 0 and len(losses) == self.roots
        whole = fits and all(loss.shape == (stop - start,) for loss in losses)
        return Chunk(start, stop, next_size, losses) if whole else None

    def _give_up(self, error: StoreError) -> None:
        self._broken = True
        warn(f"the run goes on, but it cannot be resumed: {error}")
