"""How much work some losses of a run are, by operations that are counted on one draw."""

from scrubbing.engine.cost import operations
from scrubbing.engine.evaluate import Evaluator
from scrubbing.engine.expressions import evaluation_order
from scrubbing.engine.row_sharing import Arranged
from scrubbing.experiments.cluster.tiles import Group, Weigh

CALL = 1_000_000  # operations that take as long as a call by itself


def weighing(evaluator: Evaluator, work: Arranged) -> Weigh:
    """What weighs groups of roots: what they share counts once in each group."""
    counted = operations(evaluator, work, int(work.order[0]))

    def weigh(group: Group) -> float:
        return sum(CALL + counted.get(step, 0) for step in evaluation_order([work.roots[root] for root in group]))

    return weigh
