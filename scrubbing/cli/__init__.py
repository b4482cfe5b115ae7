"""The command line: `scrubbing score induction`, and what became of it: `scrubbing history`.

Nothing is imported here that takes time: from the first moment on, an interrupt is answered in one line.
"""

from typing import Any

from scrubbing.cli.running import run_command

__all__ = ["main", "run_command"]


def main() -> None:
    """The console script."""
    run_command(_command_line)


def _command_line(**options: Any) -> Any:
    from scrubbing.cli.commands import app

    return app(prog_name="scrubbing", **options)
