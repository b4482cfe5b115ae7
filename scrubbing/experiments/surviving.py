"""Go on without those hypotheses or interventions of a run that raise."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from scrubbing.errors import DataError, GraphError, HypothesisError, NodeError, StoreError, printable, warn

Score = TypeVar("Score")

THEIRS = (HypothesisError, GraphError, NodeError, DataError)  # what one of them may raise, and others not


def those_that_run(run: Callable[[Any], Any], named: Any) -> dict[str, Any]:
    """What `run` gives for those of a dict that do not raise, which are found by halving: run together they share
    their work. Warns of each that is left out, with its error.

    Raises `HypothesisError` where they have no names, and the first's own error where none is left.
    """
    if not isinstance(named, Mapping):
        raise HypothesisError("keep_going=True leaves out what cannot be scored: give a dict, by name")
    failed: dict[str, Exception] = {}
    scores = _halved(run, named, failed)
    if failed and not scores:
        raise next(iter(failed.values()))
    for name, error in failed.items():
        warn(f"{printable(str(name))!r} is left out: {error}")
    return scores


def _halved(
    run: Callable[[Any], dict[str, Score]], named: Mapping[str, Any], failed: dict[str, Exception]
) -> dict[str, Score]:
    try:
        return run(dict(named))
    except StoreError:
        raise
    except THEIRS as error:
        if len(named) < 2:
            failed.update(dict.fromkeys(named, error))
            return {}
    names = list(named)
    halves = names[: len(names) // 2], names[len(names) // 2 :]
    first, second = (_halved(run, {name: named[name] for name in half}, failed) for half in halves)
    return first | second
