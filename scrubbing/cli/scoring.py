"""`scrubbing score`."""

from collections.abc import Callable
from enum import StrEnum
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.text import Text

from scrubbing.cli.places import VARIABLE, StoreOption, store_to_write
from scrubbing.errors import DataError, HypothesisError, nearest
from scrubbing.results import check_writable, ladder_table, results, write_json
from scrubbing.sampling.streams import draw_references
from scrubbing.score import Recalled


class Precision(StrEnum):
    """Floating-point types that a run can be made in."""

    float32 = "float32"
    float64 = "float64"


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
    store: StoreOption = None,
    no_store: Annotated[bool, typer.Option("--no-store", help=f"Record nothing (also: {VARIABLE}=off).")] = False,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Compute again what the store has, and record it again.")
    ] = False,
) -> None:
    """Score a suite of hypotheses and print the fraction of the loss that each recovers.

    Without options: the project's own model, every hypothesis, every row. Two hypotheses on a hundred rows:

        scrubbing score induction --only naive --only "refined 1" --references 100

    Every score is recorded (`scrubbing history` lists them): a run that was interrupted goes on where it was when it
    is given again, and one that is recorded already is answered at once, bit for bit.
    """
    if json is not None:
        check_writable(json)
    _check_device(device)
    chosen = _suite(suite)(model, data, dtype=getattr(torch, dtype.value), device=device).only(only or [])
    settings: dict[str, Any] = {"seed": seed}
    if references is not None:
        rows = chosen.cases[0].settings.get("references")
        settings["references"] = references if rows is None else draw_references(rows, references, seed)
    record = store_to_write(store, off=no_store, recompute=recompute, suite=suite)
    scores = chosen.score(**settings, store=record)
    console = Console()
    console.print(ladder_table(chosen, scores))
    recalled = next(iter(scores.values())).recalled
    if recalled:
        console.print(_recalled(recalled))
    if json is not None:
        about = {
            "dtype": dtype.value,
            "device": device,
            **({"recorded": recalled.time.isoformat()} if recalled else {}),
        }
        write_json(results(chosen, scores, about), json)


def _recalled(recalled: Recalled) -> Text:
    when = f"{recalled.time.astimezone():%Y-%m-%d %H:%M}"
    return Text(f"recorded {when}, and not computed again (--recompute would)", "yellow")


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
