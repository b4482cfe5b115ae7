"""The commands. Each imports what it needs when it runs: help and listings come at once, torch takes seconds."""

from typing import Annotated

import typer

from scrubbing.cli.comparing import compare
from scrubbing.cli.drawing import draw
from scrubbing.cli.explaining import explain
from scrubbing.cli.exporting import export
from scrubbing.cli.listing import history
from scrubbing.cli.merging import merge
from scrubbing.cli.reporting import report
from scrubbing.cli.scoring import score
from scrubbing.cli.showing import app as live
from scrubbing.cli.suites import installed

HELP = "How much of what a network does does an explanation account for?"

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for name, command in {
    "score": score,
    "explain": explain,
    "draw": draw,
    "report": report,
    "app": live,
    "list": installed,
    "history": history,
    "compare": compare,
    "merge": merge,
    "export": export,
}.items():
    app.command(name)(command)


def _print_version(wanted: bool) -> bool:
    if wanted:
        from scrubbing import __version__

        typer.echo(f"scrubbing {__version__}")
        raise typer.Exit
    return wanted


@app.callback(help=HELP)
def _commands(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    pass
