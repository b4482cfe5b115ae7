"""Draw references until the intervals are narrow enough."""

import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scrubbing.engine.evaluate import Advance, Checkpoints, Evaluator
from scrubbing.engine.expressions import Expression
from scrubbing.engine.sampling.streams import Sample
from scrubbing.errors import DataError
from scrubbing.graph.data import at_least_one
from scrubbing.score import Stopping
from scrubbing.score.statistics import Design, Values, interval_of_ratio

FIRST_LOOK = 128  # references; an asymptotic sequence must not be looked at much earlier
GROWTH = 1.1, 2.0  # the least and the most by which the references grow from one look to the next
LEAST_CAP = 20_000

CheckpointsFor = Callable[[int], Checkpoints | None]  # for a number of draws


def no_checkpoints(draws: int) -> None:
    """Keep no chunks."""


Ratio = tuple[Values, Values, Design | None]  # what is kept, what there is to recover, and how references hang together


def most_references(references: Any, dataset_rows: int) -> int:
    """How many references may be drawn: what the user allows, or ten times the data (at least 20,000)."""
    if references is None:
        return max(LEAST_CAP, 10 * dataset_rows)
    if np.ndim(references):
        raise DataError("until= draws references itself; give references=, if at all, as the most that it may draw")
    return at_least_one("references", references)


def stopping_rule(until: float, most: int) -> Stopping:
    """When to stop.

    The sequence is tightest at the references that a spread of a sixth of the gap would need (three standard errors
    make a half-width there), though not near the first look. Needing a hundred times as many costs a sixth of the
    width; needing far fewer, more.
    """
    if not isinstance(until, Real) or not 0 < until < 1:
        raise DataError(f"until={until!r} is no half-width of a fraction; 0.01 draws until it is 1 percentage point")
    tightest_at = min(most, max(4 * FIRST_LOOK, math.ceil((3 / 6 / until) ** 2)))
    return Stopping(half_width=until, most=most, tightest_at=tightest_at, reached=False)


def losses_until(
    rule: Stopping,
    roots: Sequence[Expression],
    evaluator: Evaluator,
    ratios: Callable[[list[Tensor]], Iterable[Ratio]],
    advance: Advance,
    checkpoints_for: CheckpointsFor = no_checkpoints,
) -> tuple[list[Tensor], Sample, Stopping]:
    """The losses of each root on as many of the sample's references as it takes, those references, and how it stopped.

    `ratios` computes, from the losses so far, the numerators and denominators whose intervals must be narrow enough.
    References are taken in order, so the result is that of a run on the same number of references.
    """
    sample, losses, done = evaluator.sample, [torch.empty(0)] * len(roots), 0
    target = min(FIRST_LOOK, rule.most)
    while True:
        part = evaluator.on(sample.part(done, target))
        before = done * sample.draws
        more = part.losses(
            roots, lambda draws, before=before: advance(before + draws), checkpoints_for(len(part.sample))
        )
        losses = more if done == 0 else [torch.cat(pair) for pair in zip(losses, more, strict=True)]
        done = target
        widest = max((_half_width(*ratio, rule) for ratio in ratios(losses)), default=math.inf)
        if not widest > rule.half_width or done == rule.most:  # the caller refuses NaN
            return losses, sample.part(0, done), rule.model_copy(update={"reached": widest <= rule.half_width})
        needed = done * (widest / rule.half_width) ** 2 if math.isfinite(widest) else math.inf
        target = math.ceil(min(max(needed, done * GROWTH[0]), done * GROWTH[1], rule.most))


def _half_width(numerator: Values, denominator: Values, design: Design | None, rule: Stopping) -> float:
    looked = rule.design(design or Design.independent(len(numerator)))
    interval = interval_of_ratio(numerator, denominator, design=looked, signed=False)
    return math.inf if interval is None else (interval[1] - interval[0]) / 2
