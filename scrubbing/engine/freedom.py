"""How freely the donors of a planned hypothesis can differ from what they stand in for: the numbers of its vacuity."""

import math

import numpy as np
from jaxtyping import Float, Int

from scrubbing.engine.plan import Scrubbed, Visit
from scrubbing.engine.sampling.streams import Fixed, Given, References, Sample
from scrubbing.score.vacuity import NodeVacuity, Vacuity


def vacuity_of(scrubbed: Scrubbed, sample: Sample) -> Vacuity:
    """What a planned hypothesis tests on a sample."""
    nodes = tuple(_node(visit, sample) for visit in scrubbed.visits)
    unclaimed = math.log2(sample.dataset_rows) if scrubbed.leaves_open and not _is_own(scrubbed, sample) else 0.0
    return Vacuity(nodes=nodes, bits=sum(node.bits for node in nodes) + unclaimed)


def _is_own(scrubbed: Scrubbed, sample: Sample) -> bool:
    """Whether the donors of what is unclaimed were given, and each is the reference itself."""
    other = scrubbed.streams.get("other")
    return isinstance(other, Fixed) and bool((sample.rows(other) == sample.rows(References())).all())


def _node(visit: Visit, sample: Sample) -> NodeVacuity:
    sizes = visit.classes.sizes_of(sample.rows(visit.parent))
    return NodeVacuity(
        path=visit.path,
        classes=visit.classes.count,
        singletons=float((sizes == 1).mean()),
        swapped=float(_swap_rate(visit, sizes, sample).mean()),
        bits=float(np.log2(np.maximum(sizes, 1)).reshape(len(sizes), -1).sum(axis=1).mean()),
    )


def _swap_rate(visit: Visit, sizes: Int[np.ndarray, "..."], sample: Sample) -> Float[np.ndarray, "..."]:
    if visit.donor == visit.parent:
        return np.zeros(sizes.shape)
    if isinstance(visit.donor, Fixed | Given):
        own, donor = (np.atleast_2d(sample.rows(stream).T) for stream in (visit.parent, visit.donor))
        return (own != donor).astype(float)
    return (sizes > 1).astype(float) if sample.exclude_self else 1 - 1 / sizes
