"""How much work some hypotheses of a run are, by operations that are counted on one draw."""

from scrubbing.engine.cost import operations
from scrubbing.engine.evaluate import Evaluator
from scrubbing.engine.outcomes import Outputs
from scrubbing.experiments.cluster.tiles import Group, Weigh
from scrubbing.experiments.preparation import Prepared

CALL = 1_000_000  # operations that take as long as a call by itself


def outputs_of(prepared: Prepared, jobs: Group) -> Outputs:
    """What is computed for some hypotheses by themselves."""
    return Outputs.of(prepared.jobs[jobs.start : jobs.stop], prepared.planner, len(prepared.sample))


def weighing(prepared: Prepared, evaluator: Evaluator) -> Weigh:
    """What weighs groups of hypotheses, for one draw. What all draws share is not counted."""

    def weigh(jobs: Group) -> float:
        work = evaluator.arranged(outputs_of(prepared, jobs).roots)
        first = work.order[:1]
        evaluator.interpreter.make_what_is_kept(work.roots, first)
        counted = operations(evaluator, work, int(first[0]))
        return sum(counted.values()) + CALL * len(counted)

    return weigh
