"""For one reference, which of the donors that stood in did the damage: its recorded donors, put back one at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int
from rich.console import RenderableType

from scrubbing.engine.evaluate import Evaluator
from scrubbing.engine.features import Features
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.plan import scrubbed
from scrubbing.engine.planning import Planner
from scrubbing.engine.policy import Policy, Unclaimed
from scrubbing.engine.sampling.streams import Fixed, Given, Sample, Stream
from scrubbing.errors import DataError, HypothesisError
from scrubbing.errors.arguments import checked
from scrubbing.experiments.arguments import Together, groups_of
from scrubbing.graph.data import as_columns
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Score
from scrubbing.score.tables import Printed, decimals_for, fixed, tails, titled

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-3  # of a replayed loss, relative to the largest loss of the score


@dataclass(frozen=True, eq=False, repr=False)
class Swaps(Printed):
    """What each recorded donor of one reference does to its loss, by itself and in the company of the others.

    `only[path]` is the loss with that donor alone put in, and `without[path]` the loss with all but that one; wherever
    no donor is put in, a node runs on its reader's own datum. `donors[path]` is the donor's row (or one per position).
    """

    reference: int
    original: float
    scrubbed: float
    donors: Mapping[str, int | tuple[int, ...]]
    only: Mapping[str, float]
    without: Mapping[str, float]

    @property
    def damage(self) -> "pd.DataFrame":
        """A row for each donor, worst first: its row, and the loss that it adds alone and after all others."""
        import pandas as pd

        rows = [
            {
                "path": path,
                "donor": self.donors[path],
                "only": self.only[path],
                "without": self.without[path],
                "adds_alone": self.only[path] - self.original,
                "adds_last": self.scrubbed - self.without[path],
            }
            for path in self._worst_first
        ]
        return pd.DataFrame(rows)

    @property
    def _worst_first(self) -> list[str]:
        return sorted(self.only, key=lambda path: (-self.only[path], self.without[path]))

    def __rich__(self) -> RenderableType:
        decimals = decimals_for([self.original, self.scrubbed, *self.only.values(), *self.without.values()])
        tail = tails(self.only)
        rows = [
            (
                tail[path],
                _shown(self.donors[path]),
                fixed(self.only[path], decimals),
                fixed(self.without[path], decimals),
            )
            for path in self._worst_first
        ]
        ends = [
            (name, "", fixed(loss, decimals), "")
            for name, loss in (("none of them", self.original), ("all of them", self.scrubbed))
        ]
        return titled(
            f"row {self.reference}: its loss by the donors that stood in",
            ["at", "donor", "loss with only this", "loss without this"],
            [*rows, None, *ends],
            ["a node without its donor runs on its reader's own datum"],
        )


@checked
def single_swaps(
    hypothesis: Hypothesis,
    data: Mapping[str, Any],
    score: Score,
    *,
    reference: int | None = None,
    draw: int = 0,
    unclaimed: Unclaimed | None = None,
    together: Together | None = None,
) -> Swaps:
    """Which single donor broke a reference: put its recorded donors in one at a time, and all but one.

    `score` is a sampled score of the hypothesis on these data, with the donors that it recorded. `reference` is a row
    of the dataset: by default the one whose loss rose most (its first occurrence). `draw` is the number of the draw,
    where each reference has several. Donors go by the paths of `score.donors`, so a node that two paths reach has two.
    One donor for the whole hypothesis (`others="reference"`, or a pairing) is put in for one node at a time. A donor is
    put in as it was recorded: where its reader now runs on another datum, the two need not agree.
    Give `unclaimed` where the score was made with anything but "resample", "mean" or "zero". Losses are in the unit of
    the network's loss.

    >>> from hypotheses import toy
    >>> case = toy.case("a threshold too high")
    >>> swaps = single_swaps(case.hypothesis, case.data, case.score())
    >>> swaps.reference, round(swaps.only["loss/D/A"], 2), round(swaps.without["loss/D/A"], 2)
    (535, 0.98, 0.0)

    Raises `DataError` for a score without donors or of another hypothesis, and where the replayed loss is not the
    score's; `HypothesisError` where nothing is scrubbed, or `unclaimed` has to be given.
    """
    columns = as_columns(data)
    rows = len(next(iter(columns.values())))
    at = _place(score, reference)
    if not 0 <= draw < score.draws:
        raise DataError(f"draw={draw}, but the score has the draws 0 to {score.draws - 1}")
    row = score.by_reference.reference[at]
    recorded = _recorded(score, at * score.draws + draw, rows)
    policy = _policy(score, unclaimed, together)
    items = _drawn(hypothesis, columns, policy, Sample(np.array([row]), rows))
    missing = sorted(set(items.values()) - set(recorded))
    if missing:
        raise DataError(f"the score has no donor at {missing[0]!r}: it is not a score of this hypothesis")
    k = len(items)
    on = np.concatenate([np.zeros((1, k)), np.ones((1, k)), np.eye(k), 1 - np.eye(k)]).astype(bool)
    replay = _Replay(
        {path: on[:, i] for i, path in enumerate(items)}, recorded, Sample(np.array([row]), rows, draws=len(on))
    )
    interpreter = Interpreter(dict(columns), replay.sample)
    planned = scrubbed(Planner(replace(policy, choose=replay), Features(interpreter)), hypothesis)
    losses = Evaluator(interpreter).losses([planned.output])[0].double().numpy()
    _check_replayed(score, at, losses)
    return Swaps(
        reference=row,
        original=float(losses[0]),
        scrubbed=float(losses[1]),
        donors={path: _plain(recorded[by]) for path, by in items.items()},
        only=dict(zip(items, losses[2 : 2 + k].tolist(), strict=True)),
        without=dict(zip(items, losses[2 + k :].tolist(), strict=True)),
    )


@dataclass(frozen=True, eq=False)
class _Replay:
    """Recorded donors where they are on, and the reader's own datum where they are off; a variant for each draw."""

    on: Mapping[str, Bool[np.ndarray, " variant"]]
    recorded: Mapping[str, Int[np.ndarray, "*position"]]
    sample: Sample
    known: dict[tuple[str, Stream], Stream] = field(default_factory=dict)

    def __call__(self, name: str, recorded: str, own: Stream, drawn: Stream) -> Stream:
        path = _path(name, recorded)
        if (path, own) not in self.known:
            on, donor, rows = self.on[path], self.recorded[recorded], self.sample.rows(own)
            if max(rows.ndim, donor.ndim + 1) == 2:
                on, rows = on[:, None], rows if rows.ndim == 2 else rows[:, None]
            self.known[path, own] = Given(np.where(on, donor, rows))
        return self.known[path, own]


def _drawn(h: Hypothesis, columns: Mapping[str, Any], policy: Policy, sample: Sample) -> dict[str, str]:
    """The paths of a hypothesis at which a donor stands in, each with the one that the donor is recorded by."""
    paths: dict[str, str] = {}

    def note(name: str, recorded: str, own: Stream, drawn: Stream) -> Stream:
        paths[_path(name, recorded)] = recorded
        return drawn

    scrubbed(Planner(replace(policy, choose=note), Features(Interpreter(dict(columns), sample))), h)
    if not paths:
        raise HypothesisError("this hypothesis scrubs nothing, so there are no donors to put in")
    return paths


def _path(name: str, recorded: str) -> str:
    """The path of a donor; of one for the whole hypothesis, by the node that leaves something to it."""
    return f"{name}/other" if recorded == "other" else recorded


def _place(score: Score, reference: int | None) -> int:
    """Where a reference stands among those of a score."""
    losses = score.by_reference
    if reference is None:
        return int(np.argmax(np.subtract(losses.scrubbed, losses.original)))
    if reference not in losses.reference:
        raise DataError(f"row {reference} is not among the {score.references} references of the score")
    return losses.reference.index(reference)


def _recorded(score: Score, place: int, rows: int) -> dict[str, Int[np.ndarray, "*position"]]:
    """The donors of one draw of one reference, by path."""
    if not score.donors:
        raise DataError(
            "this score has no recorded donors (it is exact, was read from a file, or its hypothesis draws none); "
            "score the hypothesis again without exact=True"
        )
    recorded = {path: np.asarray(donors[place]) for path, donors in score.donors.items()}
    made = [path for path, donor in recorded.items() if donor.max() >= rows]
    if made:
        raise DataError(f"the donor at {made[0]!r} was made for the score and is not among the rows of the data")
    return recorded


def _policy(score: Score, unclaimed: Unclaimed | None, together: Together | None) -> Policy:
    """The policy that a score was made with, as far as it says which donors there are."""
    settings = score.settings
    if unclaimed is None:
        unclaimed = settings["unclaimed"]
        if unclaimed not in ("resample", "mean", "zero"):
            raise HypothesisError(
                f"the score was made with unclaimed={unclaimed}; give it as unclaimed=... here as well"
            )
    paired = settings["others"] == "pairing"
    placeholder = Fixed(np.zeros(max(score.by_reference.reference) + 1, dtype=np.int64))  # its rows are those recorded
    return Policy(
        others=placeholder if paired else settings["others"],
        exclude_self=settings["exclude_self"],
        unclaimed=unclaimed,
        together=groups_of(settings["together"] if together is None else together),
    )


def _check_replayed(score: Score, at: int, losses: Float[np.ndarray, " variant"]) -> None:
    """Raise where the recorded donors give another loss than they gave."""
    known = score.by_reference
    scale = TOLERANCE * max(1.0, float(np.abs(known.scrubbed).max()))
    pairs = [("own", losses[0], known.original[at])]
    pairs += [("scrubbed", losses[1], known.scrubbed[at])] if score.draws == 1 else []
    for kind, replayed, recorded in pairs:
        if abs(replayed - recorded) > scale:
            raise DataError(
                f"the {kind} loss of row {known.reference[at]} is {replayed:.4g} here and {recorded:.4g} in the score: "
                f"give the hypothesis, data and settings that the score was made with"
            )


def _plain(donor: Int[np.ndarray, "*position"]) -> int | tuple[int, ...]:
    return int(donor) if donor.ndim == 0 else tuple(donor.tolist())


def _shown(donor: int | tuple[int, ...]) -> str:
    return str(donor) if isinstance(donor, int) else f"{len(set(donor))} rows, by position"
