"""Foresee how workers would share a run."""

from functools import partial
from math import ceil

from scrubbing.engine.cost import Cost, Shared
from scrubbing.experiments.cluster.shipping import packed
from scrubbing.experiments.cluster.starting import processors
from scrubbing.experiments.cluster.tiles import busiest, shares, tiles
from scrubbing.experiments.cluster.weighing import weighing
from scrubbing.experiments.engines import Engine
from scrubbing.experiments.preparation import Prepared

LOSS = 8  # bytes at most


def shared(engine: Engine, prepared: Prepared, cost: Cost) -> Shared:
    """What goes to the workers and comes back, and how evenly. Without `workers`, as on this machine alone."""
    workers = engine.workers or max(1, processors() // engine.threads)
    outputs = prepared.outputs
    if prepared.exact:
        pieces = groups = len(shares(len(prepared.jobs), workers))
        balance, repeated = pieces / (workers * ceil(pieces / workers)), 0.0
    else:
        evaluator = prepared.evaluator
        weigh = weighing(evaluator, evaluator.arranged(outputs.roots))
        ranges = [range(start, min(start + cost.chunk, cost.draws)) for start in range(0, cost.draws, cost.chunk)]
        cut = tiles(outputs.needed, ranges, workers, weigh)
        weights = {group: weigh(group) for group in {tile.roots for tile in cut}}
        pieces, groups = len(cut), len(weights)
        load = [weights[tile.roots] * len(tile.draws) for tile in cut]
        balance = sum(load) / (workers * busiest(load, workers))
        repeated = sum(weights.values()) / weigh(tuple(range(len(outputs.roots)))) - 1
    return Shared(
        workers=workers,
        pieces=pieces,
        groups=groups,
        sent_bytes=packed(partial(prepared.plan, prepared.options.elsewhere)).nbytes,
        returned_bytes=LOSS * cost.draws * len(outputs.roots),
        balance=balance,
        repeated=repeated,
    )
