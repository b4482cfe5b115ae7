"""`scrubbing export`."""

from pathlib import Path
from typing import Annotated

import typer

from scrubbing.cli.options import MOST, DataFilter, ModelFilter, NameFilter, StoreOption, SuiteFilter


def export(
    file: Annotated[Path, typer.Argument(help="What to write: a .csv or a .parquet file.")],
    by_reference: Annotated[
        bool, typer.Option("--by-reference", help="A row for each reference of each score, with its losses.")
    ] = False,
    last: Annotated[int | None, typer.Option(min=1, max=MOST, help="Only the newest so many; by default all.")] = None,
    suite: SuiteFilter = None,
    name: NameFilter = None,
    model: ModelFilter = None,
    data: DataFilter = None,
    store: StoreOption = None,
) -> None:
    """Write the recorded scores as a table, one row for each score or each reference.

    The losses of the last ten scores, reference by reference:

        scrubbing export losses.parquet --by-reference --last 10
    """
    from rich.text import Text

    from scrubbing.cli.output import show
    from scrubbing.cli.places import store_file
    from scrubbing.store import Store
    from scrubbing.store.files import check_writable
    from scrubbing.store.frames import write_frame

    check_writable(file)
    found = Store(store_file(store))
    table = found.frame(by_reference=by_reference, last=last, suite=suite, name=name, model=model, data=data)
    write_frame(table, file)
    show(Text(f"{len(table)} rows in {file}"))
