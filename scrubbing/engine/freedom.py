"""The numbers of a score's vacuity: how much the donors of a planned hypothesis can differ from their readers' data.

Each is a mean over the data that the node's readers run on: over a sample, or in exact mode over their distribution
(Chan et al. 2022: a donor is uniform among the rows that agree).
"""

import math

import numpy as np
from jaxtyping import Float

from scrubbing.engine.plan import Scrubbed, Visit
from scrubbing.engine.sampling.agreement import Classes, PositionClasses
from scrubbing.engine.sampling.distributions import first_places, joint
from scrubbing.engine.sampling.streams import Drawn, Fixed, Given, References, Sample, Stream
from scrubbing.score.vacuity import NodeVacuity, Vacuity

Weights = Float[np.ndarray, "position row"]  # each position's distribution over rows; one for all positions


def vacuity_of(scrubbed: Scrubbed, sample: Sample, *, exact: bool = False) -> Vacuity:
    """The vacuity of a planned hypothesis, on a sample or over all draws of donors."""
    nodes = tuple(_node(visit, sample, exact=exact) for visit in scrubbed.visits)
    unclaimed = math.log2(sample.dataset_rows) if scrubbed.leaves_open and not _is_own(scrubbed, sample) else 0.0
    return Vacuity(nodes=nodes, bits=sum(node.bits for node in nodes) + unclaimed)


def _is_own(scrubbed: Scrubbed, sample: Sample) -> bool:
    """Whether the user gave the donors of unclaimed inputs, and each is the reference itself."""
    other = scrubbed.streams.get("other")
    return isinstance(other, Fixed) and bool((sample.rows(other) == sample.rows(References())).all())


def _node(visit: Visit, sample: Sample, *, exact: bool) -> NodeVacuity:
    classes = visit.classes.at if isinstance(visit.classes, PositionClasses) else (visit.classes,)
    rows = len(classes[0].ids)
    weights = _exactly(visit.parent, sample) if exact else _sampled(visit.parent, sample, rows)
    positions = max(len(weights), len(classes))
    each = [(classes[p % len(classes)], weights[p % len(weights)]) for p in range(positions)]
    singletons = [w @ (c.sizes[c.ids] == 1) for c, w in each]
    free = [_freedom(c, visit.alike, sample) if visit.alike is not None else None for c in classes]
    bits = [w @ f[0] for (_, w), f in zip(each, _repeated(free, positions), strict=True) if f is not None]
    swapped = [w @ f[1] for (_, w), f in zip(each, _repeated(free, positions), strict=True) if f is not None]
    if visit.alike is not None and isinstance(visit.donor, Fixed | Given):
        swapped = [_given_swaps(visit, visit.alike, sample)]
    return NodeVacuity(
        path=visit.path,
        classes=visit.classes.count,
        singletons=float(np.mean(singletons)),
        swapped=float(np.mean(swapped)) if swapped else 0.0,
        bits=float(np.sum(bits)),
    )


def _repeated(values: list, count: int) -> list:
    return [values[i % len(values)] for i in range(count)]


def _freedom(classes: Classes, alike: Classes, sample: Sample) -> tuple[Float[np.ndarray, " row"], ...]:
    """For each row as the own datum: the entropy in bits of the donor's value, and how often that differs."""
    ids = classes.ids
    donors = slice(classes.donors)
    passed_on = alike.ids[: len(ids)]  # rows may have been made since
    crowds = joint([ids, passed_on], len(ids))  # of one class, and passing on the same
    crowd, of = np.bincount(crowds[donors], minlength=int(crowds.max()) + 1), ids[first_places(crowds)]
    sizes = np.maximum(classes.sizes, 1)
    share = crowd / sizes[of]
    bits = np.bincount(of, -share * np.log2(np.maximum(share, 1e-300)), minlength=len(sizes))
    same = share[crowds]
    if sample.exclude_self:  # then no row is its own donor
        others = np.maximum(sizes[ids] - 1, 1)
        return np.log2(others), (sizes[ids] > 1) * (1 - (crowd[crowds] - 1) / others)
    return bits[ids], 1 - same


def _given_swaps(visit: Visit, alike: Classes, sample: Sample) -> float:
    """How often a given donor's value differs from that of the own datum."""
    own, donor = (alike.ids[np.atleast_2d(sample.rows(stream).T)] for stream in (visit.parent, visit.donor))
    return float((own != donor).mean())


def _sampled(stream: Stream, sample: Sample, rows: int) -> Weights:
    """The share of draws in which a stream has each row."""
    found = np.atleast_2d(sample.rows(stream).T)
    return np.stack([np.bincount(at, minlength=rows) / len(at) for at in found])


def _exactly(stream: Stream, sample: Sample) -> Weights:
    """The probability of each row, over all draws of donors, for a reference of the sample taken at random."""
    chain = [stream]
    while isinstance(chain[-1], Drawn) and chain[-1].parent is not None:
        chain.append(chain[-1].parent)
    weights = np.full((1, sample.dataset_rows), 1 / sample.dataset_rows)
    for each in reversed(chain):
        if not isinstance(each, Drawn):
            weights = _sampled(each, sample, sample.dataset_rows)
        elif each.parent is not None or each.classes is not None:
            weights = _after(each, weights, sample)
    return weights


def _after(drawn: Drawn, parent: Weights, sample: Sample) -> Weights:
    """The distribution of a donor, given that of the datum that it agrees with."""
    everything = Classes(np.zeros(sample.dataset_rows, dtype=np.int64))
    held = drawn.classes or everything
    classes = held.at if isinstance(held, PositionClasses) else (held,)
    positions = max(len(parent), len(classes))
    found = []
    for p in range(positions):
        c, w = classes[p % len(classes)], parent[p % len(parent)]
        mass, sizes = np.bincount(c.ids, w)[c.ids], c.sizes[c.ids]
        if sample.exclude_self:
            found.append(np.where(sizes > 1, (mass - w) / np.maximum(sizes - 1, 1), mass))
        else:
            found.append(mass / sizes)
    return np.stack(found)
