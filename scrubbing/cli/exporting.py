"""`scrubbing export`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from scrubbing.cli.listing import DataOption, ModelOption, NameOption, SuiteOption
from scrubbing.cli.places import StoreOption, store_to_read
from scrubbing.store.files import check_writable


def export(
    file: Annotated[Path, typer.Argument(help="What to write: a .csv or a .parquet file.")],
    by_reference: Annotated[
        bool, typer.Option("--by-reference", help="A row for each reference of each score, with its losses.")
    ] = False,
    last: Annotated[int | None, typer.Option(min=1, help="Only the newest so many; by default all.")] = None,
    suite: SuiteOption = None,
    name: NameOption = None,
    model: ModelOption = None,
    data: DataOption = None,
    store: StoreOption = None,
) -> None:
    """Write the recorded scores as a table, one row for each score or each reference.

    The losses of the last ten scores, reference by reference:

        scrubbing export losses.parquet --by-reference --last 10
    """
    from scrubbing.store.frames import write_frame  # pandas takes a second that other commands need not pay

    check_writable(file)
    found = store_to_read(store)
    table = found.frame(by_reference=by_reference, last=last, suite=suite, name=name, model=model, data=data)
    write_frame(table, file)
    Console().print(Text(f"{len(table)} rows in {file}"))
