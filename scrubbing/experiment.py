"""Score hypotheses: what `scrub` does, from the user's arguments to the scores."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict, Unpack, overload

import numpy as np
import torch
from torch import Tensor

from scrubbing.correspondence import Hypothesis
from scrubbing.dataset import Columns, as_columns
from scrubbing.errors import DataError, GraphError, HypothesisError, nearest
from scrubbing.evaluate import Evaluator
from scrubbing.expressions import Expression
from scrubbing.graph import Graph
from scrubbing.plan import Planner, Policy, Scrubbed, Unclaimed
from scrubbing.progress import showing_progress
from scrubbing.sampling.streams import Fixed, References, Sample, draw_references
from scrubbing.score import Score, make_score
from scrubbing.vacuity import vacuity

Baseline = Graph | Hypothesis
Rows = int | Sequence[int] | np.ndarray | Tensor

CHECKED_ROWS = 4
CHECK_TOLERANCE = 1e-3  # relative to the largest loss: far above float32's rounding, far below a wrong sign


@dataclass(frozen=True)
class Case:
    """A hypothesis tied to the data, the baseline and the settings that it is to be scored with."""

    name: str
    hypothesis: Hypothesis
    data: Mapping[str, Any] = field(repr=False)
    baseline: Baseline
    settings: Mapping[str, Any] = field(default_factory=dict)

    def score(self, **settings: Any) -> Score:
        """`scrub` the case, with its own settings except for those given."""
        scores = scrub({self.name: self.hypothesis}, self.data, baseline=self.baseline, **{**self.settings, **settings})
        return scores[self.name]


class Settings(TypedDict, total=False):
    """The options of `scrub`, for the type checker."""

    references: Rows | None
    draws: int
    others: str | Rows
    donors: Mapping[str, Any] | None
    exclude_self: bool
    unclaimed: Unclaimed
    together: Sequence[Iterable[str]]
    seed: int
    check: bool
    progress: bool | Callable[[int, int], None] | None
    cap: int


Data = Mapping[str, Any]


@overload
def scrub(hypotheses: Hypothesis, data: Data, *, baseline: Baseline, **settings: Unpack[Settings]) -> Score: ...
@overload
def scrub(
    hypotheses: Sequence[Hypothesis], data: Data, *, baseline: Baseline, **settings: Unpack[Settings]
) -> list[Score]: ...
@overload
def scrub(
    hypotheses: Mapping[str, Hypothesis], data: Data, *, baseline: Baseline, **settings: Unpack[Settings]
) -> dict[str, Score]: ...
def scrub(
    hypotheses: Hypothesis | Sequence[Hypothesis] | Mapping[str, Hypothesis],
    data: Data,
    *,
    baseline: Baseline,
    references: Rows | None = None,
    draws: int = 1,
    others: str | Rows = "node",
    donors: Mapping[str, Any] | None = None,
    exclude_self: bool = False,
    unclaimed: Unclaimed = "resample",
    together: Sequence[Iterable[str]] = (),
    seed: int = 0,
    check: bool = True,
    progress: bool | Callable[[int, int], None] | None = None,
    cap: int = 100_000,
) -> Score | list[Score] | dict[str, Score]:
    """Causal scrubbing: resample everything that a hypothesis calls unimportant, and report the loss that survives.

    Several hypotheses are scored together, on common references and random numbers, and share all work that they can;
    the answer has the shape of the question (one, list or dict).

    `data` maps columns to tensors of one length. `baseline` is the explanation that recovers 0%: a `Graph` (applied to
    each hypothesis's own G) or a `Hypothesis`. `references` are all rows in order, that many rows drawn with
    replacement, or the rows given; each is scrubbed `draws` times. `others` says what stands in for unclaimed inputs:
    one donor per visited "node" (the paper), per "reference", per "input", or `others[i]` for the reference in row i.
    `donors` fixes the donor of a node of I for the reference in each row (`[rows]`, or `[rows, positions]`).
    `exclude_self` keeps a datum from standing in for itself. `unclaimed` says what stands in for an unclaimed node with
    a floating-point value: a donor's ("resample"), the mean over rows ("mean", or `mean(by=column)`), "zero", or what a
    function makes of the donor's. `together` lists groups of nodes of I, read by one parent, that share their donor.
    `check` compares G with the graph that it was rewritten from. `progress` is True, False, None (where a terminal
    shows it) or a function of (done, total). `cap` bounds the number of streams of donors.

    Raises `ScrubbingError` for whatever is wrong with the hypotheses or the data.
    """
    named = _named(hypotheses)
    columns = as_columns(data)
    if draws < 1:
        raise DataError(f"draws={draws}, but at least one draw is needed")
    dataset_rows = len(next(iter(columns.values())))
    chosen = _references(references, dataset_rows, seed)
    policy = Policy(
        others=others if isinstance(others, str) else _fixed_rows("others", others, dataset_rows),
        donors={name: _fixed_rows(f"donors[{name!r}]", r, dataset_rows, axes=2) for name, r in (donors or {}).items()},
        exclude_self=exclude_self,
        unclaimed=unclaimed,
        together=tuple(frozenset(group) for group in together),
        cap=cap,
    )
    sample = Sample(chosen, dataset_rows, seed=seed, draws=draws, exclude_self=exclude_self)
    evaluator = Evaluator(columns, sample)
    planner = Planner(policy, evaluator)
    _check(named, policy, columns, baseline)
    if check:
        _check_rewrites([h.G for h in named.values()], planner, evaluator)
    jobs = [_job(planner, h, baseline) for h in named.values()]
    with showing_progress(progress, len(sample)) as advance:
        losses = evaluator.losses([root for job in jobs for root in job.roots], advance)
    settings = {
        "others": others if isinstance(others, str) else "pairing",
        "exclude_self": exclude_self,
        "unclaimed": unclaimed if isinstance(unclaimed, str) else repr(unclaimed),
        "together": [sorted(group) for group in policy.together],
        "donors": sorted(policy.donors),
        "references": "all" if references is None else "drawn" if isinstance(references, int) else "given",
    }
    scores = [
        _score(name, job, losses[3 * i : 3 * i + 3], sample, settings)
        for i, (name, job) in enumerate(zip(named, jobs, strict=True))
    ]
    if isinstance(hypotheses, Hypothesis):
        return scores[0]
    return dict(zip(named, scores, strict=True)) if isinstance(hypotheses, Mapping) else scores


# -- arguments


def _named(hypotheses: Hypothesis | Sequence[Hypothesis] | Mapping[str, Hypothesis]) -> dict[Any, Hypothesis]:
    """Hypotheses by the key that their answer goes by: a name, or a place in the list."""
    if isinstance(hypotheses, Hypothesis):
        hypotheses = [hypotheses]
    named = dict(hypotheses) if isinstance(hypotheses, Mapping) else dict(enumerate(hypotheses))
    for key, h in named.items():
        if not isinstance(h, Hypothesis):
            raise HypothesisError(f"{key!r} is {type(h).__name__}, not a Hypothesis; write Hypothesis(G, I)")
    return named


def _references(references: Rows | None, dataset_rows: int, seed: int) -> np.ndarray:
    if references is None:
        return np.arange(dataset_rows)
    if isinstance(references, int):
        if references < 1:
            raise DataError(f"references={references}, but at least one reference is needed")
        return draw_references(np.arange(dataset_rows), references, seed)
    return _row_numbers("references", references, dataset_rows)


def _fixed_rows(name: str, rows: Any, dataset_rows: int, *, axes: int = 1) -> Fixed:
    array = _row_numbers(name, rows, dataset_rows, axes=axes)
    if len(array) != dataset_rows:
        raise DataError(f"{name} holds {len(array)} rows, but must name one for each of the {dataset_rows} rows")
    return Fixed(array)


def _row_numbers(name: str, rows: Any, dataset_rows: int, *, axes: int = 1) -> np.ndarray:
    array = np.asarray(rows)
    if array.dtype.kind not in "iu" or not 1 <= array.ndim <= axes or not array.size:
        raise DataError(f"{name} must be row numbers (integers), and is of type {array.dtype}, shape {array.shape}")
    wrong = array[(array < 0) | (array >= dataset_rows)]
    if wrong.size:
        raise DataError(f"{name} names row {wrong[0]}, but the data have the rows 0 to {dataset_rows - 1}")
    return array.astype(np.int64)


def _check(named: Mapping[Any, Hypothesis], policy: Policy, columns: Columns, baseline: Baseline) -> None:
    """Raise for settings that name what the hypotheses or the data do not have."""
    if isinstance(policy.others, str) and policy.others not in ("node", "reference", "input"):
        raise HypothesisError(
            f'others={policy.others!r} is no policy; choose "node", "reference", "input" or a tensor of row numbers'
        )
    everything = [*named.values(), *(_baseline_of(h, baseline) for h in named.values())]
    for graph in dict.fromkeys(graph for h in everything for graph in (h.G, h.I)):
        for column in graph.columns:
            if column not in columns:
                raise DataError(f"the data have no column {column!r}{nearest(column, columns)}")
        for name in graph:
            if name in columns:
                raise DataError(f"{name!r} is a node and a column of the data: rename one of them")
    for name in [*policy.donors, *(name for group in policy.together for name in group)]:
        if not any(name in h.I for h in named.values()):
            known = {n for h in named.values() for n in h.I}
            raise HypothesisError(
                f"donors or together names {name!r}, which no hypothesis claims{nearest(name, known)}"
            )
        if any(name == h.I.output for h in named.values()):
            raise HypothesisError(f"donors names the output {name!r}, which runs on the reference itself")


def _check_rewrites(graphs: Iterable[Graph], planner: Planner, evaluator: Evaluator) -> None:
    """Raise unless every rewritten graph agrees with the one it came from on the first few references."""
    rewritten = [graph for graph in dict.fromkeys(graphs) if graph.origin is not graph]
    pairs = [(planner.plain(graph, References()), planner.plain(graph.origin, References())) for graph in rewritten]
    values = evaluator.chunk([root for pair in pairs for root in pair], 0, CHECKED_ROWS)
    for now, before in zip(values[::2], values[1::2], strict=True):
        difference = (now - before).abs().max().item()
        if not difference <= CHECK_TOLERANCE * max(1.0, before.abs().max().item()):
            raise GraphError(
                f"a rewritten graph and the one that it was rewritten from differ by up to {difference:.3g} on the "
                f"first {len(before)} references; a rewrite must change no value (check=False skips this test)"
            )


# -- work


@dataclass(frozen=True)
class _Job:
    """One hypothesis as expressions."""

    original: Expression
    baseline: Expression
    scrubbed: Scrubbed

    @property
    def roots(self) -> tuple[Expression, Expression, Expression]:
        return self.original, self.baseline, self.scrubbed.output


def _baseline_of(h: Hypothesis, baseline: Baseline) -> Hypothesis:
    return replace(h, I=baseline, c={}) if isinstance(baseline, Graph) else baseline


def _job(planner: Planner, h: Hypothesis, baseline: Baseline) -> _Job:
    unexplained = planner.scrubbed(_baseline_of(h, baseline)).output
    return _Job(planner.plain(h.G.origin, References()), unexplained, planner.scrubbed(h))


def _score(name: Any, job: _Job, losses: Sequence[Tensor], sample: Sample, settings: dict[str, Any]) -> Score:
    original, baseline, scrubbed = (loss.double().numpy().reshape(-1, sample.draws) for loss in losses)
    return make_score(
        name=name if isinstance(name, str) else None,
        rows=sample.references,
        original=original[:, 0],
        baseline=baseline,
        scrubbed=scrubbed,
        precision=torch.finfo(losses[0].dtype).eps,
        seed=sample.seed,
        settings=settings,
        vacuity=vacuity(job.scrubbed, sample),
        donors={path: sample.rows(stream) for path, stream in job.scrubbed.streams.items()},
    )
