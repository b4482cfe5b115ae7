"""Cut a run into pieces of work: ranges of draws, and where these are fewer than workers, groups of hypotheses too."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from torch import Tensor

from scrubbing.engine.evaluate import Chunk

ENOUGH = 2  # pieces for each worker: with fewer, one that ends late leaves the others idle

Group = tuple[int, ...]  # roots, by number


@dataclass(frozen=True)
class Tile:
    """The losses of some roots for some draws."""

    roots: Group
    draws: range

    def __str__(self) -> str:
        return f"{len(self.roots)} losses of draws {self.draws.start} to {self.draws.stop}"


def tiles(needed: Sequence[Sequence[Hashable]], ranges: Sequence[range], workers: int) -> list[Tile]:
    """All pieces of a run; `needed` are the roots of each hypothesis."""
    in_range = groups(needed, ceil(ENOUGH * workers / max(1, len(ranges))))
    return [Tile(group, draws) for draws in ranges for group in in_range]


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
