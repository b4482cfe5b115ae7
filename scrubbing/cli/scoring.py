"""`scrubbing score`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from scrubbing.cli.experiments import (
    DataFile,
    DeviceOption,
    MemoryOption,
    ModelFolder,
    OnlyOption,
    Precision,
    PrecisionOption,
    ReferencesOption,
    SuiteArgument,
    experiments,
    settings,
)
from scrubbing.cli.places import VARIABLE, StoreOption, store_to_write
from scrubbing.cli.results import ladder_table, results, write_json
from scrubbing.score import Recalled
from scrubbing.store.files import check_writable


def score(
    suite: SuiteArgument,
    model: ModelFolder = None,
    data: DataFile = None,
    only: OnlyOption = None,
    references: ReferencesOption = None,
    seed: Annotated[int, typer.Option(help="What everything random is derived from.")] = 0,
    dtype: PrecisionOption = Precision.float32,
    device: DeviceOption = "cpu",
    memory: MemoryOption = None,
    json: Annotated[Path | None, typer.Option(help="Write the results to this file as well.")] = None,
    store: StoreOption = None,
    no_store: Annotated[bool, typer.Option("--no-store", help=f"Record nothing (also: {VARIABLE}=off).")] = False,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Compute again what the store has, and record it again.")
    ] = False,
) -> None:
    """Score a suite of hypotheses and print the fraction of the loss that each recovers.

    Without options: the project's own model, every hypothesis, every row. Two hypotheses on a hundred rows:

        scrubbing score induction --only naive --only "refined 1" --references 100

    Every score is recorded (`scrubbing history` lists them): a run that was interrupted goes on where it was when it
    is given again, and one that is recorded already is answered at once, bit for bit.
    """
    if json is not None:
        check_writable(json)
    chosen = experiments(suite, model=model, data=data, only=only, dtype=dtype, device=device)
    record = store_to_write(store, off=no_store, recompute=recompute, suite=suite)
    scores = chosen.score(**settings(chosen, references=references, memory=memory, seed=seed), store=record)
    console = Console()
    console.print(ladder_table(chosen, scores))
    recalled = next(iter(scores.values())).recalled
    if recalled:
        console.print(_recalled(recalled))
    if json is not None:
        about = {
            "dtype": dtype.value,
            "device": device,
            **({"recorded": recalled.time.isoformat()} if recalled else {}),
        }
        write_json(results(chosen, scores, about), json)


def _recalled(recalled: Recalled) -> Text:
    when = f"{recalled.time.astimezone():%Y-%m-%d %H:%M}"
    return Text(f"recorded {when}, and not computed again (--recompute would)", "yellow")
