"""Which store a command uses: `--store FILE`, or what SCRUBBING_STORE says, or a file of the user's."""

import os
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from platformdirs import user_data_path
from rich.console import Console
from rich.text import Text

from scrubbing.errors import DataError, StoreError
from scrubbing.store import Store
from scrubbing.store.schema import opened, telling

VARIABLE = "SCRUBBING_STORE"
OFF = "off"

StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        show_default=False,
        help=f"The file that scores are recorded in; by default {VARIABLE}, or store.db in the user's data folder.",
    ),
]


def default_file() -> Path:
    """The user's own store."""
    return user_data_path("scrubbing", appauthor=False) / "store.db"


def store_to_read(given: Path | None) -> Store:
    """The store that a command asks.

    Raises `DataError` where it is turned off.
    """
    named = os.environ.get(VARIABLE)
    if given is None and named == OFF:
        raise DataError(f"{VARIABLE}={OFF} turns the store off; name a file with --store FILE")
    return Store(given or (Path(named) if named else default_file()))


def store_to_write(given: Path | None, *, off: bool, recompute: bool, suite: str) -> Store | None:
    """The store that a run is recorded in, which is there after this; None for none.

    Raises `StoreError` if one that was named cannot be opened. For the default one that is a line on standard error.
    """
    named = os.environ.get(VARIABLE)
    if off and given is not None:
        raise DataError("--store names a file and --no-store asks for none; leave one of them out")
    if off or (given is None and named == OFF):
        return None
    store = Store(store_to_read(given).path, reuse=not recompute, suite=suite)
    try:
        with telling(store.file), closing(opened(store.file)):
            return store
    except StoreError as error:
        if given or named:
            raise
        Console(stderr=True, soft_wrap=True).print(Text(f"scrubbing: nothing will be recorded: {error}"))
        return None
