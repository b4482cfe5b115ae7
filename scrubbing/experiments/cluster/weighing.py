"""How much work some hypotheses of a run are."""

from functools import cache

from scrubbing.engine.expressions import evaluation_order
from scrubbing.engine.outcomes import Outputs
from scrubbing.experiments.cluster.tiles import Group, Weigh
from scrubbing.experiments.preparation import Prepared


def outputs_of(prepared: Prepared, jobs: Group) -> Outputs:
    """What is computed for some hypotheses by themselves."""
    return Outputs.of(prepared.jobs[jobs.start : jobs.stop], prepared.planner, len(prepared.sample))


def weighing(prepared: Prepared) -> Weigh:
    """What weighs groups of hypotheses: the distinct values that are computed for them.

    Their operations would say more, and counting them takes as long as some draws of a run that has few.
    """
    return cache(lambda jobs: float(len(evaluation_order(outputs_of(prepared, jobs).roots))))
