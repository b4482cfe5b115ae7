"""Where boxes and arrows stand: layered, the output on top. Graphviz finds the places; sizes are measured here."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rich.cells import cell_len

from scrubbing.errors import MissingPackageError
from scrubbing.report.outline import Box, Outline
from scrubbing.report.text import shortened

TITLE, LINE = 8.2, 6.8  # the width of a character: 13.5 px bold and 11 px, monospaced
TITLE_HEIGHT, LINE_HEIGHT = 18.0, 14.0
PADDING = 10.0
MARGIN = 14.0
STRIPE = 4.0  # beside the text of a box whose own datum is marked
INCH = 72.0

Point = tuple[float, float]


@dataclass(frozen=True)
class Placed:
    """A box at its place: the middle, and the size."""

    box: Box
    x: float
    y: float
    width: float
    height: float

    @property
    def corner(self) -> Point:
        """The upper left corner."""
        return self.x - self.width / 2, self.y - self.height / 2

    @cached_property
    def text(self) -> tuple[tuple[str, float], ...]:
        """Each line with the height at which its letters stand, the title first."""
        top = self.corner[1] + PADDING / 2
        below = [top + TITLE_HEIGHT + LINE_HEIGHT * i + 11 for i in range(len(self.box.lines))]
        lines = zip([shortened(line) for line in self.box.lines], below, strict=True)
        return ((shortened(self.box.title), top + 14), *lines)


@dataclass(frozen=True)
class Curve:
    """An arrow: a start and the points of Bezier curves, three for each, from the source to the tip."""

    points: tuple[Point, ...]
    claimed: bool

    @property
    def path(self) -> str:
        """As SVG has it."""
        start, *rest = [f"{x:.1f},{y:.1f}" for x, y in self.points]
        return f"M{start} C{' '.join(rest)}"


@dataclass(frozen=True)
class Layout:
    """All of a picture's boxes and arrows at their places, from the upper left corner, in pixels."""

    width: float
    height: float
    boxes: tuple[Placed, ...]
    curves: tuple[Curve, ...]


def laid_out(outline: Outline) -> Layout:
    """The places of everything in an outline.

    Raises `MissingPackageError` where pygraphviz is not installed.
    """
    graph = _graphviz().AGraph(directed=True, strict=True, rankdir="BT", nodesep="0.22", ranksep="0.42")
    graph.node_attr.update(shape="box", fixedsize="true", label="")
    graph.edge_attr.update(arrowhead="normal", arrowsize="0.6")
    keys = {box.key: f"n{i}" for i, box in enumerate(outline.boxes)}
    sizes = {box.key: size_of(box) for box in outline.boxes}
    for box in reversed(outline.boxes):
        width, height = sizes[box.key]
        graph.add_node(keys[box.key], width=width / INCH, height=height / INCH)
    for arrow in outline.arrows:
        graph.add_edge(keys[arrow.source], keys[arrow.target])
    graph.layout("dot")
    _, _, wide, high = _numbers(graph.graph_attr["bb"])
    places = {key: _numbers(graph.get_node(name).attr["pos"]) for key, name in keys.items()}
    boxes = [
        Placed(box, places[box.key][0] + MARGIN, high - places[box.key][1] + MARGIN, *sizes[box.key])
        for box in outline.boxes
    ]
    curves = [
        Curve(_points(graph.get_edge(keys[a.source], keys[a.target]).attr["pos"], high), a.claimed)
        for a in outline.arrows
    ]
    return Layout(wide + 2 * MARGIN, high + 2 * MARGIN, tuple(boxes), tuple(curves))


def size_of(box: Box) -> tuple[float, float]:
    """The width and height of a box that holds its text."""
    title = TITLE * cell_len(shortened(box.title))
    lines = [LINE * cell_len(shortened(line)) for line in box.lines]
    stripe = STRIPE if box.own else 0.0
    return max(48.0, title, *lines) + 2 * PADDING + 2 * stripe, TITLE_HEIGHT + LINE_HEIGHT * len(lines) + PADDING


def overlaps(layout: Layout) -> list[tuple[str, str]]:
    """The pairs of boxes that cover each other anywhere, by their keys: none, in a good picture."""
    by_x = sorted(layout.boxes, key=lambda b: b.corner[0])
    return [
        (a.box.key, b.box.key)
        for i, a in enumerate(by_x)
        for b in by_x[i + 1 :]
        if b.corner[0] < a.corner[0] + a.width and abs(a.y - b.y) < (a.height + b.height) / 2
    ]


def _graphviz() -> Any:
    try:
        import pygraphviz
    except ImportError:
        raise MissingPackageError(
            "pictures need pygraphviz, which is not installed here: pip install 'scrubbing[pictures]'"
        ) from None
    return pygraphviz


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


def _points(pos: str, high: float) -> tuple[Point, ...]:
    """What Graphviz says of a curve: its tip, marked with an e, and then its points."""
    tip, *points = pos.replace("\\\n", "").split()
    found = [_numbers(point) for point in points]
    if tip.startswith("e,"):
        found += [found[-1], end := _numbers(tip[2:]), end]
    return tuple((x + MARGIN, high - y + MARGIN) for x, y in found)
