"""The options that commands share, each with the values that it can have."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

MOST_REFERENCES = 10**7  # their losses alone take a gigabyte and more
MOST = 10**9
LARGEST = 2**63 - 1

VARIABLE = "SCRUBBING_STORE"


class Precision(StrEnum):
    """Floating-point types that a run can be made in."""

    float32 = "float32"
    float64 = "float64"


def _text(given: str | None) -> str | None:
    """Text as it can be stored: a shell may hand over bytes that are none."""
    if given is not None and not given.isascii() and any("\ud800" <= c <= "\udfff" for c in given):
        raise typer.BadParameter(f"{given!r} is not text in this terminal's encoding")
    return given


def _filter(name: str, help: str) -> typer.models.OptionInfo:
    return typer.Option(name, callback=_text, help=help)


SuiteArgument = Annotated[
    str, typer.Argument(help="Which experiments: a module of hypotheses, for example `induction` (`scrubbing list`).")
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
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="An option of the suite's own (`scrubbing list SUITE` explains them); repeatable.",
    ),
]
ReferencesOption = Annotated[
    int | None,
    typer.Option(
        "--references",
        min=1,
        max=MOST_REFERENCES,
        help="Draw this many references with replacement; by default every row is one.",
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=-LARGEST, max=LARGEST, help="What everything random is derived from.")
]
PrecisionOption = Annotated[Precision, typer.Option("--dtype", help="Floating-point type.")]
DeviceOption = Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1, mps.")]
MemoryOption = Annotated[
    str | None,
    typer.Option("--memory", help="What values may take together, besides the data and the model; by default 2GiB."),
]

StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        show_default=False,
        help=f"The file that scores are recorded in; by default {VARIABLE}, or store.db in the user's data folder.",
    ),
]
SuiteFilter = Annotated[str | None, _filter("--suite", "Only the scores of this suite.")]
NameFilter = Annotated[str | None, _filter("--name", 'Only hypotheses of this name: "naive", or "naive/Q".')]
ModelFilter = Annotated[str | None, _filter("--model", "Only models whose hash begins so.")]
DataFilter = Annotated[str | None, _filter("--data", "Only data whose hash begins so.")]
