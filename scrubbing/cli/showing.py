"""`scrubbing app`."""

from typing import Annotated

import typer

from scrubbing.cli.options import (
    DataFile,
    DeviceOption,
    ModelFolder,
    OnlyOption,
    Precision,
    PrecisionOption,
    SetOption,
    SuiteArgument,
)


def app(
    suite: SuiteArgument,
    model: ModelFolder = None,
    data: DataFile = None,
    only: OnlyOption = None,
    options: SetOption = None,
    dtype: PrecisionOption = Precision.float32,
    device: DeviceOption = "cpu",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The port of this machine to use.")] = 8501,
) -> None:
    """Look at a suite's network live in a browser: what a node does to a row, where a head looks, what is scrubbed.

    It answers on this machine alone, reads nothing but what it is started on, and ends with Ctrl-C:

        scrubbing app induction
    """
    from rich.text import Text

    from scrubbing.cli import suites
    from scrubbing.cli.output import show
    from scrubbing.report.app.serving import check_packages, serve

    check_packages()
    chosen = suites.experiments(suite, model=model, data=data, only=only, options=options, dtype=dtype, device=device)
    serve(chosen, port=port, ready=lambda address: show(Text(f"{chosen.title} at {address} (Ctrl-C ends it)")))
