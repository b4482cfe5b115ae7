"""`scrubbing score --shard I/N`, a part of a run, and `scrubbing merge`, which joins the parts."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scrubbing.cli.asked import Asked
    from scrubbing.store import Store
    from scrubbing.store.parts import PartialRun


def show_part(asked: "Asked", shard: tuple[int, int], store: "Store | None") -> None:
    """Compute a part of a run, and say what there is of it."""
    from rich.text import Text

    from scrubbing.cli.output import show
    from scrubbing.errors import DataError
    from scrubbing.store.parts import note_command
    from scrubbing.store.schema import opened, telling

    if store is None:
        raise DataError("--shard keeps its part in a store of its own; name one with --store FILE")
    chosen = asked.chosen()
    found = chosen.score_part(shard, store=store, **asked.settings(chosen))
    with telling(store.file), closing(opened(store.file)) as connection:
        note_command(connection, found.identity.key, asked.model_dump(mode="json"))
    show(Text(f"{chosen.title}, part {shard[0]} of {shard[1]} in {store.file}\n{found}"))


def merge(
    stores: Annotated[list[Path], typer.Argument(help="The stores to join.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The store to make, or to add to.")],
) -> None:
    """Join stores into one, and compute the scores of the runs whose parts are all there now.

    Three jobs that may run anywhere and at any time, and their scores, the same to the last bit as in one run:

        scrubbing score induction --shard 0/3 --store 0.db   (and 1/3, and 2/3)

        scrubbing merge 0.db 1.db 2.db -o all.db

    Parts that are missing are named, with status 2. Scores that the stores have already are copied.
    """
    from scrubbing.errors import StoreError
    from scrubbing.store.merging import merge as join

    missing: list[str] = []
    for run in join(stores, output):
        if run.missing:
            missing.append(str(run))
        else:
            _show_scores(run, output)
    if missing:
        raise StoreError("; ".join(missing))


def _show_scores(run: "PartialRun", file: Path) -> None:
    """Compute and print the scores of a run from its parts; nothing else is computed."""
    import torch
    from pydantic import ValidationError
    from rich.text import Text

    from scrubbing.cli.asked import Asked
    from scrubbing.cli.output import show
    from scrubbing.cli.results import shown
    from scrubbing.errors import StoreError
    from scrubbing.store import Store
    from scrubbing.store.identity import differences

    if run.command is None:
        show(Text(f"{run}; scrub(..., store={str(file)!r}) as it was begun in Python makes its scores"))
        return
    try:
        asked = Asked.model_validate(run.command)
    except ValidationError:
        raise StoreError(f"{run} cannot be scored: another version of scrubbing began it") from None
    torch.set_num_threads(int(run.identity.environment["threads"]))
    chosen = asked.chosen()
    settings = asked.settings(chosen)
    here = chosen.identity(**settings)
    if here.key != run.identity.key:
        raise StoreError(
            f"{run} cannot be scored here, where it would be another run; they differ in "
            f"{', '.join(differences(run.identity, here))}"
        )
    show(shown(chosen, chosen.score(store=Store(file, suite=asked.suite), **settings), {}))
