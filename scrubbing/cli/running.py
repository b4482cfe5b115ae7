"""Running a command line: mistakes and warnings are one line on standard error, never a traceback."""

import sys
import warnings
from typing import Any

import typer

from scrubbing.cli.text import one_line
from scrubbing.errors import ScrubbingError, ScrubbingWarning


def run_command(command: typer.Typer) -> None:
    """Run a command line: a mistake is one line on standard error and exit status 2, never a traceback."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning(warnings.showwarning)
            command(standalone_mode=False)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except ScrubbingError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted", status=130)
    except Exception as error:
        # What typer raises for a wrong option belongs to its private copy of click, and is known by this method.
        format_message = getattr(error, "format_message", None)
        if format_message is None:
            raise
        _fail(format_message())


def _show_warning(shown_otherwise: Any) -> Any:
    """Show our own warnings as mistakes are shown, and all others as before."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
        if issubclass(category, ScrubbingWarning):
            print(f"scrubbing: {one_line(str(message))}", file=sys.stderr)
        else:
            shown_otherwise(message, category, *place, **options)

    return show


def _fail(message: str, *, status: int = 2) -> None:
    if message:  # none where click has printed the help instead
        print(f"scrubbing: {one_line(message)}", file=sys.stderr)
    sys.exit(status)
