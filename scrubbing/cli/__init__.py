"""The command line: `scrubbing score induction`, and what became of it: `scrubbing history`."""

import typer

from scrubbing.cli.comparing import compare
from scrubbing.cli.explaining import explain
from scrubbing.cli.exporting import export
from scrubbing.cli.listing import history
from scrubbing.cli.running import run_command
from scrubbing.cli.scoring import score

__all__ = ["app", "main", "run_command"]

app = typer.Typer(
    help="How much of what a network does does an explanation account for?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in (score, explain, history, compare, export):
    app.command()(command)


@app.callback()
def _commands() -> None:
    """How much of what a network does does an explanation account for?"""


def main() -> None:
    """The console script."""
    run_command(app)
