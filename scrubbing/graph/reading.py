"""Read files that somebody else made: no pipes or devices, nothing above a size, and strict JSON.

Every failure is an `OSError` or a `ValueError` with a reason in words; the caller adds the name of the file.
"""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

LARGEST = 2**26  # bytes of a file that is read at once: a setting or a vocabulary, never data
SHOWN = 200  # characters of a reason, which may quote the file


def open_file(path: Path) -> BinaryIO:
    """An ordinary file. A pipe, a terminal or a device may never end; they are refused before they are waited for."""
    try:
        opened = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a null character, or half of one, in the name
        raise OSError(errno.EINVAL, f"no file can have this name: {error}") from None
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(errno.EINVAL, "it is no ordinary file; copy what it holds to one")
    return os.fdopen(opened, "rb")


def read_file(path: Path, largest: int = LARGEST) -> bytes:
    """The bytes of a file that is not too large."""
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > largest else file.read(largest + 1)
    if max(size, len(content)) > largest:
        raise OSError(errno.EFBIG, f"it is larger than {largest // 2**20} MiB, so it cannot be what it should be")
    return content


def read_json(path: Path, largest: int = LARGEST) -> Any:
    """The content of a JSON file. A key that occurs twice is an error."""
    content = read_file(path, largest)
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None


def in_short(error: BaseException) -> str:
    """An error's message, on one line."""
    said = (getattr(error, "strerror", None) or str(error) or type(error).__name__).encode(errors="backslashreplace")
    text = "".join(c if c.isprintable() else " " for c in said.decode())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r} stands twice")
        found[key] = value
    return found
