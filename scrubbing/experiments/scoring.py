"""Score hypotheses: what `scrub` does, from the user's arguments to the scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np

from scrubbing.engine.checks import check_networks
from scrubbing.engine.cost import Cost, cost
from scrubbing.engine.freedom import vacuity_of
from scrubbing.engine.memory import Memory
from scrubbing.engine.outcomes import Job, Outcome, exact_outcomes, outcomes_until, sampled_outcomes
from scrubbing.engine.participation import participation
from scrubbing.engine.plan import Scrubbed
from scrubbing.engine.policy import Unclaimed
from scrubbing.engine.sampling.streams import Sample
from scrubbing.engine.sequential import no_checkpoints
from scrubbing.errors import warn
from scrubbing.errors.arguments import check_fields, checked
from scrubbing.experiments.arguments import Baseline, Count, Donors, Hypotheses, Rows, Together
from scrubbing.experiments.cluster import shared_by_workers, workers_of
from scrubbing.experiments.engines import ChosenEngine
from scrubbing.experiments.preparation import Options, Prepared, Settings, check_finite, prepare, scored
from scrubbing.experiments.progress import ShowProgress, showing_progress
from scrubbing.experiments.remarks import notes_of, warn_of_idle_claims, warn_of_neighbours, warn_of_singletons
from scrubbing.experiments.surviving import those_that_run
from scrubbing.graph.data import Data
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Estimand, Estimate, Participation, Score, Stopping, recalled
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

    def __post_init__(self) -> None:
        check_fields(self)

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
@checked
def scrub(
    hypotheses: Hypotheses,
    data: Data,
    *,
    baseline: Baseline,
    references: Rows | None = None,
    draws: Count = 1,
    others: str | Rows = "node",
    donors: Donors | None = None,
    exclude_self: bool = False,
    unclaimed: Unclaimed = "resample",
    together: Together = (),
    seed: Count = 0,
    exact: bool = False,
    until: float | None = None,
    memory: Memory | None = None,
    check: bool = True,
    progress: ShowProgress = None,
    cap: Count = 100_000,
    store: Store | Path | str | None = None,
    groups: Any = None,
    estimand: Estimand | None = None,
    engine: ChosenEngine = None,
    keep_going: bool = False,
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
    - `groups`: a column, or a value for each row, of which rows belong together: a document, file, template or prompt
      family. Each group is then one observation
    - `estimand`: what is estimated, the mean over the "source" of the data, of which they are a sample, or over the
      "dataset". By default the source; the dataset where references are drawn from it

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
    - `engine`: who computes: this process, or the workers of a cluster ("ray", or an `Engine`)
    - `keep_going`: hypotheses, given by name, that cannot be scored are left out, each with a warning that says why

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
        groups=groups,
        estimand=estimand,
        engine=engine,
        check=check,
        progress=progress,
        store=store,
    )
    run = partial(_scrubbed, data=data, baseline=baseline, options=options)
    return those_that_run(run, hypotheses) if keep_going else run(hypotheses)


@checked
def explain(
    hypotheses: Hypotheses,
    data: Data,
    *,
    baseline: Baseline,
    **settings: Unpack[Settings],
) -> Cost:
    """Count what `scrub` would take with the same arguments, without running it: calls, operations, bytes.

    The count is made on a few draws, and scaled to all of them. `print` the result, or read its fields. With `engine=`
    it says how the workers would share the run; none is started.

    >>> from scrubbing import Graph, Hypothesis, explain, reads
    >>> G = Graph(a=lambda x: 2 * x, loss=lambda a, y: (a - y) ** 2)
    >>> h = Hypothesis(G, Graph(a=lambda x: x % 2, loss=reads("a", "y")))
    >>> found = explain(h, {"x": [0, 1, 2, 3], "y": [0, 2, 4, 6]}, baseline=Graph(loss=reads("y")))
    >>> found.hypotheses, found.draws
    (1, 4)

    Raises what `scrub` raises before it computes losses: `HypothesisError`, `DataError`, `NodeError`.
    """
    prepared = prepare(hypotheses, data, baseline, Options.of(settings))
    found = cost(prepared.evaluator, prepared.outputs.roots, len(prepared.jobs))
    return found.model_copy(update={"shared": shared_by_workers(prepared, found)}) if prepared.engine else found


def _scrubbed(
    hypotheses: Hypotheses, data: Data, baseline: Baseline, options: Options
) -> Score | list[Score] | dict[str, Score]:
    prepared = prepare(hypotheses, data, baseline, options)
    jobs = dict(zip(prepared.named, prepared.jobs, strict=True))
    warn_of_idle_claims(jobs)
    with recording(as_store(options.store), partial(described, prepared)) as record:
        recorded = record.answer() if record else None
        if recorded is not None:
            scores = [
                recalled(score, name, _donors(job, prepared.sample, exact=prepared.exact))
                for score, name, job in zip(recorded, prepared.named, prepared.jobs, strict=True)
            ]
        else:
            scores = _computed(prepared, record)
            if record:
                record.keep(scores)
    named = dict(zip(prepared.named, scores, strict=True))
    warn_of_singletons(jobs, named)
    warn_of_neighbours(named, prepared.data)
    if isinstance(hypotheses, Hypothesis):
        return scores[0]
    return named if isinstance(hypotheses, Mapping) else scores


def described(prepared: Prepared) -> Described:
    """What the run's result depends on."""
    return describe(
        list(prepared.named.values()),
        [job.baseline for job in prepared.jobs],
        prepared.data,
        policy=prepared.planner.policy,
        sample=prepared.sample,
        settings={**prepared.settings, "memory": prepared.evaluator.interpreter.memory},
        threads=f"{prepared.engine.threads} of each worker" if prepared.engine else None,
    )


def _computed(prepared: Prepared, record: Recording | None) -> list[Score]:
    if prepared.options.check:
        check_networks([job.hypothesis.G for job in prepared.jobs], prepared.planner, prepared.evaluator.interpreter)
    outcomes, sample, rule = _outcomes(prepared, record)
    scores = [
        _score(name, job, outcome, sample, prepared, rule)
        for name, job, outcome in zip(prepared.named, prepared.jobs, outcomes, strict=True)
    ]
    if rule and not rule.reached:
        warn(rule.not_reached)
    return scores


def _outcomes(prepared: Prepared, record: Recording | None) -> tuple[list[Outcome], Sample, Stopping | None]:
    """The losses of each job, the references that they were measured on, and why no more were drawn."""
    jobs, planner, evaluator, exact = prepared.jobs, prepared.planner, prepared.evaluator, prepared.exact
    total, unit = (len(jobs), "hypotheses") if exact else (len(prepared.sample), "references")
    outputs, workers = prepared.outputs, workers_of(prepared)
    with showing_progress(prepared.options.progress, total, unit=unit) as advance:
        if exact and workers:
            return workers.outcomes(advance), prepared.sample, None
        if exact:
            source = prepared.population.estimand == "source"
            return exact_outcomes(jobs, planner, evaluator, advance, source=source), prepared.sample, None
        evaluator = replace(evaluator, workers=workers)
        checkpoints_for = partial(record.checkpoints, len(outputs.roots)) if record else no_checkpoints
        if prepared.rule:
            return outcomes_until(prepared.rule, outputs, evaluator, advance, checkpoints_for, prepared.population)
        return sampled_outcomes(outputs, evaluator, advance, checkpoints_for), prepared.sample, None


def _donors(job: Job, sample: Sample, *, exact: bool) -> dict[str, np.ndarray]:
    """The rows of the donors of every node, by path; none in exact mode."""
    return {} if exact else {path: sample.rows(stream) for path, stream in job.scrubbed.streams.items()}


def _score(
    name: Any, job: Job, outcome: Outcome, sample: Sample, prepared: Prepared, stopping: Stopping | None
) -> Score:
    for kind, losses in (("own", outcome.original), ("scrubbed", outcome.scrubbed.loss)):
        check_finite(f"the network's {kind} loss", losses, sample)
    exact = prepared.exact

    def donated(planned: Scrubbed, estimate: Estimate) -> Participation | None:
        if estimate.draws is None:
            return Participation(exact=True) if exact else None
        drawn = replace(sample, draws=estimate.draws.shape[1]) if exact else sample
        source, units = prepared.population.estimand == "source", prepared.population.design(sample.references).units
        return participation(planned, drawn, estimate.draws, exact=exact, donors=source, units=units)

    return scored(
        name if isinstance(name, str) else None,
        outcome,
        sample,
        prepared,
        vacuity=vacuity_of(job.scrubbed, sample, exact=exact),
        donors=_donors(job, sample, exact=exact),
        stopping=stopping,
        notes=notes_of(job.scrubbed, sample),
        donated=donated(job.scrubbed, outcome.scrubbed),
        donated_baseline=donated(job.unexplained, outcome.baseline),
    )
