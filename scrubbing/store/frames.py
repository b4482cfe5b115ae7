"""The store as tables for pandas, and as CSV and Parquet files."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from scrubbing.errors import DataError, StoreError, warn
from scrubbing.store.entries import Entry
from scrubbing.store.files import writing
from scrubbing.store.reading import read_score


def frame(connection: sqlite3.Connection, entries: Sequence[Entry], *, by_reference: bool) -> pd.DataFrame:
    """A row for each score: its numbers, hashes, and settings as JSON; or one for each of its references."""
    if by_reference:
        return _by_reference(connection, entries)
    rows = []
    for entry in entries:
        row = entry.model_dump(exclude={"interval", "settings"})
        low, high = entry.interval or (None, None)
        rows.append({**row, "low": low, "high": high, "settings": json.dumps(entry.settings, sort_keys=True)})
    columns = [
        *(name for name in Entry.model_fields if name not in ("interval", "settings")),
        "low",
        "high",
        "settings",
    ]
    return pd.DataFrame(rows, columns=pd.Index(columns)).astype({"low": float, "high": float, "recovered": float})


def _by_reference(connection: sqlite3.Connection, entries: Sequence[Entry]) -> pd.DataFrame:
    tables = []
    for entry in entries:
        try:
            losses = read_score(connection, entry.id).losses
        except StoreError as error:
            warn(f"left out: {error}")
            continue
        for place, (name, value) in enumerate([("id", entry.id), ("suite", entry.suite), ("name", entry.name)]):
            losses.insert(place, name, value)
        tables.append(losses)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def write_frame(table: pd.DataFrame, path: Path) -> None:
    """Write a table as .csv or .parquet, so that a reader sees a whole file or none.

    Raises `DataError` for another ending, without the library that it takes, and where the file cannot be written.
    """
    ending = path.suffix.lower()
    if ending not in (".csv", ".parquet"):
        raise DataError(f"{path} ends in {ending or 'nothing'!r}; an export is a .csv or a .parquet file")
    try:
        with writing(path) as file:
            if ending == ".csv":
                table.to_csv(file, index=False, encoding="utf8", errors="backslashreplace")
            else:
                table.to_parquet(file, index=False)
    except ImportError:
        raise DataError(f"writing {path} takes the package pyarrow: pip install pyarrow, or export a .csv") from None
