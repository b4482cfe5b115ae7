"""The store's file: what is in it, and how it is opened (SQLite with a write-ahead log).

| table | a row for each |
|---|---|
| `runs` | finished call of `scrub`: its key, when, on which data, and all that its result depends on as JSON |
| `scores` | hypothesis of a run: the score as JSON, without its losses by reference |
| `arrays` | distinct column of losses by reference, by content |
| `hypotheses`, `datasets` | distinct hypothesis or dataset, by content, as a record has them |
| `chunks` | finished chunk of a run that is not finished |
| `parts` | run that several processes compute, each into a store of its own |
"""

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from scrubbing.errors import StoreError

APPLICATION = 0x53435242  # "SCRB": how SQLite files say whose they are
CLOSED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
PATIENCE = 30.0  # seconds for which another process may hold the file

TABLES = (
    """
CREATE TABLE datasets (digest TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE hypotheses (digest TEXT PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE arrays (digest TEXT PRIMARY KEY, type TEXT NOT NULL, content BLOB NOT NULL);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, time TEXT NOT NULL, seconds REAL NOT NULL, suite TEXT,
    data TEXT NOT NULL REFERENCES datasets, identity TEXT NOT NULL
);
CREATE TABLE scores (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs, place INTEGER NOT NULL, name TEXT,
    model TEXT NOT NULL, hypothesis TEXT NOT NULL REFERENCES hypotheses,
    score TEXT NOT NULL, losses TEXT NOT NULL, digest TEXT NOT NULL
);
CREATE TABLE chunks (
    key TEXT NOT NULL, pass INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
    next_size INTEGER NOT NULL, time TEXT NOT NULL, losses BLOB NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (key, pass, start)
);
CREATE INDEX runs_by_key ON runs (key);
CREATE INDEX scores_by_run ON scores (run);
CREATE INDEX scores_by_model ON scores (model, hypothesis);
""",
    """
CREATE TABLE parts (key TEXT PRIMARY KEY, draws INTEGER NOT NULL, identity TEXT NOT NULL, command TEXT) WITHOUT ROWID;
""",
)  # one text for each version, which adds to those before
VERSION = len(TABLES)


@contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads a store; where something goes wrong, a `StoreError` that says what to do."""
    with telling(path), closing(opened_to_read(path)) as connection:
        yield connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it is written, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """What SQLite says in its own words is said in ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(_in_words(path, error)) from error
    except UnicodeDecodeError as error:  # of SQLite's own message, which quotes the file
        raise StoreError(_damaged(path, "it holds what is no text")) from error


def opened(path: Path) -> sqlite3.Connection:
    """A connection to a store, which is made if there is none."""
    _check_file(path, make_folder=True)
    with _closed_on_error(_connection(path)) as connection:
        _check_owner(path, connection)
        _use_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous = FULL")  # what is recorded survives a power cut as well
        if _version(connection) < VERSION:
            _make_tables(connection)
        return connection


def opened_to_read(path: Path) -> sqlite3.Connection:
    """A connection to a store that is there. Nothing is made, and the medium may be read-only."""
    _check_file(path, make_folder=False)
    try:
        return _reading(path, "mode=rw")  # not "ro", which cannot tidy up what a killed run left
    except sqlite3.OperationalError as error:
        # Readers leave their marks in a file beside the store. Where there is no place for one nobody writes either,
        # and the store can be read as it stands, if all that was recorded has reached it.
        log = path.with_name(path.name + "-wal")
        if error.sqlite_errorcode & 0xFF not in CLOSED or (log.exists() and log.stat().st_size):
            raise
        return _reading(path, "immutable=1")


def _reading(path: Path, how: str) -> sqlite3.Connection:
    name = quote(os.fsencode(path.absolute()))
    with _closed_on_error(_connection(f"file:{name}?{how}", uri=True)) as connection:
        _check_owner(path, connection)
        if not _version(connection):
            raise StoreError(f"{path} holds no scores; scrub(..., store=FILE) or `scrubbing score` begins a store")
        return connection


def _connection(name: Path | str, *, uri: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(name, timeout=PATIENCE, isolation_level=None, uri=uri)
    # Text that is damaged is found by its hash, and may not hide what stands beside it.
    connection.text_factory = lambda text: text.decode("utf8", "replace")
    return connection


@contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        # A file that somebody else made may hold views and triggers: they may not call functions.
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection
    except BaseException:
        connection.close()
        raise


def _check_file(path: Path, *, make_folder: bool) -> None:
    """Raise for what SQLite would take for something else, or wait for."""
    if str(path) == ":memory:":
        raise StoreError("a store in memory is gone when the run ends; give a file, or store=None to record nothing")
    try:
        if make_folder:
            path.absolute().parent.mkdir(parents=True, exist_ok=True)
        found = path.stat()
    except FileNotFoundError:
        if not make_folder:
            raise StoreError(
                f"there is no store {path}; scrub(..., store=FILE) or `scrubbing score` begins one"
            ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"the store {path} cannot be made: {reason}; give another file") from None
    else:
        if not stat.S_ISREG(found.st_mode):
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no ordinary file"
            raise StoreError(f"the store {path} cannot be opened: it is {kind}; give a file")


def file_identity(path: Path) -> tuple[int, int] | None:
    """Which file stands under a name; None if none does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def check_same_file(path: Path, identity: tuple[int, int] | None) -> None:
    """Raise `StoreError` if what was opened no longer stands under its name: what is written to it would be lost."""
    if file_identity(path) != identity:
        raise StoreError(f"the store {path} was deleted, moved or replaced during the run")


def _check_owner(path: Path, connection: sqlite3.Connection) -> None:
    # In this order: another process may be making the tables, and its mark is there as soon as they are.
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    if tables and owner != APPLICATION:
        raise StoreError(f"{path} is an SQLite file, but no store of scores; give another file")
    if _version(connection) > VERSION:
        raise StoreError(f"the store {path} was made by a later version of scrubbing; update, or give another file")


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Readers and one writer at a time. While several processes make the file, SQLite may refuse without waiting."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _make_tables(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        version = _version(connection)  # the last, where another process was first
        for statement in "".join(TABLES[version:]).split(";")[:-1]:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _damaged(path: Path, reason: object) -> str:
    return (
        f"the store {path} is damaged ({reason}); move it away, and the next run begins a new one "
        f"(`sqlite3 {path.name} .recover` writes down what is left of it)"
    )


def _in_words(path: Path, error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(path, error)
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return (
            f"the store {path} cannot be written ({error}): make room on the disk, or give another file; "
            f"what was recorded before is still there"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"another process has held the store {path} for {PATIENCE:.0f} seconds; try again, or give another file"
    if code in CLOSED:
        return f"the store {path} cannot be opened ({error}); give a file in a folder that you may write to"
    return f"the store {path} cannot be used ({error}); give another file"
