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
from scrubbing.experiments.remarks import notes_of, warn_of_idle_claims, warn_of_singletons
from scrubbing.graph.data import Data
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Score, Stopping, make_score, recalled
from scrubbing.store import Store, as_store
from scrubbing.store.identity import Described, describe
from scrubbing.store.recording import Recording, recording


@dataclass(frozen=True)
class Case:
    """A hypothesis with the data, baseline and settings to score it with: one experiment of a `Suite`.

    `settings` are options of `scrub`, by name.

    >>> from scrubbing import Case, Graph, Hypothesis, reads
    >>> G = Graph(a=lambda x: 2 * x, loss=lambda a, y: (a - y) ** 2)
    >>> h = Hypothesis(G, Graph(a=reads("x"), loss=reads("a", "y")))
    >>> data = {"x": [0, 1, 2, 3], "y": [0, 2, 4, 6]}
    >>> Case("a", h, data, baseline=Graph(loss=reads("y")), settings={"exact": True}).score().recovered
    1.0
    """

    name: str
    hypothesis: Hypothesis
    data: Data = field(repr=False)
    baseline: Baseline
    settings: Mapping[str, Any] = field(default_factory=dict)

    def score(self, **settings: Any) -> Score:
        """Score it with `scrub`; `settings` take the place of its own. Raises what `scrub` raises."""
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
    """Causal scrubbing: swap all that a hypothesis calls interchangeable, and report how much of the loss survives.

    Give one hypothesis, a list, or a dict by name, and get a `Score`, a list or a dict. Hypotheses that are scored
    together have the same references and random numbers, and share their work.

    >>> from scrubbing import Graph, Hypothesis, reads, scrub
    >>> G = Graph(a=lambda x1: 2 * x1, b=lambda x2: 3 * x2, loss=lambda a, b, y: (a + b - y) ** 2)
    >>> data = {"x1": [0, 1, 0, 1], "x2": [0, 0, 1, 1], "y": [0, 2, 3, 5]}
    >>> only_b = Hypothesis(G, Graph(b=reads("x2"), loss=reads("b", "y")))
    >>> score = scrub(only_b, data, baseline=Graph(loss=reads("y")), exact=True)
    >>> f"{score.recovered:.3f}, loss {score.scrubbed}, original {score.original}, baseline {score.baseline}"
    '0.692, loss 2.0, original 0.0, baseline 6.5'

    What is scored:

    - `data`: a dict of tensors or arrays with one entry per row, `[row, ...]`, or a table of pandas or pyarrow
    - `baseline`: the explanation that recovers 0%: a `Graph` (for each hypothesis's own G) or a `Hypothesis`

    On which references:

    - `references`: by default every row once; a number draws that many with replacement; or give row numbers
    - `draws`: how often each reference is scrubbed
    - `until`: draw references until every interval has this half-width (0.02 is two percentage points), at most
      `references` of them; the intervals stay valid however often one looks
    - `seed`: the same seed gives the same references and donors

    With which donors:

    - `others`: who stands in for unclaimed inputs: one donor per visited "node" (the paper), per "reference", or per
      "input"; or row numbers `[row]`, of which entry i is the donor of the reference in row i
    - `donors`: by node of I, row numbers `[row]` or `[row, position]`, entry i for the reference in row i; or a
      function that makes new donors: it gets the columns of the data to stand in for and a `numpy.random.Generator`,
      and returns the columns that it changes
    - `exclude_self`: a datum does not stand in for itself (with others="reference", the reference does not)
    - `unclaimed`: what replaces an unclaimed floating-point value: a donor's ("resample"), its mean over the data
      ("mean", or by group with `mean(by=column)`), "zero", or a function of the donor's value
    - `together`: groups of I's nodes that share one donor; all nodes of a group are read by one node
    - `exact`: the expectation over all donors, where it can be computed, in place of a sample

    How it runs:

    - `memory`: the most that values may take, besides the data and the model; "2GiB" by default
    - `check`: run the network twice, and compare it with the graph that it was rewritten from, on a few references
    - `progress`: True, False, None (only on a terminal), or a function of (done, total)
    - `cap`: the most streams of donors that a hypothesis may need
    - `store`: a file, or a `Store`, that keeps every score. An interrupted run continues from its finished chunks. A
      run that is in the store is not computed again: `score.recalled` says when it was made

    Raises `HypothesisError` for wrong hypotheses and options, `DataError` for data and values that cannot be used,
    `GraphError` for networks that are random or rewritten wrongly, `NodeError` where a function of a node raises, and
    `StoreError` for the store. All of them are `ScrubbingError`. Warns `ScrubbingWarning` of claims without effect.

    Source: Chan et al. 2022, Causal Scrubbing; for `until`, the confidence sequences of Waudby-Smith et al. 2024.
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
    jobs = dict(zip(prepared.named, prepared.jobs, strict=True))
    warn_of_idle_claims(jobs)
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
    named = dict(zip(prepared.named, scores, strict=True))
    warn_of_singletons(jobs, named)
    if isinstance(hypotheses, Hypothesis):
        return scores[0]
    return named if isinstance(hypotheses, Mapping) else scores


def explain(
    hypotheses: Hypothesis | Sequence[Hypothesis] | Mapping[str, Hypothesis],
    data: Data,
    *,
    baseline: Baseline,
    **settings: Unpack[Settings],
) -> Cost:
    """Count what `scrub` would take with the same arguments, without running it: calls, operations, bytes.

    The count is made on a few draws, and scaled to all of them. `print` the result, or read its fields.

    >>> from scrubbing import Graph, Hypothesis, explain, reads
    >>> G = Graph(a=lambda x: 2 * x, loss=lambda a, y: (a - y) ** 2)
    >>> h = Hypothesis(G, Graph(a=lambda x: x % 2, loss=reads("a", "y")))
    >>> found = explain(h, {"x": [0, 1, 2, 3], "y": [0, 2, 4, 6]}, baseline=Graph(loss=reads("y")))
    >>> found.hypotheses, found.draws
    (1, 4)

    Raises what `scrub` raises before it computes losses: `HypothesisError`, `DataError`, `NodeError`.
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
    """The losses of each job, the references that they were measured on, and why no more were drawn."""
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


def _donors(job: Job, sample: Sample, *, exact: bool) -> dict[str, np.ndarray]:
    """The rows of the donors of every node, by path; none in exact mode."""
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
        vacuity=vacuity_of(job.scrubbed, sample, exact=settings["exact"]),
        donors=_donors(job, sample, exact=settings["exact"]),
        stopping=stopping,
        notes=notes_of(job.scrubbed, sample),
    )
