"""Fold what is alike: heads of a layer, say, become one box with their number, so that large pictures stay legible."""

from collections import defaultdict
from collections.abc import Iterable

from scrubbing.report.outline import Arrow, Box, Outline, numbered

MANY = 40  # boxes that a picture shows one by one
ALIKE = 3  # boxes that are worth folding
NAMED = 3  # of a group whose names are shown


def folded(outline: Outline, *, many: int = MANY) -> Outline:
    """The outline, with boxes of one kind that read the same and are read by the same as one box, if it is large.

    What remains of a dense graph then loses the arrows that a path through other boxes implies.
    """
    if len(outline.boxes) <= many:
        return outline
    alike: dict[object, list[Box]] = {}
    sources, targets = _ends(outline.arrows)
    for box in outline.boxes:
        alike.setdefault((box.kind, box.lines, sources[box.key], targets[box.key]), []).append(box)
    groups = [group for group in alike.values() if len(group) >= ALIKE]
    at = {box.key: group[0].key for group in groups for box in group}
    together = {group[0].key: _group(group) for group in groups}
    boxes = [together.get(box.key, box) for box in outline.boxes if at.get(box.key, box.key) == box.key]
    arrows = {Arrow(at.get(a.source, a.source), at.get(a.target, a.target), a.claimed): None for a in outline.arrows}
    kept = list(arrows) if len(arrows) <= 3 * len(boxes) else _without_shortcuts(list(arrows))
    dropped = len(arrows) - len(kept)
    note = (f"{dropped} arrows that skip over boxes on the way are left out",) if dropped else ()
    return Outline(outline.title, tuple(boxes), tuple(kept), (*outline.notes, *note))


def _ends(arrows: Iterable[Arrow]) -> tuple[dict[str, frozenset], dict[str, frozenset]]:
    """What each box reads, and who reads it."""
    sources, targets = defaultdict(set), defaultdict(set)
    for arrow in arrows:
        sources[arrow.target].add((arrow.source, arrow.claimed))
        targets[arrow.source].add((arrow.target, arrow.claimed))
    return tuple(defaultdict(frozenset, {k: frozenset(v) for k, v in ends.items()}) for ends in (sources, targets))  # type: ignore[return-value]


def _group(boxes: list[Box]) -> Box:
    first, names = boxes[0], sorted((box.title for box in boxes), key=numbered)
    few = names if len(names) <= NAMED else [names[0], "...", names[-1]]
    return Box(
        first.key,
        f"{len(boxes)} nodes",
        first.kind,
        (*few, *first.lines),
        ", ".join(names),
        tuple(member for box in boxes for member in box.members),
    )


def _without_shortcuts(arrows: list[Arrow]) -> list[Arrow]:
    """The arrows that no path over other boxes implies; those that are not claimed all stay."""
    below: dict[str, set[str]] = defaultdict(set)
    for arrow in arrows:
        below[arrow.target].add(arrow.source)
    reach: dict[str, set[str]] = {}
    for box in _sources_first(below):
        reach[box] = below[box].union(*(reach.get(source, set()) for source in below[box]))
    return [
        arrow
        for arrow in arrows
        if not arrow.claimed
        or not any(arrow.source in reach.get(via, ()) for via in below[arrow.target] - {arrow.source})
    ]


def _sources_first(below: dict[str, set[str]]) -> list[str]:
    done: dict[str, None] = {}
    waiting = list(below)
    while waiting:
        box = waiting[-1]
        missing = [source for source in below.get(box, ()) if source not in done]
        if missing:
            waiting += missing
        else:
            done[waiting.pop()] = None
    return list(done)
