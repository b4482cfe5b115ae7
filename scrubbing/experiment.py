"""Score hypotheses: what `scrub` does, from the user's arguments to the scores."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, Unpack, overload

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from scrubbing.arguments import (
    Baseline,
    Rows,
    baseline_of,
    by_name,
    check_names,
    choose_references,
    fixed_rows,
    given_donors,
)
from scrubbing.correspondence import Hypothesis
from scrubbing.dataset import Columns, as_columns
from scrubbing.errors import DataError, GraphError, HypothesisError, ScrubbingWarning
from scrubbing.evaluate import Evaluator
from scrubbing.exact import exact_losses, exact_two_level_variance
from scrubbing.expressions import Expression
from scrubbing.graph import Graph
from scrubbing.plan import Planner, Scrubbed
from scrubbing.policy import Policy, Unclaimed
from scrubbing.progress import Advance, showing_progress
from scrubbing.sampling.streams import References, Sample
from scrubbing.score import Estimate, Score, by_draw, make_score, recalled, sampled_estimate
from scrubbing.store import Store, as_store
from scrubbing.store.identity import describe
from scrubbing.store.recording import Recording, recording
from scrubbing.vacuity import vacuity

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
    exact: bool
    check: bool
    progress: bool | Callable[[int, int], None] | None
    cap: int
    store: Store | Path | str | None


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
    exact: bool = False,
    check: bool = True,
    progress: bool | Callable[[int, int], None] | None = None,
    cap: int = 100_000,
    store: Store | Path | str | None = None,
) -> Score | list[Score] | dict[str, Score]:
    """Causal scrubbing: resample everything that a hypothesis calls unimportant, and report the loss that survives.

    Several hypotheses are scored together, on common references and random numbers, and share all work that they can;
    the answer has the shape of the question (one, list or dict).

    `data` maps columns to tensors of one length. `baseline` is the explanation that recovers 0%: a `Graph` (applied to
    each hypothesis's own G) or a `Hypothesis`. `references` are all rows in order, that many rows drawn with
    replacement, or the rows given; each is scrubbed `draws` times. `others` says what stands in for unclaimed inputs:
    one donor per visited "node" (the paper), per "reference", per "input", or `others[i]` for the reference in row i.
    `donors` fixes the donor of a node of I for the reference in each row (`[rows]`, or `[rows, positions]`), or is a
    function that makes agreeing donors for classes that the data lack: of the columns of the datums to stand in for,
    and a `numpy.random.Generator`, it returns the columns that change.
    `exclude_self` keeps a datum from standing in for itself. `unclaimed` says what stands in for an unclaimed node with
    a floating-point value: a donor's ("resample"), the mean over rows ("mean", or `mean(by=column)`), "zero", or what a
    function makes of the donor's. `together` lists groups of nodes of I, read by one parent, that share their donor.
    `exact` gives the expectation over all draws of donors in place of a sample of them, where that can be worked out.
    `check` compares G with the graph that it was rewritten from. `progress` is True, False, None (where a terminal
    shows it) or a function of (done, total). `cap` bounds the number of streams of donors.
    `store` is a file (or a `Store`) in which every score is recorded: an interrupted run goes on from its finished
    chunks, and one that is recorded already is answered from there, bit for bit (`score.recalled` says so).

    Raises `ScrubbingError` for whatever is wrong with the hypotheses or the data.
    """
    named = by_name(hypotheses)
    columns = as_columns(data)
    if draws < 1:
        raise DataError(f"draws={draws}, but at least one draw is needed")
    dataset_rows = len(next(iter(columns.values())))
    chosen = choose_references(references, dataset_rows, seed)
    policy = Policy(
        others=others if isinstance(others, str) else fixed_rows("others", others, dataset_rows),
        donors={name: given_donors(name, donor, dataset_rows) for name, donor in (donors or {}).items()},
        exclude_self=exclude_self,
        unclaimed=unclaimed,
        together=tuple(frozenset(group) for group in together),
        cap=cap,
    )
    sample = Sample(chosen, dataset_rows, seed=seed, draws=draws, exclude_self=exclude_self)
    if exact and any(map(callable, policy.donors.values())):
        raise HypothesisError("exact mode cannot follow donors that are made; sample them (exact=False)")
    evaluator = Evaluator(columns, sample)
    planner = Planner(policy, evaluator)
    check_names(named, policy, columns, baseline)
    settings = {
        "others": others if isinstance(others, str) else "pairing",
        "exclude_self": exclude_self,
        "unclaimed": unclaimed if isinstance(unclaimed, str) else repr(unclaimed),
        "together": [sorted(group) for group in policy.together],
        "donors": sorted(policy.donors),
        "exact": exact,
        "references": "all" if references is None else "drawn" if isinstance(references, int) else "given",
    }
    described = partial(
        describe,
        list(named.values()),
        [baseline_of(h, baseline) for h in named.values()],
        dict(columns),
        policy=policy,
        sample=sample,
        settings=settings,
    )
    with recording(as_store(store), described) as record:
        jobs = [_job(planner, h, baseline) for h in named.values()]
        scores = record.answer() if record else None
        if scores is None and check:
            _check_networks([h.G for h in named.values()], columns, chosen[:CHECKED_ROWS])
        _warn_of_idle_claims(named, jobs)
        stood_in = [_donors(job, sample, exact=exact) for job in jobs]
        if scores is None:
            outcomes = _outcomes(jobs, evaluator, policy, progress, record, exact=exact)
            computed = zip(named, jobs, outcomes, stood_in, strict=True)
            scores = [_score(*parts, sample=sample, settings=settings) for parts in computed]
            if record:
                record.keep(scores)
        else:
            scores = [recalled(*parts) for parts in zip(scores, named, stood_in, strict=True)]
    if isinstance(hypotheses, Hypothesis):
        return scores[0]
    return dict(zip(named, scores, strict=True)) if isinstance(hypotheses, Mapping) else scores


def _check_networks(graphs: Iterable[Graph], columns: Columns, rows: Int[np.ndarray, " row"]) -> None:
    """Raise unless every network is deterministic and agrees with the one it was rewritten from, on a few rows."""
    graphs = list(dict.fromkeys(graphs))
    _refuse_training_mode(graphs)
    few = {name: column[rows] for name, column in columns.items()}
    originals: dict[Graph, Tensor] = {}
    for graph in graphs:
        if graph.origin not in originals:
            originals[graph.origin] = _deterministic(graph.origin, few)
        before = originals[graph.origin]
        difference = (_losses(graph, few) - before).abs().max().item() if graph is not graph.origin else 0.0
        if not difference <= CHECK_TOLERANCE * max(1.0, before.abs().max().item()):
            raise GraphError(
                f"a rewritten graph and the one that it was rewritten from differ by up to {difference:.3g} on the "
                f"first {len(before)} references; a rewrite must change no value (check=False skips this test)"
            )


def _losses(graph: Graph, data: Columns) -> Tensor:
    with torch.no_grad():
        return torch.as_tensor(graph(data)).double()


def _deterministic(graph: Graph, data: Columns) -> Tensor:
    losses = _losses(graph, data)
    if not torch.allclose(losses, _losses(graph, data), rtol=0, atol=0, equal_nan=True):
        raise GraphError(
            "the network gives other losses for the same rows when it is run again; take the randomness out of it "
            "(dropout, sampling), or make it a column of the data"
        )
    return losses


def _refuse_training_mode(graphs: Iterable[Graph]) -> None:
    for graph in graphs:
        for name, node in graph.items():
            module = getattr(node.fn, "__self__", node.fn)  # a module, or a method of one
            if isinstance(module, torch.nn.Module) and module.training:
                raise GraphError(f"{name!r} is a module in training mode; call .eval() on it first")


# -- work


@dataclass(frozen=True)
class _Job:
    """One hypothesis and its baseline, as they are and as expressions."""

    hypothesis: Hypothesis
    baseline: Hypothesis
    original: Expression
    baseline_output: Expression
    scrubbed: Scrubbed


def _warn_of_idle_claims(named: Iterable[Any], jobs: Iterable[_Job]) -> None:
    for key, job in zip(named, jobs, strict=True):
        for name in job.scrubbed.idle:
            warnings.warn(
                f"hypothesis {key!r}: the claim {name!r} changes nothing; without it, the same would be passed on",
                ScrubbingWarning,
                stacklevel=3,
            )


@dataclass(frozen=True)
class _Outcome:
    """What a job came to: the losses of its references, by the network, by the baseline and scrubbed."""

    original: Float[np.ndarray, " reference"]
    baseline: Estimate
    scrubbed: Estimate
    precision: float


def _job(planner: Planner, h: Hypothesis, baseline: Baseline) -> _Job:
    unexplained = baseline_of(h, baseline)
    original = planner.plain(h.G.origin, References())
    return _Job(h, unexplained, original, planner.scrubbed(unexplained).output, planner.scrubbed(h))


def _outcomes(
    jobs: Sequence[_Job],
    evaluator: Evaluator,
    policy: Policy,
    progress: bool | Callable[[int, int], None] | None,
    record: Recording | None,
    *,
    exact: bool,
) -> list[_Outcome]:
    total, unit = (len(jobs), "hypotheses") if exact else (len(evaluator.sample), "references")
    with showing_progress(progress, total, unit=unit) as advance:
        if exact:
            return list(_exact_outcomes(jobs, evaluator, policy, advance))
        return list(_sampled_outcomes(jobs, evaluator, advance, record))


def _sampled_outcomes(
    jobs: Sequence[_Job], evaluator: Evaluator, advance: Advance, record: Recording | None
) -> Iterator[_Outcome]:
    """Losses by sampled donors, of all jobs in one pass over the references."""
    roots = [root for job in jobs for root in (job.original, job.baseline_output, job.scrubbed.output)]
    journal = record.journal(len(roots), len(evaluator.sample)) if record else None
    losses = evaluator.losses(roots, advance, journal)
    for i in range(0, len(losses), 3):
        original, baseline, scrubbed = (by_draw(loss, evaluator.sample.draws) for loss in losses[i : i + 3])
        first = original[:, 0]
        precision = torch.finfo(losses[i].dtype).eps
        yield _Outcome(first, sampled_estimate(baseline, first), sampled_estimate(scrubbed, first), precision)


def _exact_outcomes(jobs: Sequence[_Job], evaluator: Evaluator, policy: Policy, advance: Advance) -> Iterator[_Outcome]:
    """Expected losses over all draws of donors; hypotheses that are equal are worked out once."""
    one_draw = Evaluator(evaluator.columns, replace(evaluator.sample, draws=1))
    known: dict[Expression, Estimate] = {}

    def estimate(h: Hypothesis, output: Expression, original: Float[np.ndarray, " reference"]) -> Estimate:
        if output not in known:
            found = exact_losses(h, evaluator.columns, evaluator.sample.references, policy)
            between, within = exact_two_level_variance(found)
            known[output] = Estimate(found.mean, found.mean_absolute_change(original), between, within)
        return known[output]

    for done, job in enumerate(jobs, start=1):
        (loss,) = one_draw.losses([job.original])
        original = loss.double().numpy()
        baseline = estimate(job.baseline, job.baseline_output, original)
        scrubbed = estimate(job.hypothesis, job.scrubbed.output, original)
        advance(done)
        yield _Outcome(original, baseline, scrubbed, torch.finfo(loss.dtype).eps)


def _donors(job: _Job, sample: Sample, *, exact: bool) -> dict[str, np.ndarray]:
    """The row that stood in at every node, where there is one."""
    return {} if exact else {path: sample.rows(stream) for path, stream in job.scrubbed.streams.items()}


def _score(
    name: Any,
    job: _Job,
    outcome: _Outcome,
    donors: dict[str, np.ndarray],
    *,
    sample: Sample,
    settings: dict[str, Any],
) -> Score:
    for kind, losses in (("own", outcome.original), ("scrubbed", outcome.scrubbed.loss)):
        wrong = np.flatnonzero(~np.isfinite(losses))
        if len(wrong):
            row = sample.references[wrong[0]]
            raise DataError(f"the network's {kind} loss of row {row} is {losses[wrong[0]]}; losses must be finite")
    return make_score(
        name=name if isinstance(name, str) else None,
        rows=sample.references,
        original=outcome.original,
        baseline=outcome.baseline,
        scrubbed=outcome.scrubbed,
        precision=outcome.precision,
        draws=sample.draws,
        seed=sample.seed,
        settings=settings,
        vacuity=vacuity(job.scrubbed, sample),
        donors=donors,
    )
