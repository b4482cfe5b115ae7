"""Files that are written whole or not at all.

What is new is written beside the old, under a name that nobody can guess, and takes its place when it is complete. So a
reader sees all of it or none, links and permissions stay, and no other file is touched. Devices, pipes and files that
have a second name are written straight.
"""

import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from scrubbing.errors import DataError

STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
PATIENCE = 10.0  # seconds for which a pipe may be without a reader
LINKS = 40  # in a row; more go in a circle
BLOCK = bytes(4096)  # what a disk without room does not take


def check_writable(path: Path) -> None:
    """Raise `DataError` before the work if the results could not be written after it."""
    with _telling(path):
        target = _target(path)
        if target is not None:
            with _unfinished(target) as unfinished, unfinished.open("xb") as file:
                file.write(BLOCK)


def write_whole(content: str | bytes, path: Path) -> None:
    """Write a file so that a reader sees all of it or none: bytes, or text as UTF-8 with a line's end.

    Raises `DataError` where it cannot be written.
    """
    with writing(path) as file:
        file.write((content + "\n").encode(errors="backslashreplace") if isinstance(content, str) else content)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to. It takes its place when all is written; if that fails, nothing has changed.

    Raises `DataError` where it cannot be written.
    """
    with _telling(path):
        target = _target(path)
        if target is None:
            with _straight(path.absolute()) as file:
                yield file
            return
        with _unfinished(target) as unfinished:
            with unfinished.open("xb") as file:
                _take_after(target, unfinished)
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
        _keep_entry(target.parent)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        os.fsencode(path)
        if "\0" in str(path):
            raise DataError(f"{str(path)!r} cannot be written: no file's name holds a null character")
        yield
    except UnicodeEncodeError:
        raise DataError(f"{str(path)!r} cannot be written: no file's name holds such characters") from None
    except OSError as error:
        words = {errno.EACCES: "permission denied", errno.ENXIO: "nobody reads from it"}
        raise DataError(f"{path} cannot be written: {words.get(error.errno or 0) or error.strerror or error}") from None


def _target(path: Path) -> Path | None:
    """The file behind all links; None for what is written straight."""
    named = path.absolute()
    for _ in range(LINKS):
        folder = os.path.realpath(named.parent)
        if folder == "/dev" or re.fullmatch(r"/proc/\d+/fd", folder):
            return None
        if not named.is_symlink():
            return _regular(Path(folder) / named.name)
        named = named.parent / named.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _regular(named: Path) -> Path | None:
    if not named.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {named.parent}")
    try:
        found = named.stat()
    except FileNotFoundError:
        return named
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not os.access(named, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return named if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else None


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A name beside the target, which nothing stands under in the end."""
    unfinished = target.with_name(f".{secrets.token_hex(16)}.unfinished")
    try:
        yield unfinished
    finally:
        unfinished.unlink(missing_ok=True)


def _take_after(old: Path, new: Path) -> None:
    """Give a new file the permissions, and where that is allowed the owner, of the one that it replaces."""
    with suppress(FileNotFoundError):
        found = old.stat()
        with suppress(PermissionError, AttributeError):
            os.chown(new, found.st_uid, found.st_gid)
        new.chmod(stat.S_IMODE(found.st_mode))


def _keep_entry(folder: Path) -> None:
    """Have the folder's list of files survive a power cut too, where the system can."""
    with suppress(OSError):
        entry = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(entry)
        finally:
            os.close(entry)


@contextmanager
def _straight(path: Path) -> Iterator[BinaryIO]:
    own = re.fullmatch(rf"(?:/dev/fd|/proc/self/fd|/proc/{os.getpid()}/fd)/(\d+)", str(path))
    stream = STREAMS.get(str(path)) or (int(own[1]) if own else None)
    with os.fdopen(_opened(path) if stream is None else os.dup(stream), "wb") as file:
        yield file


def _opened(path: Path) -> int:
    """What is there, to be written to; a pipe may have to wait for its reader."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            opened = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_TRUNC | os.O_NOCTTY)
        except OSError as error:
            if error.errno != errno.ENXIO or not path.is_fifo() or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            os.set_blocking(opened, True)
            return opened
