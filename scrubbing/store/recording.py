"""What `scrub` does with a store: look for the answer, keep chunks meanwhile, record the scores."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scrubbing.errors import StoreError, warn
from scrubbing.score import Recalled, Score
from scrubbing.store.checkpoints import StoredCheckpoints
from scrubbing.store.identity import Described
from scrubbing.store.mounts import network_file_system
from scrubbing.store.parts import PartialRun, begin_parts, partial_run
from scrubbing.store.reading import read_run
from scrubbing.store.schema import check_same_file, file_identity, opened, telling
from scrubbing.store.store import Store
from scrubbing.store.writing import write_run


@dataclass
class Recording:
    """One call of `scrub`, as its store sees it."""

    store: Store
    connection: sqlite3.Connection
    described: Described
    file: tuple[int, int] | None  # which it is, whatever becomes of its name
    _checkpoints: list[StoredCheckpoints] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)

    def answer(self) -> list[Score] | None:
        """The scores of this very run, if they are recorded; None where they have to be computed."""
        if not self._may_reuse():
            return None
        identity = self.described.identity
        try:
            with telling(self.store.file):
                found = read_run(self.connection, identity.key)
        except StoreError as error:
            if error.__cause__ is not None:  # the file itself, not one score in it
                raise
            warn(f"computed anew: {error}")
            return None
        if found is None or len(found) != len(identity.hypotheses):
            return None
        for entry, score in found:
            score._recalled = Recalled(str(self.store.file), entry.id, entry.time)
        return [score for _, score in found]

    def checkpoints(self, roots: int, draws: int) -> StoredCheckpoints | None:
        """Where the chunks of the next pass over the references are kept; None where they would not be told apart."""
        if not self._may_reuse():
            return None
        key, number = self.described.identity.key, len(self._checkpoints)
        self._checkpoints.append(
            StoredCheckpoints(self.store.file, self.connection, self.file, key, number, roots, draws)
        )
        return self._checkpoints[-1]

    def begin_parts(self, draws: int) -> None:
        """Say that the run is computed in parts, this store's among them.

        Raises `StoreError` for a run that cannot be told from another, whose parts could not be joined.
        """
        identity = self.described.identity
        if identity.unseen:
            raise StoreError(
                f"a run cannot be computed in parts if the content of {', '.join(identity.unseen)}, which a function "
                f"uses, cannot be hashed: its parts could not be told from another run's"
            )
        with telling(self.store.file):
            begin_parts(self.connection, identity, draws)

    def parts(self) -> PartialRun:
        """What there is of a run in parts, once all is written."""
        for checkpoints in self._checkpoints:
            checkpoints.write()
        with telling(self.store.file):
            return partial_run(self.connection, self.described.identity.key)

    def keep(self, scores: Sequence[Score]) -> None:
        """Record the scores. Where that fails, it is said and nothing is thrown away."""
        try:
            with telling(self.store.file):
                seconds = time.monotonic() - self._started
                write_run(self.connection, self.described, scores, suite=self.store.suite, seconds=seconds)
            check_same_file(self.store.file, self.file)
        except StoreError as error:
            warn(f"the scores were not recorded: {error}")

    def _may_reuse(self) -> bool:
        return self.store.reuse and not self.described.identity.unseen


@contextmanager
def recording(store: Store | None, describe: Callable[[], Described]) -> Iterator[Recording | None]:
    """Have a store at hand during a run, if there is one; if the run is interrupted, its finished chunks are kept.

    Raises `StoreError` before the work for a store that cannot be opened.
    """
    if store is None:
        yield None
        return
    with telling(store.file):
        connection, file = opened(store.file), file_identity(store.file)
    with closing(connection):
        _warn_of_network(store.file)
        record = Recording(store, connection, describe(), file)
        _warn_of_unseen(record)
        try:
            yield record
        except BaseException:
            for checkpoints in record._checkpoints:
                checkpoints.write()
            raise


def _warn_of_network(path: Path) -> None:
    kind = network_file_system(path)
    if kind is not None:
        warn(
            f"the store {path} lies on a network file system ({kind}), where SQLite can lose or damage what several "
            f"processes write; put it on a disk of this machine"
        )


def _warn_of_unseen(record: Recording) -> None:
    unseen = record.described.identity.unseen
    if unseen and record.store.reuse:
        warn(
            f"the run is recorded, but cannot be resumed or answered from the store: the content of "
            f"{', '.join(unseen)}, which a function uses, cannot be hashed (Store(path, reuse=False) says nothing)"
        )
