"""The options that commands share, each with the values that it can have."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

MOST_REFERENCES = 10**7  # their losses alone take a gigabyte and more
MOST = 10**9
LARGEST = 2**63 - 1
MOST_WORKERS = 10**5
LARGEST_SEED = 2**128  # as everywhere; what says so imports torch, which takes seconds

VARIABLE = "SCRUBBING_STORE"


class Precision(StrEnum):
    """Floating-point types that a run can be made in."""

    float32 = "float32"
    float64 = "float64"


class EngineName(StrEnum):
    """What computes in place of this process."""

    ray = "ray"


def _text(given: str | None) -> str | None:
    """Text as it can be stored: a shell may hand over bytes that are none."""
    if given is not None and not given.isascii() and any("\ud800" <= c <= "\udfff" for c in given):
        raise typer.BadParameter(f"{given!r} is not text in this terminal's encoding")
    return given


def _seed(given: int) -> int:
    if abs(given) > LARGEST_SEED:
        raise typer.BadParameter("it is too large; a seed is a whole number from -2**128 to 2**128")
    return given


def _shard(given: str | None) -> tuple[int, int] | None:
    """ "0/3" as (0, 3)."""
    if given is None:
        return None
    number, slash, of = given.partition("/")
    plain = slash and all(part.isascii() and part.isdecimal() and len(part) < 10 for part in (number, of))
    if not plain or not int(number) < int(of):
        raise typer.BadParameter(f"{given!r} is no shard; of three there are 0/3, 1/3 and 2/3")
    return int(number), int(of)


def _filter(name: str, help: str) -> typer.models.OptionInfo:
    return typer.Option(name, callback=_text, help=help)


SuiteArgument = Annotated[
    str, typer.Argument(help="Which experiments: a module of hypotheses, for example `induction` (`scrubbing list`).")
]
ModelFolder = Annotated[
    Path | None,
    typer.Option(
        "--model",
        help="Model folder (config.json, model.safetensors, and optionally roles.json, tokenizer.json), "
        "or a name on the hub (redwood_attn_2l).",
    ),
]
DataFile = Annotated[
    Path | None,
    typer.Option("--data", help="Data file (.npz): tokens, and optionally other, whitelist, weights, atypical."),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        help='Only these: a hypothesis ("naive"), one experiment of it ("naive/Q"), or a table of it; repeatable.',
    ),
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
    int, typer.Option("--seed", callback=_seed, help="What everything random is derived from: any whole number.")
]
PrecisionOption = Annotated[Precision, typer.Option("--dtype", help="Floating-point type.")]
DeviceOption = Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1, mps.")]
MemoryOption = Annotated[
    str | None,
    typer.Option("--memory", help="What values may take together, besides the data and the model; by default 2GiB."),
]

ShardOption = Annotated[
    Any,
    typer.Option(
        "--shard",
        metavar="I/N",
        parser=str,
        callback=_shard,
        help="Compute only a part of the run, 0/3 for the first of three, into a store of its own; `merge` joins them.",
    ),
]
EngineOption = Annotated[
    EngineName | None, typer.Option("--engine", help="Have it computed by the workers of Ray (scrubbing[ray]).")
]
AddressOption = Annotated[
    str | None,
    _filter("--address", "With --engine ray: the cluster (auto, host:6379, ray://host:10001), or else this machine."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=1, max=MOST_WORKERS, help="With --engine ray: how many; by default one a processor."),
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
