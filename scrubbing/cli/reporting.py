"""`scrubbing report`."""

from pathlib import Path
from typing import Annotated

import typer

from scrubbing.cli.options import (
    VARIABLE,
    DataFile,
    DeviceOption,
    MemoryOption,
    ModelFolder,
    OnlyOption,
    Precision,
    PrecisionOption,
    ReferencesOption,
    SeedOption,
    SetOption,
    StoreOption,
    SuiteArgument,
)


def report(
    suite: SuiteArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")] = Path("report.html"),
    model: ModelFolder = None,
    data: DataFile = None,
    only: OnlyOption = None,
    options: SetOption = None,
    references: ReferencesOption = None,
    seed: SeedOption = 0,
    dtype: PrecisionOption = Precision.float32,
    device: DeviceOption = "cpu",
    memory: MemoryOption = None,
    store: StoreOption = None,
    no_store: Annotated[bool, typer.Option("--no-store", help=f"Record nothing (also: {VARIABLE}=off).")] = False,
) -> None:
    """Score a suite and write a page to look at: charts, pictures, passages and attention, in one file without network.

    What the store has already is not computed again. The whole ladder:

        scrubbing report induction -o report.html
    """
    from scrubbing.store.files import check_writable

    check_writable(output)
    import shlex
    import sys
    import time

    from rich.text import Text

    from scrubbing.cli import suites
    from scrubbing.cli.output import show
    from scrubbing.cli.places import store_to_write
    from scrubbing.cli.settings import scrub_settings
    from scrubbing.errors import HypothesisError
    from scrubbing.report import write_report
    from scrubbing.report.page import check_packages

    check_packages()
    chosen = suites.experiments(suite, model=model, data=data, only=only, options=options, dtype=dtype, device=device)
    record = store_to_write(store, off=no_store, recompute=False, suite=suite)
    if not chosen.cases:
        raise HypothesisError(f"a report needs at least one hypothesis of {suite}; name one with --only as well")
    settings = scrub_settings(chosen, references=references, memory=memory, seed=seed)
    cost = chosen.cost(**settings)
    began = time.monotonic()
    scores = chosen.score(**settings, store=record)
    recalled = next(iter(scores.values())).recalled
    first = chosen.cases[0]
    write_report(
        scores,
        output,
        suite=chosen,
        tried=max(record.tried(first.hypothesis, suite), len(scores)) if record else None,
        cost=cost,
        seconds=None if recalled else time.monotonic() - began,
        command=shlex.join(["scrubbing", *sys.argv[1:]]),
    )
    count = "1 hypothesis" if len(scores) == 1 else f"{len(scores)} hypotheses"
    show(Text(f"{count} in {output} ({output.stat().st_size / 2**20:.1f} MiB)"))
