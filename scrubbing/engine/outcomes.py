"""The losses of each hypothesis: by sampled donors, by as many as an interval needs, or exactly."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scrubbing.engine.evaluate import Advance, Evaluator
from scrubbing.engine.exact import exact_losses, exact_two_level_variance
from scrubbing.engine.expressions import Expression
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.participation import participation
from scrubbing.engine.plan import Scrubbed, scrubbed
from scrubbing.engine.planning import Planner
from scrubbing.engine.sampling.streams import References, Sample
from scrubbing.engine.sequential import CheckpointsFor, Ratio, losses_until, no_checkpoints
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Estimate, Population, Stopping, by_draw, sampled_estimate
from scrubbing.score.statistics import Column

Readings = Mapping[str, Expression]  # by name; "loss" is one of them
PerReference = Float[np.ndarray, " reference"]

EXACT_DRAWS = 8  # of each reference in exact mode, to see what donors have to do with its loss


@dataclass(frozen=True)
class Job:
    """One hypothesis and its baseline, with their expressions."""

    hypothesis: Hypothesis
    baseline: Hypothesis
    original: Expression
    unexplained: Scrubbed
    scrubbed: Scrubbed

    @classmethod
    def of(cls, planner: Planner, hypothesis: Hypothesis, baseline: Hypothesis) -> "Job":
        """Plan a hypothesis and its baseline."""
        original = planner.plain(hypothesis.G.origin, References())
        return cls(hypothesis, baseline, original, scrubbed(planner, baseline), scrubbed(planner, hypothesis))

    @property
    def roots(self) -> tuple[Expression, Expression, Expression]:
        """The losses of the network, of the baseline and of the hypothesis."""
        return self.original, self.unexplained.output, self.scrubbed.output


@dataclass(frozen=True)
class Outcome:
    """The result of a job: the losses of its references, by the network, by the baseline and scrubbed.

    `precision` is the machine epsilon of the numbers that they were computed with.
    """

    original: PerReference
    baseline: Estimate
    scrubbed: Estimate
    precision: float


@dataclass(frozen=True)
class Outputs:
    """What to compute for some jobs: their losses, and their other readings if they have any."""

    jobs: Sequence[Job]
    compared: Mapping[Expression, Mapping[Expression, Readings]]  # by the network's loss

    @classmethod
    def of(cls, jobs: Sequence[Job], planner: Planner, rows: int) -> "Outputs":
        """The outputs of jobs, which will be computed for `rows` rows."""
        together: dict[Expression, dict[Expression, None]] = {}
        for job in jobs:
            together.setdefault(job.original, {}).update(dict.fromkeys(job.roots))
        compare = planner.expressions.compared
        return cls(jobs, {network: compare(network, list(roots), rows) for network, roots in together.items()})

    @cached_property
    def needed(self) -> list[list[Expression]]:
        """The expressions that each job needs."""
        return [[e for root in job.roots for e in self._readings(job, root).values()] for job in self.jobs]

    @cached_property
    def roots(self) -> list[Expression]:
        """Every expression that is needed, once."""
        return list(dict.fromkeys(expression for needed in self.needed for expression in needed))

    def outcomes(self, values: Sequence[Tensor], draws: int) -> Iterator[Outcome]:
        """The outcome of each job, from the values of the roots."""
        found = {root: by_draw(value, draws) for root, value in zip(self.roots, values, strict=True)}
        dtypes = {root: value.dtype for root, value in zip(self.roots, values, strict=True)}
        for job in self.jobs:
            read = [self._readings(job, root) for root in job.roots]
            network, baseline, scrubbed = ({name: found[of] for name, of in readings.items()} for readings in read)
            original = network["loss"][:, 0]
            precision = torch.finfo(dtypes[read[0]["loss"]]).eps
            yield Outcome(original, estimate(baseline, original), estimate(scrubbed, original), precision)

    def _readings(self, job: Job, root: Expression) -> Readings:
        return self.compared[job.original].get(root, {"loss": root})


def estimate(readings: Mapping[str, Float[np.ndarray, "reference draw"]], original: PerReference) -> Estimate:
    """The estimate of a sample from the loss and other readings."""
    compared = {name: values for name, values in readings.items() if name != "loss"}
    return sampled_estimate(readings["loss"], original, compared)


def sampled_outcomes(
    outputs: Outputs, evaluator: Evaluator, advance: Advance, checkpoints_for: CheckpointsFor = no_checkpoints
) -> list[Outcome]:
    """Losses by sampled donors, of all jobs in one pass over the references."""
    values = evaluator.losses(outputs.roots, advance, checkpoints_for(len(evaluator.sample)))
    return list(outputs.outcomes(values, evaluator.sample.draws))


def outcomes_until(
    rule: Stopping,
    outputs: Outputs,
    evaluator: Evaluator,
    advance: Advance,
    checkpoints_for: CheckpointsFor = no_checkpoints,
    population: Population | None = None,
) -> tuple[list[Outcome], Sample, Stopping]:
    """Losses by sampled donors, of all jobs, on references drawn until their intervals are narrow enough."""
    draws = evaluator.sample.draws
    of_source = population is not None and population.estimand == "source"

    def ratios(values: list[Tensor]) -> Iterator[Ratio]:
        sample = evaluator.sample.part(0, len(values[0]) // draws)
        design = population.design(sample.references) if population else None
        for job, outcome in zip(outputs.jobs, outputs.outcomes(values, draws), strict=True):
            baseline, scrubbed = Column(outcome.baseline.loss), Column(outcome.scrubbed.loss)
            if of_source:
                baseline, scrubbed = (
                    participation(planned, sample, estimate.draws, units=design.units if design else None).column(
                        estimate.loss
                    )
                    for planned, estimate in ((job.unexplained, outcome.baseline), (job.scrubbed, outcome.scrubbed))
                    if estimate.draws is not None
                )
            yield baseline - scrubbed, baseline - Column(outcome.original), design

    values, sample, stopped = losses_until(rule, outputs.roots, evaluator, ratios, advance, checkpoints_for)
    return list(outputs.outcomes(values, draws)), sample, stopped


def exact_outcomes(
    jobs: Sequence[Job], planner: Planner, evaluator: Evaluator, advance: Advance, *, source: bool = False
) -> list[Outcome]:
    """Expected losses over all draws of donors; equal hypotheses are computed once.

    With `source`, a few draws are made as well: they show how much the losses share by their donors.
    """
    columns, sample = evaluator.interpreter.columns, evaluator.sample
    one_draw = Evaluator(Interpreter(columns, replace(sample, draws=1)))
    known: dict[Expression, Estimate] = {}

    def exactly(h: Hypothesis, planned: Scrubbed, original: PerReference) -> Estimate:
        if planned.output not in known:
            found = exact_losses(h, columns, sample.references, planner.policy)
            change = found.mean_absolute_change(original)
            known[planned.output] = Estimate(found.mean, change, *exact_two_level_variance(found))
        return known[planned.output]

    networks = list(dict.fromkeys(job.original for job in jobs))
    losses = dict(zip(networks, one_draw.losses(networks), strict=True))
    outcomes: list[Outcome] = []
    drawn = _a_few_draws(jobs, evaluator) if source else {}
    for job in jobs:
        loss = losses[job.original]
        original = loss.double().numpy()
        baseline = exactly(job.baseline, job.unexplained, original)
        scrubbed = exactly(job.hypothesis, job.scrubbed, original)
        baseline = replace(baseline, draws=drawn.get(job.unexplained.output))
        scrubbed = replace(scrubbed, draws=drawn.get(job.scrubbed.output))
        outcomes.append(Outcome(original, baseline, scrubbed, torch.finfo(loss.dtype).eps))
        advance(len(outcomes))
    return outcomes


def _a_few_draws(jobs: Sequence[Job], evaluator: Evaluator) -> dict[Expression, Float[np.ndarray, "reference draw"]]:
    """The losses of some draws of each reference, by the expression of the loss."""
    roots = list(dict.fromkeys(root for job in jobs for root in job.roots[1:]))
    few = replace(evaluator.interpreter, sample=replace(evaluator.sample, draws=EXACT_DRAWS))
    values = Evaluator(few, evaluator.narrowed, evaluator.together).losses(roots)
    return {root: by_draw(value, EXACT_DRAWS) for root, value in zip(roots, values, strict=True)}
