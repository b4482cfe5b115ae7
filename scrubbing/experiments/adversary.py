"""The worst that a hypothesis permits: for each reference, the agreeing donors that leave the largest loss.

Scrubbing draws donors at random, so a claim that fails only for rare donors scores well. The worst case is exact where
the distribution of the scrubbed loss can be worked out; else donors are searched for, and the loss found is a lower
bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int
from rich.console import RenderableType

from scrubbing.engine.evaluate import Evaluator
from scrubbing.engine.exact import exact_losses
from scrubbing.engine.features import Features
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.plan import scrubbed
from scrubbing.engine.planning import Planner
from scrubbing.engine.policy import Unclaimed
from scrubbing.engine.sampling.agreement import Classes, PositionClasses
from scrubbing.engine.sampling.randomness import keyed_uniforms
from scrubbing.engine.sampling.streams import Drawn, Given, References, Sample, Stream
from scrubbing.errors import HypothesisError
from scrubbing.errors.arguments import checked
from scrubbing.experiments.accuracy import wilson
from scrubbing.experiments.arguments import Rows, Together, check_names, choose_references
from scrubbing.experiments.preparation import Options, policy_of
from scrubbing.graph.data import MOST, as_columns, at_least_one, seed_number
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score.tables import Printed, decimals_for, fixed, tails, titled

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 5
MOST_AT_ONCE = 10_000  # candidates at one node, and starts

Donors = Int[np.ndarray, "reference *position"]
LossByReference = Float[np.ndarray, " reference"]


@dataclass(frozen=True, eq=False, repr=False)
class WorstCase(Printed):
    """The largest loss that permitted donors leave of each reference.

    `exact` says whether `worst` is the largest there is, or the largest that was found: a lower bound. `donors` has the
    rows that leave it, by the path of each stream, where they were searched for.
    """

    reference: Int[np.ndarray, " reference"]
    original: LossByReference
    worst: LossByReference
    exact: bool
    donors: Mapping[str, Donors] = field(default_factory=dict)

    @property
    def losses(self) -> "pd.DataFrame":
        """A row for each reference, worst first: its row, own loss and worst, and the rows that stood in, by path."""
        import pandas as pd

        whole = {path: rows for path, rows in self.donors.items() if rows.ndim == 1}
        table = pd.DataFrame({"reference": self.reference, "original": self.original, "worst": self.worst, **whole})
        return table.sort_values("worst", ascending=False, kind="stable", ignore_index=True)

    def share_above(self, loss: float) -> float:
        """The share of references that some permitted donors (of those found) leave with more than this loss."""
        return float((self.worst > loss).mean())

    def __rich__(self) -> RenderableType:
        decimals = decimals_for([*self.original, *self.worst])
        found = "worst" if self.exact else "worst found"
        rows = [
            (str(row), fixed(own, decimals), fixed(worst, decimals), self._at(i))
            for i in np.argsort(-self.worst, kind="stable")[:SHOWN].tolist()
            for row, own, worst in [(self.reference[i], float(self.original[i]), float(self.worst[i]))]
        ]
        means = (
            "mean of all",
            fixed(float(self.original.mean()), decimals),
            fixed(float(self.worst.mean()), decimals),
            "",
        )
        raised = self.worst > self.original
        low, high = wilson(float(raised.mean()), len(raised))
        notes = [
            f"some permitted donors raise the loss of {100 * raised.mean():.1f}% of {len(raised)} references "
            f"[{100 * low:.1f}, {100 * high:.1f}]",
            "exact: no permitted donors leave more"
            if self.exact
            else "searched for: a lower bound, other permitted donors may leave more",
        ]
        columns = ["row", "own loss", found, "donors"][: 4 if self.donors else 3]
        table = [row[: len(columns)] for row in rows]
        title = "the worst permitted donors"
        return titled(title, columns, [*table, None, means[: len(columns)]], notes, left=["donors"])

    def _at(self, i: int) -> str:
        tail = tails(self.donors)
        return ", ".join(f"{tail[path]} {rows[i]}" for path, rows in self.donors.items() if rows.ndim == 1)


@checked
def worst_donors(
    hypothesis: Hypothesis,
    data: Mapping[str, Any],
    *,
    exact: bool = False,
    references: Rows | None = None,
    others: str | Rows = "node",
    exclude_self: bool = False,
    unclaimed: Unclaimed = "resample",
    together: Together = (),
    seed: int = 0,
    starts: int = 2,
    sweeps: int = 3,
    candidates: int = 32,
    cap: int = 2_000_000,
) -> WorstCase:
    """For each reference, the donors that the hypothesis permits and that leave the largest loss.

    `exact` enumerates the donors and gives the largest loss that any of them leaves (at most `cap` combinations at one
    node). Otherwise the donors are searched for by coordinate ascent, which gives a lower bound. The search starts from
    the donors that `scrub` draws with this seed, and from `starts` - 1 other draws. At one path after the other it
    tries `candidates` agreeing rows (all of a smaller class) and takes the worst: once with the donors below left in
    place as far as they still agree, once with donors drawn afresh below. It ends when a sweep over all paths changes
    nothing, or after `sweeps` of them. The other options are those of `scrub`. The result holds arrays `[reference]`,
    in the unit of the network's loss.

    >>> from hypotheses import toy
    >>> case = toy.case("a threshold too high")
    >>> worst_donors(case.hypothesis, case.data, exact=True).share_above(0.5)
    0.24

    Raises `HypothesisError` where the hypothesis leaves no choice of donors, or `exact` would take more than `cap`
    combinations; `DataError` for options or data that cannot be used.

    Source: the worst case in place of the mean over donors of Chan et al. 2022 ("Causal scrubbing").
    """
    columns = as_columns(data)
    rows = len(next(iter(columns.values())))
    options = Options(others=others, exclude_self=exclude_self, unclaimed=unclaimed, together=together)
    policy = policy_of(options, rows)
    check_names({"the hypothesis": hypothesis}, policy, columns, hypothesis)
    for name, number in (("starts", starts), ("sweeps", sweeps), ("candidates", candidates), ("cap", cap)):
        at_least_one(name, number, below=MOST if name in ("sweeps", "cap") else MOST_AT_ONCE)
    seed = seed_number(seed)
    sample = Sample(choose_references(references, rows, seed), rows, seed=seed, exclude_self=exclude_self)
    interpreter = Interpreter(dict(columns), sample)
    evaluator, planner = Evaluator(interpreter), Planner(policy, Features(interpreter))
    original = evaluator.losses([planner.plain(hypothesis.G, References())])[0].double().numpy()
    if exact:
        found = exact_losses(hypothesis, columns, sample.references, policy, cap=cap)
        return WorstCase(sample.references, original, found.largest, exact=True)
    ends = [_Search(hypothesis, planner, evaluator, candidates, f"start {i}").ascended(sweeps) for i in range(starts)]
    losses = np.stack([worst for worst, _ in ends])
    donors = {path: _picked([found[path] for _, found in ends], losses.argmax(axis=0)) for path in ends[0][1]}
    return WorstCase(sample.references, original, losses.max(axis=0), exact=False, donors=donors)


def _picked(rows: Sequence[Donors], choice: Int[np.ndarray, " reference"]) -> Donors:
    """For each reference its donors among several."""
    return np.stack(rows)[choice, np.arange(len(choice))]


@dataclass(frozen=True, eq=False)
class _Search:
    """Coordinate ascent of every reference at once, each on its own."""

    h: Hypothesis
    planner: Planner
    evaluator: Evaluator
    candidates: int
    name: str

    def ascended(self, sweeps: int) -> tuple[LossByReference, dict[str, Donors]]:
        """Donors changed for the worse until nothing changes, and the losses that they leave."""
        start = _Proposal(self.evaluator.sample, {}, name="" if self.name == "start 0" else self.name)
        (best,) = self._losses([start])
        donors = dict(start.taken)
        if not donors:
            raise HypothesisError("this hypothesis leaves no choice of donors, so there is no worst one")
        for sweep in range(sweeps):
            before = best
            for path in donors:
                best, donors = self._improved(path, f"{self.name} sweep {sweep}", best, donors)
            if (best == before).all():
                break
        return best, donors

    def _improved(
        self, path: str, name: str, best: LossByReference, donors: dict[str, Donors]
    ) -> tuple[LossByReference, dict[str, Donors]]:
        """The best of the proposals at one path, reference by reference, where it is worse than what there was."""
        sample, n = self.evaluator.sample, self.candidates
        proposals = [_Proposal(sample, donors, path, i, n, name, fresh) for fresh in (False, True) for i in range(n)]
        losses = np.stack(self._losses(proposals))
        choice, worst = losses.argmax(axis=0), losses.max(axis=0)
        taken = {
            stream: np.where(
                _beside(worst > best, rows), _picked([p.taken.get(stream, rows) for p in proposals], choice), rows
            )
            for stream, rows in donors.items()
        }
        return np.maximum(worst, best), taken

    def _losses(self, proposals: "Sequence[_Proposal]") -> list[LossByReference]:
        roots = []
        for proposal in proposals:  # one planner for all, so that what they have in common is computed once
            self.planner.policy = replace(self.planner.policy, choose=proposal)
            roots.append(scrubbed(self.planner, self.h).output)
        return [loss.double().numpy() for loss in self.evaluator.losses(roots)]


@dataclass(frozen=True, eq=False)
class _Proposal:
    """Donors that differ at one path: another agreeing row there, and below it what then no longer agrees.

    Without a path, donors as they are drawn. `taken` says which rows the proposal came to, by path.
    """

    sample: Sample
    donors: Mapping[str, Donors]
    path: str | None = None
    candidate: int = 0
    candidates: int = 1
    name: str = ""
    afresh: bool = False  # whether all that is below is drawn anew
    taken: dict[str, Donors] = field(default_factory=dict)
    _streams: dict[str, Given] = field(default_factory=dict)
    _changed: set[str] = field(default_factory=set)

    def __call__(self, name: str, recorded: str, own: Stream, drawn: Stream) -> Stream:
        if not isinstance(drawn, Drawn):
            return drawn  # given, not drawn
        key = "/".join(drawn.key)  # of nodes that share a donor the same
        if key not in self._streams:
            self.taken[key] = self._rows(key, drawn)
            self._streams[key] = Given(self.taken[key])
        return self._streams[key]

    def _rows(self, key: str, drawn: Drawn) -> Donors:
        if self.path is None:
            return self.sample.rows(replace(drawn, key=(*drawn.key, self.name)) if self.name else drawn)
        if key == self.path:
            return self.sample.draw(drawn, self._spread(drawn))
        anew = self.sample.rows(replace(drawn, key=(*drawn.key, self.name, str(self.candidate))))
        if self.afresh and _is_below(key, self.path):
            return anew
        return np.where(self._permitted(drawn, self.donors[key]), self.donors[key], anew)

    def _spread(self, drawn: Drawn) -> Float[np.ndarray, "reference *position"]:
        """Numbers in [0, 1) by which the candidates are spread over a class: over all of it, if it is small."""
        zero = self.sample.rows(replace(drawn, key=(*drawn.key, "spread")))
        parent = self._parent(drawn, zero)
        size = _sizes(drawn, parent, self.sample.dataset_rows)
        size = np.maximum(size - 1, 1) if self.sample.exclude_self else size
        key = (*drawn.key, self.name)
        within = keyed_uniforms(self.sample.seed, (*key, str(self.candidate)), *_places(zero))
        first = np.floor(size * keyed_uniforms(self.sample.seed, (*key, "first"), *_places(zero)))
        small = (
            (first + self.candidate) % size + 0.5
        ) / size  # each place goes round its class from a start of its own
        return np.where(size <= self.candidates, small, (self.candidate + within) / self.candidates)

    def _parent(self, drawn: Drawn, rows: Donors) -> Donors:
        parent = self.sample.references if drawn.parent is None else self.sample.rows(drawn.parent)
        return np.broadcast_to(_beside(parent, rows), rows.shape)

    def _permitted(self, drawn: Drawn, rows: Donors) -> Bool[np.ndarray, "reference *position"]:
        """Whether rows may stand in for what the stream follows."""
        parent = self._parent(drawn, rows)
        agree = _agree(drawn, parent, rows)
        if self.sample.exclude_self:
            agree &= (parent != rows) | (_sizes(drawn, parent, self.sample.dataset_rows) == 1)
        return agree


def _is_below(key: str, path: str) -> bool:
    """Whether a stream's path goes through the node at the end of another (which a group of nodes may share)."""
    above, _, names = path.rpartition("/")
    return any(key.startswith(f"{above}/{name}/") for name in names.split("+"))


def _places(rows: Donors) -> list[Int[np.ndarray, "..."]]:
    return [np.asarray(counter) for counter in np.indices(rows.shape)]


def _beside(rows: np.ndarray, like: np.ndarray) -> np.ndarray:
    """One entry per reference, ready to broadcast over positions."""
    return rows[:, None] if rows.ndim < like.ndim else rows


def _sizes(drawn: Drawn, parent: Donors, rows: int) -> Int[np.ndarray, "reference *position"]:
    match drawn.classes:
        case Classes() as classes:
            return classes.sizes_of(parent)
        case PositionClasses(at):
            return np.stack([classes.sizes_of(parent[:, p]) for p, classes in enumerate(at)], axis=1)
    return np.full(parent.shape, rows)


def _agree(drawn: Drawn, parent: Donors, rows: Donors) -> Bool[np.ndarray, "reference *position"]:
    match drawn.classes:
        case Classes(ids):
            return ids[parent] == ids[rows]
        case PositionClasses(at):
            return np.stack([c.ids[parent[:, p]] == c.ids[rows[:, p]] for p, c in enumerate(at)], axis=1)
    return np.ones(parent.shape, dtype=bool)
