"""The store as users hold it: a file, and what can be asked of it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrubbing.errors import StoreError
from scrubbing.errors.arguments import check_fields, checked
from scrubbing.graph import Graph
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Score
from scrubbing.store.entries import Entry, count_hypotheses, read_entries
from scrubbing.store.identity import model_hash
from scrubbing.store.reading import read_record, read_score
from scrubbing.store.record import Record
from scrubbing.store.schema import connected

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Store:
    """A local record of every score: one SQLite file, made at the first run. `scrub(..., store=FILE)` writes it.

    With `reuse`, a run that is recorded already is answered without computing (`score.recalled` says so), and one that
    was interrupted goes on from its finished chunks; either gives the same bits. `suite` is what scores are filed
    under. Several processes may write to one store.
    """

    path: Path | str
    reuse: bool = True
    suite: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def file(self) -> Path:
        """Where it is."""
        try:
            return Path(self.path).expanduser()
        except RuntimeError:
            raise StoreError(f"the store {self.path} names a user whose home is not known; give another file") from None

    @checked
    def history(self, *, last: int | None = None, **filters: str | None) -> list[Entry]:
        """Scores in short, from the oldest to the newest, `last` at most.

        `filters` are suite, name ("naive", or "naive/Q"), and model and data by how their hashes begin.
        """
        with connected(self.file) as connection:
            return read_entries(connection, last=last, **filters)

    @checked
    def score(self, id: int) -> Score:
        """The score of a line of the history, all of it but the donors.

        Raises `StoreError` where there is none, or it is damaged.
        """
        with connected(self.file) as connection:
            return read_score(connection, id)

    @checked
    def record(self, id: int) -> Record:
        """What was scored: the hypothesis, its data's fingerprint, settings and score (`restore` makes it live)."""
        with connected(self.file) as connection:
            return read_record(connection, id)

    @checked
    def tried(self, model: Hypothesis | Graph | str, suite: str | None = None) -> int:
        """How many different hypotheses about a behaviour were scored on a model (or on the one of this hash).

        The behaviour is the suite that a run was recorded for; None counts runs of no suite. Other data, another seed
        and further columns begin no new count: each hypothesis is a path that could have been taken, which a correction
        for multiplicity has to know (Gelman and Loken 2013, "The garden of forking paths").
        """
        graph = model.G if isinstance(model, Hypothesis) else model
        with connected(self.file) as connection:
            return count_hypotheses(connection, model_hash(graph) if isinstance(graph, Graph) else graph, suite)

    @checked
    def frame(self, *, by_reference: bool = False, **filters: Any) -> "pd.DataFrame":
        """The history as a table, one row for each score, or for each reference of each score."""
        from scrubbing.store.frames import frame  # pandas takes a second that most runs need not pay

        with connected(self.file) as connection:
            return frame(connection, read_entries(connection, **filters), by_reference=by_reference)


def as_store(store: "Store | Path | str | None") -> Store | None:
    """What a user may give for a store."""
    return Store(store) if isinstance(store, str | os.PathLike) else store
