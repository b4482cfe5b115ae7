"""The command line, run in the tests' own process."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import typer.main

from scrubbing.cli import main

typer.main.get_command = cache(typer.main.get_command)  # made anew for each of a thousand lines it takes 10 ms


@dataclass(frozen=True)
class Finished:
    """How a run of the command ended."""

    status: int
    out: str
    err: str


def command(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, *, width: object
) -> Callable[..., Finished]:
    """The command, in this process, on a terminal of so many columns."""

    def run(*arguments: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["scrubbing", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", str(width))
        try:
            status = main() or 0
        except SystemExit as stop:
            status = stop.code or 0
        return Finished(status, *capsys.readouterr())

    return run
