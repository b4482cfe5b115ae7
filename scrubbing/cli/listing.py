"""`scrubbing history`."""

from typing import Annotated

import typer

from scrubbing.cli.options import MOST, DataFilter, ModelFilter, NameFilter, StoreOption, SuiteFilter


def history(
    last: Annotated[int, typer.Option(min=1, max=MOST, help="How many scores to show, the newest.")] = 30,
    suite: SuiteFilter = None,
    name: NameFilter = None,
    model: ModelFilter = None,
    data: DataFilter = None,
    store: StoreOption = None,
) -> None:
    """List the scores that were recorded, run by run, the newest last.

    The number before a score is its id, by which `compare` knows it. All scores of the naive hypothesis:

        scrubbing history --suite induction --name naive
    """
    from scrubbing.cli.output import show
    from scrubbing.cli.places import store_file
    from scrubbing.cli.recorded import history_table
    from scrubbing.store.entries import count_hypotheses, read_entries  # not the whole store, which imports torch
    from scrubbing.store.schema import connected

    with connected(store_file(store)) as connection:
        entries = read_entries(connection, last=last, suite=suite, name=name, model=model, data=data)
        about = dict.fromkeys((entry.model, entry.suite) for entry in entries)
        tried = {(model, of): count_hypotheses(connection, model, of) for model, of in about}
    show(history_table(entries, tried))
