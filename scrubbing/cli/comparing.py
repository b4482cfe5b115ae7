"""`scrubbing compare`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scrubbing.cli.options import LARGEST, MOST, StoreOption
from scrubbing.errors import DataError, StoreError

if TYPE_CHECKING:
    from scrubbing.score import Score
    from scrubbing.store import Store


def compare(
    scores: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [C ...]", help="Scores: their ids in the history, or files of save_record.", show_default=False
        ),
    ],
    tried: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST,
            show_default=False,
            help="How many hypotheses were tried in all; by default as many as the store has for this model and suite.",
        ),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Compare scores on the references that they share: which recovers more than which, and by how much.

    Tests are paired, reference by reference, and corrected for the number of hypotheses that were tried, of which
    those shown are a choice. The last three scores of the history, say 40, 41 and 42:

        scrubbing compare 40 41 42
    """
    from scrubbing.cli.output import show
    from scrubbing.cli.places import store_file
    from scrubbing.score.comparison import compare as compared
    from scrubbing.store import Store

    twice = [given for given, count in Counter(scores).items() if count > 1]
    if twice:
        raise DataError(f"the score {twice[0]!r} is given twice; give each of those to compare once")
    ids = [_id(given) for given in scores if given.isdecimal()]
    found = Store(store_file(store)) if ids else None
    named = _named(scores, [_score(given, found) for given in scores])
    if found is not None and tried is None:
        tried = max(_tried(found, ids), len(named))
    show(compared(named, tried=tried))


def _id(given: str) -> int:
    if len(given) > len(str(LARGEST)) or int(given) > LARGEST:
        raise StoreError(f"there is no score {given}; ids go to {LARGEST} (see `scrubbing history`)")
    return int(given)


def _score(given: str, store: "Store | None") -> "Score":
    """The score that an id or a file stands for."""
    from scrubbing.store.record import load_record

    if store is not None and given.isdecimal():
        return store.score(_id(given))
    path = Path(given)
    if not path.exists():
        raise DataError(f"{given!r} is neither the id of a score (see `scrubbing history`) nor a file")
    try:
        score = load_record(path).score
    except DataError as error:
        raise DataError(f"{error}; compare takes ids of the history, or files that save_record wrote") from None
    if score is None:
        raise DataError(f"{path} records a hypothesis that was not scored")
    return score


def _named(given: Sequence[str], scores: Sequence["Score"]) -> "dict[str, Score]":
    """Scores by their names, and by what was given for them where names are missing or not their own."""
    names = Counter(score.name for score in scores)
    own = [score.name if score.name and names[score.name] == 1 else None for score in scores]
    labels = [name or f"{score.name or 'score'} ({said})" for name, score, said in zip(own, scores, given, strict=True)]
    return dict(zip(labels, scores, strict=True))


def _tried(store: "Store", ids: Sequence[int]) -> int:
    """How many hypotheses the store has on the model and behaviour of these scores."""
    about = {(entry.model, entry.suite) for entry in store.history() if entry.id in ids}
    return max((store.tried(model, suite) for model, suite in about), default=0)
