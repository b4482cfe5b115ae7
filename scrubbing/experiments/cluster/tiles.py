"""Cut a run into pieces of work: ranges of draws, and where these are fewer than workers, groups of hypotheses too."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from itertools import chain
from math import ceil

from torch import Tensor

from scrubbing.engine.evaluate import Chunk

ENOUGH = 2  # pieces for each worker: with fewer, one that ends late leaves the others idle

Group = range  # hypotheses, by number
Weigh = Callable[[Group], float]


@dataclass(frozen=True)
class Tile:
    """The losses of some hypotheses for some draws."""

    jobs: Group
    draws: range

    def __str__(self) -> str:
        return f"{len(self.jobs)} hypotheses on draws {self.draws.start} to {self.draws.stop}"


def wanted_groups(jobs: int, ranges: int, workers: int) -> int:
    """Into how many groups it may pay to cut so many hypotheses; 1 where there are ranges enough."""
    return max(1, min(jobs, ceil(ENOUGH * workers / max(1, ranges))))


def tiles(jobs: int, ranges: Sequence[range], workers: int, weigh: Weigh) -> list[Tile]:
    """All pieces of a run, the heaviest first.

    Groups of hypotheses compute again what they share, and without them workers may have nothing to do: of 1, 2, 4 and
    so on groups, as many as with which the last worker is done first. `weigh` says how much work a group is.
    """
    wanted = wanted_groups(jobs, len(ranges), workers)
    numbers = [*(2**n for n in range(wanted.bit_length()) if 2**n < wanted), wanted]
    weigh = weigh if wanted > 1 else len  # nothing to choose, nothing to weigh
    cuts = (_weighed(groups(jobs, number), ranges, weigh) for number in numbers)
    best = min(cuts, key=lambda weights: busiest(weights.values(), workers))
    return sorted(best, key=lambda tile: -best[tile])


def _weighed(groups: Sequence[Group], ranges: Sequence[range], weigh: Weigh) -> dict[Tile, float]:
    weights = {group: weigh(group) for group in groups}
    return {Tile(group, draws): weights[group] * len(draws) for draws in ranges for group in groups}


def busiest(weights: Iterable[float], workers: int) -> float:
    """The work of the worker that has most, if each takes the heaviest piece that is left.

    >>> busiest([4, 3, 3, 2], workers=2)
    6.0
    """
    loads = [0.0] * workers
    for weight in sorted(weights, reverse=True):
        heapreplace(loads, loads[0] + weight)
    return max(loads)


def groups(jobs: int, wanted: int) -> list[Group]:
    """Hypotheses in at most so many groups, neighbours together: they share most of their work.

    >>> groups(5, 2)
    [range(0, 3), range(3, 5)]
    """
    each = max(1, ceil(jobs / wanted))
    return [range(start, min(start + each, jobs)) for start in range(0, jobs, each)]


def first_needed(needed: Sequence[Sequence[Hashable]], jobs: Group) -> list[int]:
    """Of the losses of a run, by number in the order in which they are first needed, those that these hypotheses are
    the first to need.
    """
    number = {root: i for i, root in enumerate(dict.fromkeys(chain.from_iterable(needed)))}
    before = {number[root] for roots in needed[: jobs.start] for root in roots}
    return sorted({number[root] for roots in needed[jobs.start : jobs.stop] for root in roots} - before)


def whole(done: Iterable[tuple[Tile, Mapping[int, Tensor]]], roots: int) -> Iterator[Chunk]:
    """The chunks of a run of so many losses, each as soon as its last piece is there."""
    parts: dict[range, dict[int, Tensor]] = {}
    for tile, losses in done:
        found = parts.setdefault(tile.draws, {})
        found.update(losses)
        if len(found) == roots:
            del parts[tile.draws]
            yield Chunk(tile.draws.start, tile.draws.stop, len(tile.draws), [found[root] for root in range(roots)])
