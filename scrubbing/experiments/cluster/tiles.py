"""Cut a run into pieces of work: ranges of draws, and where these are fewer than workers, groups of hypotheses too."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from itertools import chain
from math import ceil

from torch import Tensor

from scrubbing.engine.evaluate import Chunk

ENOUGH = 2  # pieces for each worker: with fewer, one that ends late leaves the others idle

Group = tuple[int, ...]  # roots, by number
Weigh = Callable[[Group], float]


@dataclass(frozen=True)
class Tile:
    """The losses of some roots for some draws."""

    roots: Group
    draws: range

    def __str__(self) -> str:
        return f"{len(self.roots)} losses of draws {self.draws.start} to {self.draws.stop}"


def wanted_groups(hypotheses: int, ranges: int, workers: int) -> int:
    """Into how many groups it may pay to cut so many hypotheses; 1 where there are ranges enough."""
    return min(hypotheses, ceil(ENOUGH * workers / max(1, ranges)))


def tiles(needed: Sequence[Sequence[Hashable]], ranges: Sequence[range], workers: int, weigh: Weigh) -> list[Tile]:
    """All pieces of a run, the heaviest first; `needed` are the roots of each hypothesis.

    Groups compute again what they share, and without them workers may have nothing to do: of all numbers of groups,
    that with which the last worker is done first. `weigh` says what a group takes for one draw.
    """
    numbers = range(1, wanted_groups(len(needed), len(ranges), workers) + 1)
    cuts = dict.fromkeys(tuple(groups(needed, number)) for number in numbers)
    heavy = {group: weigh(group) for group in dict.fromkeys(chain.from_iterable(cuts))}
    weights = [{Tile(group, draws): heavy[group] * len(draws) for draws in ranges for group in cut} for cut in cuts]
    best = min(weights, key=lambda tiles: busiest(tiles.values(), workers))
    return sorted(best, key=lambda tile: -best[tile])


def busiest(weights: Iterable[float], workers: int) -> float:
    """The work of the worker that has most, if each takes the heaviest piece that is left.

    >>> busiest([4, 3, 3, 2], workers=2)
    6.0
    """
    loads = [0.0] * workers
    for weight in sorted(weights, reverse=True):
        heapreplace(loads, loads[0] + weight)
    return max(loads)


def shares(jobs: int, workers: int) -> list[range]:
    """Hypotheses, by number, that workers compute one after the other where there are no draws to cut."""
    each = max(1, ceil(jobs / (ENOUGH * workers)))
    return [range(start, min(start + each, jobs)) for start in range(0, jobs, each)]


def groups(needed: Sequence[Sequence[Hashable]], wanted: int) -> list[Group]:
    """The roots in at most so many groups, those of neighbouring hypotheses together: they share most of their work.

    Roots are numbered in the order in which they are first needed; one that several need is in the first's group.
    """
    number = {root: i for i, root in enumerate(dict.fromkeys(root for roots in needed for root in roots))}
    each = max(1, ceil(len(needed) / max(1, wanted)))
    taken: set[int] = set()
    found: list[Group] = []
    for start in range(0, len(needed), each):
        group = {number[root] for roots in needed[start : start + each] for root in roots} - taken
        taken |= group
        if group:
            found.append(tuple(sorted(group)))
    return found


def whole(done: Iterable[tuple[Tile, Sequence[Tensor]]], roots: int) -> Iterator[Chunk]:
    """The chunks of a run of so many roots, each as soon as its last piece is there."""
    parts: dict[range, dict[int, Tensor]] = {}
    for tile, losses in done:
        found = parts.setdefault(tile.draws, {})
        found.update(zip(tile.roots, losses, strict=True))
        if len(found) == roots:
            del parts[tile.draws]
            yield Chunk(tile.draws.start, tile.draws.stop, len(tile.draws), [found[root] for root in range(roots)])
