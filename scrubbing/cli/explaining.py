"""`scrubbing explain`."""

from scrubbing.cli.options import (
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
    SetOption,
    SuiteArgument,
    WorkersOption,
)


def explain(
    suite: SuiteArgument,
    model: ModelFolder = None,
    data: DataFile = None,
    only: OnlyOption = None,
    options: SetOption = None,
    references: ReferencesOption = None,
    dtype: PrecisionOption = Precision.float32,
    device: DeviceOption = "cpu",
    memory: MemoryOption = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
) -> None:
    """Count what scoring would take, before it is done: calls, operations and bytes.

    It is found on a few draws; nothing is scored or recorded. All experiments in half a gigabyte:

        scrubbing explain induction --memory 512MiB

    Equal calls are counted once, for they are made once. A call is plain where all that it sees comes from one stream
    of rows, as in an ordinary forward pass, and mixed where it sees several. `--engine ray --workers 8` says how eight
    workers would share it, and starts none.
    """
    from rich.console import Group
    from rich.text import Text

    from scrubbing.cli.output import show
    from scrubbing.cli.settings import engine_of, scrub_settings
    from scrubbing.cli.suites import experiments

    chosen = experiments(suite, model=model, data=data, only=only, options=options, dtype=dtype, device=device)
    spread = engine_of(engine, address=address, workers=workers, device=device)
    cost = chosen.cost(**scrub_settings(chosen, references=references, memory=memory, engine=spread))
    show(Group(Text(f"{chosen.title}: what scoring takes", style="bold"), cost))
