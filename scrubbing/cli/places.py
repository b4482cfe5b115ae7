"""Which store a command uses: `--store FILE`, or what SCRUBBING_STORE says, or a file of the user's."""

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_data_path

from scrubbing.cli.options import VARIABLE
from scrubbing.cli.running import say
from scrubbing.errors import DataError, StoreError

if TYPE_CHECKING:
    from scrubbing.store import Store

OFF = "off"


def default_file() -> Path:
    """The user's own store."""
    return user_data_path("scrubbing", appauthor=False) / "store.db"


def store_file(given: Path | None) -> Path:
    """The file of the store that a command asks.

    Raises `DataError` where it is turned off.
    """
    named = os.environ.get(VARIABLE)
    if given is None and named == OFF:
        raise DataError(f"{VARIABLE}={OFF} turns the store off; name a file with --store FILE")
    path = given or (Path(named) if named else default_file())
    try:
        return path.expanduser()
    except RuntimeError:
        raise DataError(f"there is no store {path}: nobody here is called {path.parts[0][1:]!r}") from None


def store_to_write(given: Path | None, *, off: bool, recompute: bool, suite: str) -> "Store | None":
    """The store that a run is recorded in, which is there after this; None for none.

    Raises `StoreError` if one that was named cannot be opened. For the default one that is a line on standard error.
    """
    from scrubbing.store import Store
    from scrubbing.store.schema import opened, telling

    named = os.environ.get(VARIABLE)
    if off and given is not None:
        raise DataError("--store names a file and --no-store asks for none; leave one of them out")
    if off or (given is None and named == OFF):
        return None
    store = Store(store_file(given), reuse=not recompute, suite=suite)
    try:
        with telling(store.file), closing(opened(store.file)):
            return store
    except StoreError as error:
        if given or named:
            raise
        say(f"nothing will be recorded: {error}")
        return None
