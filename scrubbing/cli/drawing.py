"""`scrubbing draw`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from scrubbing.cli.options import (
    MOST,
    DataFile,
    ModelFolder,
    OnlyOption,
    Precision,
    SetOption,
    SuiteArgument,
)


def draw(
    suite: SuiteArgument,
    model: ModelFolder = None,
    data: DataFile = None,
    only: OnlyOption = None,
    options: SetOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the picture here: .svg, .png, .dot or .mmd (Mermaid)."),
    ] = None,
    row: Annotated[
        int | None,
        typer.Option(
            "--walk", min=0, max=MOST, metavar="ROW", help="Show the scrubbed run of this row, visit by visit."
        ),
    ] = None,
) -> None:
    """Draw hypotheses: each claimed node with its feature, whose datum it runs on, and what is left unclaimed.

    Without a file, a tree for each is printed. A picture of one of them:

        scrubbing draw induction --only "refined 4/All" -o refined-4.svg
    """
    from scrubbing.errors import HypothesisError
    from scrubbing.report.picture import check_format
    from scrubbing.store.files import check_writable

    if output is not None:
        check_format(output)
        check_writable(output)
    from rich.console import Group
    from rich.text import Text

    from scrubbing.cli import suites
    from scrubbing.cli.output import show
    from scrubbing.report.picture import draw as drawn
    from scrubbing.report.walk import walk

    chosen = suites.experiments(
        suite, model=model, data=data, only=only, options=options, dtype=Precision.float32, device="cpu"
    )
    if output is not None:
        first, *others = chosen.cases
        if others:
            raise HypothesisError(
                f"{output} holds one picture, and {1 + len(others)} hypotheses are chosen; "
                f"name one: --only {first.name!r}"
            )
        drawn(first.hypothesis, **_policy(first.settings)).save(output)
        show(Text(f"{first.name} in {output}"))
        return
    parts = []
    for case in chosen.cases:
        settings = {name: value for name, value in case.settings.items() if name not in ("references", "exact")}
        shown = (
            drawn(case.hypothesis, **_policy(case.settings))
            if row is None
            else walk(case.hypothesis, case.data, reference=row, **settings)
        )
        parts += [Text(case.name, "bold underline"), shown, Text("")]
    show(Group(*parts[:-1]))


def _policy(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a case's settings that decide on whose datum a node runs."""
    return {name: settings[name] for name in ("unclaimed", "exclude_self") if name in settings}
