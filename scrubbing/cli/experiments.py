"""What commands that run a suite have in common: which experiments, on which model and data, and how."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from scrubbing.engine.sampling.streams import draw_references
from scrubbing.errors import DataError, HypothesisError, nearest
from scrubbing.experiments.suites import Suite


class Precision(StrEnum):
    """Floating-point types that a run can be made in."""

    float32 = "float32"
    float64 = "float64"


SuiteArgument = Annotated[
    str, typer.Argument(help="Which experiments: a module of hypotheses, for example `induction`.")
]
ModelFolder = Annotated[
    Path | None,
    typer.Option(
        "--model", help="Model folder: config.json, model.safetensors, and optionally roles.json, tokenizer.json."
    ),
]
DataFile = Annotated[
    Path | None,
    typer.Option("--data", help="Data file (.npz): tokens, and optionally other, whitelist, weights, atypical."),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", help='Only these: a hypothesis ("naive") or one experiment of it ("naive/Q"); repeatable.'),
]
ReferencesOption = Annotated[
    int | None,
    typer.Option(
        "--references", min=1, help="Draw this many references with replacement; by default every row is one."
    ),
]
PrecisionOption = Annotated[Precision, typer.Option("--dtype", help="Floating-point type.")]
DeviceOption = Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1, mps.")]
MemoryOption = Annotated[
    str | None,
    typer.Option("--memory", help="What values may take together, besides the data and the model; by default 2GiB."),
]


def experiments(
    suite: str,
    *,
    model: Path | None,
    data: Path | None,
    only: Sequence[str] | None,
    dtype: Precision,
    device: str,
) -> Suite:
    """The experiments of an installed module of hypotheses (entry-point group `scrubbing.hypotheses`)."""
    _check_device(device)
    return _made_by(suite)(model, data, dtype=getattr(torch, dtype.value), device=device).only(only or [])


def settings(chosen: Suite, *, references: int | None, memory: str | None, seed: int = 0) -> dict[str, Any]:
    """The settings of `scrub` that stand for these options, where they say something."""
    found: dict[str, Any] = {"seed": seed}
    if memory is not None:
        found["memory"] = memory
    if references is not None:
        rows = chosen.cases[0].settings.get("references")
        found["references"] = references if rows is None else draw_references(rows, references, seed)
    return found


def _made_by(name: str) -> Callable[..., Suite]:
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
