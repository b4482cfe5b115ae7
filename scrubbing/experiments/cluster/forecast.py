"""Foresee how workers would share a run."""

from functools import partial
from math import ceil

from scrubbing.engine.cost import Cost, Shared
from scrubbing.experiments.cluster.shipping import packed
from scrubbing.experiments.cluster.starting import processors
from scrubbing.experiments.cluster.tiles import ENOUGH, busiest, groups, tiles
from scrubbing.experiments.cluster.weighing import weighing
from scrubbing.experiments.engines import Engine
from scrubbing.experiments.preparation import Prepared

LOSS = 8  # bytes at most


def shared(engine: Engine, prepared: Prepared, cost: Cost) -> Shared:
    """What goes to the workers and comes back, and how evenly. Without `workers`, as on this machine alone."""
    workers = engine.workers or max(1, processors() // engine.threads)
    pieces, in_groups, balance, repeated = (_exact if prepared.exact else _sampled)(prepared, cost, workers)
    return Shared(
        workers=workers,
        pieces=pieces,
        groups=in_groups,
        sent_bytes=packed(partial(prepared.plan, prepared.options.elsewhere)).nbytes,
        returned_bytes=LOSS * cost.draws * len(prepared.outputs.roots),
        balance=balance,
        repeated=repeated,
    )


def _exact(prepared: Prepared, cost: Cost, workers: int) -> tuple[int, int, float, float]:
    """Pieces, groups, balance, and what is done again: each group is a piece, all taken to be equal."""
    pieces = len(groups(len(prepared.jobs), ENOUGH * workers))
    return pieces, pieces, pieces / (workers * ceil(pieces / workers)), 0.0


def _sampled(prepared: Prepared, cost: Cost, workers: int) -> tuple[int, int, float, float]:
    weigh = weighing(prepared)
    ranges = [range(start, min(start + cost.chunk, cost.draws)) for start in range(0, cost.draws, cost.chunk)]
    cut = tiles(len(prepared.jobs), ranges, workers, weigh)
    in_groups = {tile.jobs: weigh(tile.jobs) for tile in cut}
    load = [in_groups[tile.jobs] * len(tile.draws) for tile in cut]
    repeated = sum(in_groups.values()) / weigh(range(len(prepared.jobs))) - 1
    return len(cut), len(in_groups), sum(load) / (workers * busiest(load, workers)), repeated
