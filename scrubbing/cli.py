"""The command line: `scrubbing score induction`."""

import sys
from collections.abc import Callable
from enum import StrEnum
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from scrubbing.errors import DataError, HypothesisError, ScrubbingError, nearest
from scrubbing.results import check_writable, ladder_table, results, write_json
from scrubbing.sampling.streams import draw_references

app = typer.Typer(
    help="How much of what a network does does an explanation account for?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


class Precision(StrEnum):
    """Floating-point types that a run can be made in."""

    float32 = "float32"
    float64 = "float64"


@app.callback()
def _commands() -> None:
    """How much of what a network does does an explanation account for?"""


@app.command()
def score(
    suite: Annotated[str, typer.Argument(help="Which experiments: a module of hypotheses, for example `induction`.")],
    model: Annotated[
        Path | None,
        typer.Option(help="Model folder: config.json, model.safetensors, and optionally roles.json, tokenizer.json."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data file (.npz): tokens, and optionally other, whitelist, weights, atypical.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help='Score only these: a hypothesis ("naive") or one experiment of it ("naive/Q"); repeatable.'),
    ] = None,
    references: Annotated[
        int | None, typer.Option(min=1, help="Draw this many references with replacement; by default every row is one.")
    ] = None,
    seed: Annotated[int, typer.Option(help="What everything random is derived from.")] = 0,
    dtype: Annotated[Precision, typer.Option(help="Floating-point type.")] = Precision.float32,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps.")] = "cpu",
    json: Annotated[Path | None, typer.Option(help="Write the results to this file as well.")] = None,
) -> None:
    """Score a suite of hypotheses and print the fraction of the loss that each recovers.

    Without options: the project's own model, every hypothesis, every row. Two hypotheses on a hundred rows:

        scrubbing score induction --only naive --only "refined 1" --references 100
    """
    if json is not None:
        check_writable(json)
    _check_device(device)
    chosen = _suite(suite)(model, data, dtype=getattr(torch, dtype.value), device=device).only(only or [])
    settings: dict[str, Any] = {"seed": seed}
    if references is not None:
        settings["references"] = draw_references(chosen.cases[0].settings["references"], references, seed)
    scores = chosen.score(**settings)
    Console().print(ladder_table(chosen, scores))
    if json is not None:
        write_json(results(chosen, scores, {"dtype": dtype.value, "device": device}), json)


def _suite(name: str) -> Callable[..., Any]:
    """The suite of an installed module of hypotheses (entry-point group `scrubbing.hypotheses`)."""
    found = {entry.name: entry for entry in entry_points(group="scrubbing.hypotheses")}
    if name not in found:
        hint = nearest(name, found) or f"; there are {', '.join(sorted(found)) or 'none'}"
        raise HypothesisError(f"there are no hypotheses called {name!r}{hint}")
    return found[name].load().suite


def _check_device(device: str) -> None:
    try:
        torch.ones(1, device=device).tolist()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"the device {device!r} cannot be used here ({reason}); try --device cpu") from None


def main() -> None:
    """The console script."""
    run_command(app)


def run_command(command: typer.Typer) -> None:
    """Run a command line: a mistake is one line on standard error and exit status 2, never a traceback."""
    try:
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


def _fail(message: str, *, status: int = 2) -> None:
    if message:  # none where click has printed the help instead
        print(f"scrubbing: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)
