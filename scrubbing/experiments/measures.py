"""Interventions that are no hypotheses: what nodes compute is replaced, and all that follows is computed again."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Unpack

from scrubbing.engine.checks import check_networks
from scrubbing.engine.expressions import Expression
from scrubbing.engine.outcomes import Outcome, sampled_outcomes
from scrubbing.engine.plan import Scrubbed
from scrubbing.engine.sampling.streams import Fixed
from scrubbing.errors import HypothesisError
from scrubbing.errors.arguments import checked
from scrubbing.experiments.arguments import Baseline
from scrubbing.experiments.batches import Batch, batches, outcomes_side_by_side
from scrubbing.experiments.circuits import kept
from scrubbing.experiments.cluster import workers_of
from scrubbing.experiments.instead import Interventions, Plain, intervened, plain_run
from scrubbing.experiments.preparation import Options, Prepared, Settings, check_finite, prepare, scored
from scrubbing.experiments.progress import showing_progress
from scrubbing.experiments.surviving import those_that_run
from scrubbing.graph import Graph, reads
from scrubbing.graph.data import Columns, Data, as_columns
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Score
from scrubbing.score.vacuity import Vacuity

IMPOSSIBLE = ("exact", "until", "donors", "together", "store", "draws")  # settings that interventions have no use for


@checked
def measure(
    G: Graph,
    interventions: Mapping[str, Interventions],
    data: Data,
    *,
    baseline: Baseline | None = None,
    **settings: Unpack[Settings],
) -> dict[str, Score]:
    """What is left of the network's performance when nodes are given other values: `{name: {node: instead}}`.

    What follows a replaced node is computed again, but for nodes that are replaced themselves. `instead` is

    - `donor(rows)`: the node's value in another row, `rows[i]` for row i
    - `mean(by=column, over=column)` or "mean": its mean over the rows of the data with the same value of a column, or
      over all; of those rows that a column marks
    - "zero": zeros
    - "clean": its own value in the plain run, whatever happens upstream of it: frozen
    - `add(node, alpha)`: its value, and `alpha` times another node's
    - a function of its value, whose further parameters name nodes and columns: `lambda value, a0_h1: value - a0_h1`
    - `at(positions, instead)`: any of these at some positions, and its own value elsewhere (`at(..., elsewhere=True)`:
      the other way round)

    Other nodes' values are those of the plain run, and so is what a donor, a mean or "clean" gives; its own value is
    that of the run with everything upstream replaced. In a transformer, output biases belong to the readers of the
    stream: replacing what a head or an MLP writes leaves them as they are.

    `baseline` recovers 0%; by default what is left if the output knows its own columns alone (labels, weights). Of the
    settings of `scrub`, `others`, `unclaimed` and `exclude_self` are the baseline's; `references`, `seed`, `memory`,
    `check`, `progress`, `engine` and `keep_going` mean what they mean there.

    >>> from scrubbing import Graph, donor, measure
    >>> G = Graph(a=lambda x: 2 * x, b=lambda a: a + 1, loss=lambda a, b, y: (a + b - y) ** 2)
    >>> data = {"x": [0.0, 1.0, 2.0], "y": [1.0, 5.0, 9.0]}
    >>> scores = measure(G, {"zero": {"a": "zero"}, "frozen": {"a": "zero", "b": "clean"}}, data)
    >>> {name: score.losses["scrubbed"].tolist() for name, score in scores.items()}
    {'zero': [0.0, 16.0, 64.0], 'frozen': [0.0, 4.0, 16.0]}

    Raises `HypothesisError` for settings that make no sense here, `GraphError` for an unknown node and for what is no
    intervention, `DataError` for rows and columns that do not fit and for values that are no numbers.

    Source: Wang et al. 2022, Interpretability in the Wild (mean ablation by template); Meng et al. 2022, Locating and
    Editing Factual Associations (activation patching).
    """
    refuse_settings(settings, "measure")
    options = Options.of(settings)
    run = partial(_measured, G, columns=as_columns(data), baseline=baseline, options=replace(options, keep_going=False))
    return those_that_run(run, interventions) if options.keep_going else run(interventions)


def _measured(
    G: Graph,
    interventions: Mapping[str, Interventions],
    columns: Columns,
    baseline: Baseline | None,
    options: Options,
) -> dict[str, Score]:
    everything = _nothing_replaced(G, columns, baseline, options)
    plain = plain_run(G, everything)
    together = [] if everything.engine else batches(G, interventions, everything, plain)
    alone = {name: of for name, of in interventions.items() if not any(name in members for members in together)}
    made = [Batch.of(members, G, everything, plain) for members in together]
    prepared = _planned(G, alone, columns, baseline, options, (everything, plain))
    if options.check:
        check_networks([G], prepared.planner, prepared.evaluator.interpreter)
    evaluator = replace(prepared.evaluator, workers=workers_of(prepared))
    rows = len(prepared.sample)
    passes = 1 + sum({len(members) for members in together})  # batches of one size are computed together
    with showing_progress(options.progress, rows * passes, unit="rows") as advance:
        first, *outcomes = sampled_outcomes(prepared.outputs, evaluator, advance)
        found = {
            name: (job.scrubbed, outcome) for name, job, outcome in zip(alone, prepared.jobs[1:], outcomes, strict=True)
        }
        found |= outcomes_side_by_side(made, first, prepared.jobs[0], prepared, lambda done: advance(rows + done))
    original = prepared.jobs[0].original
    return {name: _score(name, *found[name], original, prepared) for name in interventions}


def _nothing_replaced(G: Graph, columns: Columns, baseline: Baseline | None, options: Options) -> Prepared:
    """The run in which nothing is replaced."""
    known = [i for i in G[G.output].inputs if i not in G]
    everything = Hypothesis(G, Graph(kept(G, G.output)))
    return prepare(everything, columns, baseline or Graph({G.output: reads(*known)}), options)


def _planned(
    G: Graph,
    interventions: Mapping[str, Interventions],
    columns: Columns,
    baseline: Baseline | None,
    options: Options,
    made: tuple[Prepared, Plain] | None = None,
) -> Prepared:
    """The run with one job for each intervention behind that of the plain run, which may be `made` already."""
    if made is None:
        prepared = _nothing_replaced(G, columns, baseline, options)
        made = prepared, plain_run(G, prepared)
    prepared, plain = made
    (job,) = prepared.jobs
    jobs = [
        replace(job, scrubbed=intervened(repr(name), G, nodes, prepared, plain))
        for name, nodes in interventions.items()
    ]
    return replace(prepared, jobs=[job, *jobs], plan=partial(_planned, G, interventions, columns, baseline))


def refuse_settings(settings: Mapping[str, object], of: str) -> None:
    """Raise `HypothesisError` for settings of `scrub` that interventions have no use for."""
    for name in settings:
        if name in IMPOSSIBLE:
            raise HypothesisError(f"{name}= is no setting of {of}: interventions draw no donors")


def _score(name: str, run: Scrubbed, outcome: Outcome, original: Expression, prepared: Prepared) -> Score:
    sample = prepared.sample
    check_finite(f"under {name!r} the loss", outcome.scrubbed.loss, sample)
    # As of an unclaimed input: any row could have stood in, or none where nothing was replaced.
    bits = 0.0 if run.output is original else math.log2(sample.dataset_rows)
    fixed = {n: s for n, s in run.streams.items() if isinstance(s, Fixed)}
    donors = {node: sample.rows(stream) for node, stream in fixed.items()}
    return scored(name, outcome, sample, prepared, vacuity=Vacuity(nodes=(), bits=bits), donors=donors)
