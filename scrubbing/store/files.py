"""Files that are written whole or not at all."""

import os
from pathlib import Path

from scrubbing.errors import DataError


def check_writable(path: Path) -> None:
    """Raise before the work if the results could not be written after it."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise DataError(f"{path} cannot be written: there is no folder {folder}")
    if path.is_dir() or not os.access(folder, os.W_OK):
        raise DataError(f"{path} cannot be written: {'it is a folder' if path.is_dir() else 'permission denied'}")


def write_whole(text: str, path: Path) -> None:
    """Write a file so that a reader sees all of it or none."""
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.write_text(text + "\n", encoding="utf8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise DataError(f"{path} cannot be written: {error.strerror}") from None
