"""Running a command line: whatever happens is at most one line on standard error, and an exit status.

| status | |
|---|---|
| 2 | a mistake that the line names |
| 70 | a fault of this package; SCRUBBING_TRACEBACK=1 shows where |
| 74 | standard output cannot be written |
| 130, 143, 129 | interrupted by Ctrl-C, SIGTERM, SIGHUP |
| 141 | whoever read the output has left, as `head` does |
"""

import atexit
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, NoReturn, TextIO

from scrubbing.cli.interrupts import Interruption, deaf, interruptible
from scrubbing.errors import ScrubbingError, ScrubbingWarning, printable

MISTAKE, FAULT, UNWRITABLE, UNREAD = 2, 70, 74, 141
LONGEST = 2000  # characters of a line
NARROWEST, WIDEST = 20, 1000  # columns of a terminal
TRACEBACK = "SCRUBBING_TRACEBACK"


class OutputError(ScrubbingError):
    """Results that could not be printed."""


def run_command(command: Callable[..., Any]) -> NoReturn:
    """Run a command line, `command(standalone_mode=False)`, and end the process with its status."""
    status = status_of(command)
    atexit.unregister(deaf)
    atexit.register(deaf)  # what is registered last is called first
    sys.exit(status)


def status_of(command: Callable[..., Any]) -> int:
    """Run a command line; its exit status, once its line is on standard error."""
    with interruptible() as seen, warnings.catch_warnings():
        status, line = _outcome(command, seen)
        if line:
            say(line)
        return _flushed(status)


def say(line: str) -> None:
    """Print a line to standard error, if anybody can read it."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(f"scrubbing: {one_line(line)}", file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    r"""The text with all its lines as one, and nothing in it that steers a terminal.

    >>> one_line("no such\n    file")
    'no such file'
    """
    line = printable(" ".join(text.split()))
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"


def _outcome(command: Callable[..., Any], seen: Interruption) -> tuple[int, str]:
    try:
        warnings.showwarning = _show_warning
        _suit_terminal()
        returned = command(standalone_mode=False)
        seen.over = True
        outcome = returned if isinstance(returned, int) else 0, ""
    except BaseException as error:
        seen.over = True
        outcome = _failure(error)
    if seen.number is not None or outcome[0] == 128 + signal.SIGINT:  # by which typer means a KeyboardInterrupt
        return seen.status, seen.said
    return outcome


def _failure(error: BaseException) -> tuple[int, str]:
    """The status that an error stands for, and what is said of it."""
    match error:
        case SystemExit(code=1):  # by which typer and rich mean that nobody reads what they print
            return UNREAD, ""
        case SystemExit(code=int() | None as code):
            return code or 0, ""
        case KeyboardInterrupt():
            return 128 + signal.SIGINT, ""
        case BrokenPipeError():
            return UNREAD, ""
        case OutputError():
            return UNWRITABLE, str(error)
        case ScrubbingError() | ScrubbingWarning():
            return MISTAKE, str(error)
        case OSError(filename=None):
            return UNWRITABLE, f"cannot read or write: {error.strerror or error}"
        case OSError():
            return MISTAKE, f"{os.fsdecode(error.filename)}: {error.strerror}"
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # torch's words for a CPU
        return MISTAKE, f"there is not enough memory ({error}); give fewer --references, or a smaller --memory"
    # What typer raises for a wrong option belongs to its private copy of click, and is known by this method.
    format_message = getattr(error, "format_message", None)
    if format_message is not None:
        return MISTAKE, format_message()  # nothing where the help was printed instead
    if os.environ.get(TRACEBACK):
        for line in "".join(traceback.format_exception(error)).splitlines():
            print(printable(line), file=sys.stderr)
    said = f"{type(error).__name__}: {error}"
    return FAULT, f"internal error ({said}); please report it, with what {TRACEBACK}=1 shows"


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    own = issubclass(category, ScrubbingWarning)
    say(str(message) if own else f"{filename}:{lineno}: {category.__name__}: {message}")


def _suit_terminal() -> None:
    """Have every character printed somehow, and no width taken for one that cannot be."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        value = os.environ.pop(name, "")
        if value.isdecimal() and len(value) < 9 and 0 < int(value) <= WIDEST:
            os.environ[name] = str(max(NARROWEST, int(value)))


def _flushed(status: int) -> int:
    """The status, once all that was printed has gone out; or why it could not."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except BrokenPipeError:
            status = status or UNREAD
            _abandon(stream)
        except OSError:
            status = status or UNWRITABLE
            _abandon(stream)
    return status


def _abandon(stream: TextIO) -> None:
    """Let what waits in a stream go nowhere: Python would try again at its end, and say so."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        stream.flush()
