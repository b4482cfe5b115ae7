"""`scrubbing score`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scrubbing.cli.options import (
    VARIABLE,
    AddressOption,
    DataFile,
    DeviceOption,
    EngineOption,
    MemoryOption,
    ModelFolder,
    OnlyOption,
    Precision,
    PrecisionOption,
    ReferencesOption,
    SeedOption,
    SetOption,
    ShardOption,
    StoreOption,
    SuiteArgument,
    WorkersOption,
)
from scrubbing.cli.running import MISTAKE

if TYPE_CHECKING:
    from scrubbing.score import Recalled

STANDARD_OUTPUT = Path("-")


def score(
    suite: SuiteArgument,
    model: ModelFolder = None,
    data: DataFile = None,
    only: OnlyOption = None,
    options: SetOption = None,
    references: ReferencesOption = None,
    seed: SeedOption = 0,
    dtype: PrecisionOption = Precision.float32,
    device: DeviceOption = "cpu",
    memory: MemoryOption = None,
    json: Annotated[
        Path | None, typer.Option(help="Write the results to this file as well; '-': print them, and no table.")
    ] = None,
    heads: Annotated[
        bool, typer.Option("--heads", help="Print what each head attends to, by which roles are found, and stop.")
    ] = False,
    store: StoreOption = None,
    no_store: Annotated[bool, typer.Option("--no-store", help=f"Record nothing (also: {VARIABLE}=off).")] = False,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Compute again what the store has, and record it again.")
    ] = False,
    engine: EngineOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    shard: ShardOption = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Leave out what cannot be scored, say why, and end with status 2.")
    ] = False,
) -> int:
    """Score a suite of hypotheses and print the fraction of the loss that each recovers.

    Without options: the project's own model, every hypothesis, every row. Two hypotheses on a hundred rows:

        scrubbing score induction --only naive --only "refined 1" --references 100

    Every score is recorded (`scrubbing history` lists them): a run that was interrupted goes on where it was when it
    is given again, and one that is recorded already is answered at once, bit for bit.

    On all processors of this machine or of a cluster by `--engine ray`; in jobs that know nothing of each other by
    `--shard`, of which `scrubbing merge` joins the stores:

        scrubbing score induction --shard 0/3 --store part0.db
    """
    from scrubbing.store.files import check_writable

    if json not in (None, STANDARD_OUTPUT):
        check_writable(json)
    from rich.console import Group

    from scrubbing.cli import suites
    from scrubbing.cli.asked import Asked, absolute
    from scrubbing.cli.merging import show_part
    from scrubbing.cli.output import show, show_for_programs
    from scrubbing.cli.places import store_to_write
    from scrubbing.cli.results import as_json, results, shown, write_json
    from scrubbing.cli.settings import engine_of, scrub_settings
    from scrubbing.errors import DataError

    if heads:
        show(suites.heads(suite, model=model, data=data, dtype=dtype, device=device))
        return 0
    if shard is not None:
        if store is None or json is not None or engine is not None or keep_going:
            raise DataError(
                "--shard keeps a part in a store of its own: give --store FILE, and no --json, --engine or --keep-going"
            )
        asked = Asked(
            suite=suite,
            model=model and absolute(model),
            data=data and absolute(data),
            only=only,
            options=options,
            references=references,
            seed=seed,
            dtype=dtype,
            device=device,
            memory=memory,
        )
        show_part(asked, shard, store_to_write(store, off=no_store, recompute=recompute, suite=suite))
        return 0
    spread = engine_of(engine, address=address, workers=workers, device=device)
    chosen = suites.experiments(suite, model=model, data=data, only=only, options=options, dtype=dtype, device=device)
    record = store_to_write(store, off=no_store, recompute=recompute, suite=suite)
    settings = scrub_settings(chosen, references=references, memory=memory, seed=seed, engine=spread)
    scores = chosen.score(**settings, store=record, keep_going=keep_going)
    tables = chosen.tabulated(scores)
    recalled = next((score.recalled for score in scores.values()), None)
    if json is not None:  # before anything is printed: whoever reads that may be gone
        about = {"dtype": dtype.value, "device": device}
        when = {"recorded": recalled.time.isoformat()} if recalled else {}
        numbers = results(chosen, scores, tables, about | when)
        if json == STANDARD_OUTPUT:
            show_for_programs(as_json(numbers))
        else:
            write_json(numbers, json)
    if json != STANDARD_OUTPUT:
        found = shown(chosen, scores, tables)
        show(Group(found, _recalled(recalled)) if recalled else found)
    return 0 if len(scores) == len(chosen.cases) else MISTAKE


def _recalled(recalled: "Recalled"):
    from rich.text import Text

    when = f"{recalled.time.astimezone():%Y-%m-%d %H:%M}"
    return Text(f"recorded {when}, and not computed again (--recompute would)", "yellow")
