"""Score hypotheses: what `scrub` does, from the user's arguments to the scores."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np

from scrubbing.engine.checks import check_networks
from scrubbing.engine.cost import Cost, cost
from scrubbing.engine.freedom import vacuity_of
from scrubbing.engine.memory import Memory
from scrubbing.engine.outcomes import Job, Outcome, Outputs, exact_outcomes, outcomes_until, sampled_outcomes
from scrubbing.engine.policy import Unclaimed
from scrubbing.engine.sampling.streams import Sample
from scrubbing.engine.sequential import no_checkpoints
from scrubbing.errors import DataError, ScrubbingWarning
from scrubbing.experiments.arguments import Baseline, Count, Rows
from scrubbing.experiments.preparation import Options, Prepared, Settings, prepare
from scrubbing.experiments.progress import showing_progress
from scrubbing.graph.data import Data
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Score, Stopping, make_score, recalled
from scrubbing.store import Store, as_store
from scrubbing.store.identity import Described, describe
from scrubbing.store.recording import Recording, recording


@dataclass(frozen=True)
class Case:
    """A hypothesis tied to the data, the baseline and the settings that it is to be scored with."""

    name: str
    hypothesis: Hypothesis
    data: Data = field(repr=False)
    baseline: Baseline
    settings: Mapping[str, Any] = field(default_factory=dict)

    def score(self, **settings: Any) -> Score:
        """`scrub` the case, with its own settings except for those given."""
        scores = scrub({self.name: self.hypothesis}, self.data, baseline=self.baseline, **{**self.settings, **settings})
        return scores[self.name]


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
    draws: Count = 1,
    others: str | Rows = "node",
    donors: Mapping[str, Any] | None = None,
    exclude_self: bool = False,
    unclaimed: Unclaimed = "resample",
    together: Sequence[Iterable[str]] = (),
    seed: Count = 0,
    exact: bool = False,
    until: float | None = None,
    memory: Memory | None = None,
    check: bool = True,
    progress: bool | Callable[[int, int], None] | None = None,
    cap: Count = 100_000,
    store: Store | Path | str | None = None,
) -> Score | list[Score] | dict[str, Score]:
    """Causal scrubbing: resample everything that a hypothesis calls unimportant, and report the loss that survives.

    Several hypotheses are scored together, on common references and random numbers, and share all work that they can;
    the answer has the shape of the question (one, list or dict).

    `data` maps columns to tensors or arrays of one length, or is a table of pandas or pyarrow. `baseline` is the
    explanation that recovers 0%: a `Graph` (applied to each hypothesis's own G) or a `Hypothesis`. `references` are all
    rows in order, that many rows drawn with replacement, or the rows given; each is scrubbed `draws` times. `others`
    says what stands in for unclaimed inputs: one donor per visited "node" (the paper), per "reference", per "input", or
    `others[i]` for the reference in row i.
    `donors` fixes the donor of a node of I for the reference in each row (`[rows]`, or `[rows, positions]`), or is a
    function that makes agreeing donors for classes that the data lack: of the columns of the datums to stand in for,
    and a `numpy.random.Generator`, it returns the columns that change.
    `exclude_self` keeps a datum from standing in for itself (with others="reference" the reference: that one donor may
    be the own datum of a node below). `unclaimed` says what stands in for an unclaimed node with
    a floating-point value: a donor's ("resample"), the mean over rows ("mean", or `mean(by=column)`), "zero", or what a
    function makes of the donor's. `together` lists groups of nodes of I, read by one parent, that share their donor.
    `exact` gives the expectation over all draws of donors in place of a sample of them, where that can be worked out.
    `until` draws references with replacement, up to `references` of them, until the half-width of every interval is
    that fraction; the intervals are then those of a confidence sequence, valid however often one looks.
    `check` compares G with the graph that it was rewritten from. `progress` is True, False, None (where a terminal
    shows it) or a function of (done, total). `cap` bounds the number of streams of donors. `memory` ("2GiB") bounds
    what values may take together, besides the data and the model. `store` is a file (or a `Store`) in which every
    score is recorded: an interrupted run goes on from its finished chunks, and one that is recorded already is answered
    from there, bit for bit (`score.recalled` says so).

    Raises `ScrubbingError` for whatever is wrong with the hypotheses or the data.
    """
    options = Options(
        references=references,
        draws=draws,
        others=others,
        donors=donors,
        exclude_self=exclude_self,
        unclaimed=unclaimed,
        together=together,
        seed=seed,
        exact=exact,
        until=until,
        memory=memory,
        cap=cap,
    )
    prepared = prepare(hypotheses, data, baseline, options)
    _warn_of_idle_claims(prepared)
    with recording(as_store(store), partial(_described, prepared)) as record:
        recorded = record.answer() if record else None
        if recorded is not None:
            scores = [
                recalled(score, name, _donors(job, prepared.sample, exact=exact))
                for score, name, job in zip(recorded, prepared.named, prepared.jobs, strict=True)
            ]
        else:
            scores = _computed(prepared, record, check=check, progress=progress)
            if record:
                record.keep(scores)
    if isinstance(hypotheses, Hypothesis):
        return scores[0]
    return dict(zip(prepared.named, scores, strict=True)) if isinstance(hypotheses, Mapping) else scores


def explain(
    hypotheses: Hypothesis | Sequence[Hypothesis] | Mapping[str, Hypothesis],
    data: Data,
    *,
    baseline: Baseline,
    **settings: Unpack[Settings],
) -> Cost:
    """What `scrub` with these arguments would take: streams, calls, rows of logits, operations, bytes.

    It is counted on a few draws. Raises what `scrub` would raise before its work.
    """
    prepared = prepare(hypotheses, data, baseline, Options(**settings))
    outputs = Outputs.of(prepared.jobs, prepared.planner, len(prepared.sample))
    return cost(prepared.evaluator, outputs.roots, len(prepared.jobs))


def _described(prepared: Prepared) -> Described:
    return describe(
        list(prepared.named.values()),
        [job.baseline for job in prepared.jobs],
        prepared.data,
        policy=prepared.planner.policy,
        sample=prepared.sample,
        settings={**prepared.settings, "memory": prepared.evaluator.interpreter.memory},
    )


def _computed(
    prepared: Prepared, record: Recording | None, *, check: bool, progress: bool | Callable[[int, int], None] | None
) -> list[Score]:
    if check:
        check_networks([job.hypothesis.G for job in prepared.jobs], prepared.planner, prepared.evaluator.interpreter)
    outcomes, sample, rule = _outcomes(prepared, record, progress)
    scores = [
        _score(name, job, outcome, sample, prepared.settings, rule)
        for name, job, outcome in zip(prepared.named, prepared.jobs, outcomes, strict=True)
    ]
    if rule and not rule.reached:
        warnings.warn(rule.not_reached, ScrubbingWarning, stacklevel=3)
    return scores


def _outcomes(
    prepared: Prepared, record: Recording | None, progress: bool | Callable[[int, int], None] | None
) -> tuple[list[Outcome], Sample, Stopping | None]:
    """What the jobs came to, on which references, and why it stopped there."""
    jobs, planner, evaluator, exact = prepared.jobs, prepared.planner, prepared.evaluator, prepared.exact
    total, unit = (len(jobs), "hypotheses") if exact else (len(prepared.sample), "references")
    with showing_progress(progress, total, unit=unit) as advance:
        if exact:
            return exact_outcomes(jobs, planner, evaluator, advance), prepared.sample, None
        outputs = Outputs.of(jobs, planner, total)
        checkpoints_for = partial(record.checkpoints, len(outputs.roots)) if record else no_checkpoints
        if prepared.rule:
            return outcomes_until(prepared.rule, outputs, evaluator, advance, checkpoints_for)
        return sampled_outcomes(outputs, evaluator, advance, checkpoints_for), prepared.sample, None


def _warn_of_idle_claims(prepared: Prepared) -> None:
    for key, job in zip(prepared.named, prepared.jobs, strict=True):
        for name in job.scrubbed.idle:
            warnings.warn(
                f"hypothesis {key!r}: the claim {name!r} changes nothing; without it, the same would be passed on",
                ScrubbingWarning,
                stacklevel=3,
            )


def _donors(job: Job, sample: Sample, *, exact: bool) -> dict[str, np.ndarray]:
    """The row that stood in at every node, where there is one."""
    return {} if exact else {path: sample.rows(stream) for path, stream in job.scrubbed.streams.items()}


def _score(
    name: Any, job: Job, outcome: Outcome, sample: Sample, settings: Mapping[str, Any], stopping: Stopping | None
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
        settings=dict(settings),
        vacuity=vacuity_of(job.scrubbed, sample),
        donors=_donors(job, sample, exact=settings["exact"]),
        stopping=stopping,
    )
