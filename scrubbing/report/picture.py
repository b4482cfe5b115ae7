"""`draw`: a hypothesis or a graph as a picture."""

from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.text import Text
from rich.tree import Tree

from scrubbing.engine.policy import Policy, Unclaimed
from scrubbing.errors import DataError, HypothesisError, MissingPackageError, nearest, printable
from scrubbing.graph import Graph
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.report.folding import folded
from scrubbing.report.layout import LINE, MARGIN, Layout, laid_out
from scrubbing.report.outline import Box, Outline, outline_of_graph, outline_of_hypothesis
from scrubbing.report.palette import DARK, LIGHT, MEANING, OWN, Theme
from scrubbing.report.text import visible
from scrubbing.score.tables import Printed
from scrubbing.store.files import write_whole

SCALE = 2.0  # pixels of a PNG for each of the picture
FORMATS = (".svg", ".png", ".dot", ".mmd")

templates = Environment(
    loader=PackageLoader("scrubbing.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


@dataclass(frozen=True, repr=False)
class Picture(Printed):
    """A picture of a hypothesis or graph: `.svg`, `.png`, `.dot`, `.mermaid`, or `save` it. `print` shows it as text.

    The output is on top. Solid arrows are claimed, dashed ones are not; the colour of a box says on whose datum the
    node runs. Hover over a box for all that it stands for.
    """

    outline: Outline

    @cached_property
    def layout(self) -> Layout:
        """Where everything stands. Raises `MissingPackageError` without pygraphviz."""
        return laid_out(self.outline)

    @cached_property
    def svg(self) -> str:
        """As SVG, in the reader's choice of light and dark. Raises `MissingPackageError` without pygraphviz."""
        return self.drawn(theme_of_reader=True)

    @property
    def png(self) -> bytes:
        """As PNG, light. Raises `MissingPackageError` without pygraphviz and vl-convert-python."""
        return self.painted(LIGHT)

    def painted(self, theme: Theme) -> bytes:
        """As PNG, in a theme. Raises `MissingPackageError` without pygraphviz and vl-convert-python."""
        try:
            from vl_convert import svg_to_png
        except ImportError:
            raise MissingPackageError(
                "PNG needs vl-convert-python, which is not installed here: pip install 'scrubbing[pictures]'"
            ) from None
        return svg_to_png(self.drawn(theme=theme), scale=SCALE)

    def drawn(self, *, theme: Theme = LIGHT, theme_of_reader: bool = False, paper: bool = True) -> str:
        """As SVG: in one theme or in that of the reader, and with or without a ground of its own."""
        layout, legend = self.layout, _legend(self.outline, self.layout)
        below = layout.height + 18 * len({item["y"] for item in legend})
        notes = [(visible(note), below + 6 + 18 * i) for i, note in enumerate(self.outline.notes)]
        right = max(
            [
                layout.width,
                *(item["x"] + 24 + LINE * len(item["text"]) + MARGIN for item in legend),
                *(LINE * len(note) + 2 * MARGIN for note, _ in notes),
            ]
        )
        return templates.get_template("picture.svg.j2").render(
            width=right,
            height=below + 18 * len(notes),
            notes=notes,
            left=MARGIN,
            label=visible(self.outline.title),
            theme=theme,
            dark=DARK,
            theme_of_reader=theme_of_reader,
            paper=paper,
            mark="tip",
            curves=layout.curves,
            boxes=[_harmless(placed) for placed in layout.boxes],
            legend=legend,
        )

    @property
    def dot(self) -> str:
        """In Graphviz's language."""
        boxes = [
            f'  {_key(self, box)} [label={_quoted(chr(10).join([box.title, *box.lines]))} class="{box.kind}" '
            f'style="filled{",dashed" if box.kind in ("open", "ablated") else ""}" '
            f'fillcolor="{LIGHT.kinds[box.kind].fill}" color="{LIGHT.kinds[box.kind].line}"]'
            for box in self.outline.boxes
        ]
        arrows = [
            f"  {self._keys[a.source]} -> {self._keys[a.target]}{'' if a.claimed else ' [style=dashed]'}"
            for a in self.outline.arrows
        ]
        head = ["digraph {", "  rankdir=BT", '  node [shape=box fontname="monospace"]']
        return "\n".join([*head, *boxes, *arrows, "}"])

    @property
    def mermaid(self) -> str:
        """In Mermaid's language, which Markdown on many sites shows as a picture."""
        boxes = [
            f'  {_key(self, box)}["{"<br/>".join(_entities(line) for line in (box.title, *box.lines))}"]:::{box.kind}'
            for box in self.outline.boxes
        ]
        arrows = [
            f"  {self._keys[a.source]} {'-->' if a.claimed else '-.->'} {self._keys[a.target]}"
            for a in self.outline.arrows
        ]
        kinds = [
            f"  classDef {kind} fill:{c.fill},stroke:{c.line},color:{c.text}"
            for kind in self.outline.kinds
            for c in [LIGHT.kinds[kind]]
        ]
        return "\n".join(["flowchart BT", *boxes, *arrows, *kinds])

    def save(self, path: Path | str) -> None:
        """Write it to a file: .svg, .png, .dot or .mmd (Mermaid), all of it or nothing.

        Raises `DataError` for other names and where it cannot be written, `MissingPackageError` without pygraphviz.
        """
        path = Path(path)
        check_format(path)
        match path.suffix:
            case ".svg":
                write_whole(self.svg, path)
            case ".png":
                write_whole(self.png, path)
            case ".dot":
                write_whole(self.dot, path)
            case ".mmd":
                write_whole(self.mermaid, path)

    @cached_property
    def _keys(self) -> dict[str, str]:
        return {box.key: f"n{i}" for i, box in enumerate(self.outline.boxes)}

    def __rich__(self) -> Tree:
        boxes = {box.key: box for box in self.outline.boxes}
        read: dict[str, list[tuple[str, bool]]] = {}
        for arrow in sorted(self.outline.arrows, key=lambda a: not a.claimed):
            read.setdefault(arrow.target, []).append((arrow.source, arrow.claimed))
        top = self.outline.boxes[0]
        tree, shown = Tree(_words(top)), {top.key}
        waiting = [(tree, top.key)]
        while waiting:
            branch, key = waiting.pop()
            for source, _ in read.get(key, ()):
                again = source in shown and bool(read.get(source))
                leaf = branch.add(_words(boxes[source], again=again))
                if not again:
                    shown.add(source)
                    waiting.append((leaf, source))
        return tree

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        try:
            return {"text/html": f'<div style="overflow-x: auto">{self.svg}</div>', "text/plain": str(self)}
        except MissingPackageError as missing:
            return {"text/plain": f"{self}\n({missing})"}


def draw(what: Hypothesis | Graph, *, unclaimed: Unclaimed = "resample", exclude_self: bool = False) -> Picture:
    """The picture of a hypothesis, or of a graph. In a notebook it shows itself; `save` writes it to a file.

    A hypothesis is drawn as G with c(I): each node of I with the feature that it claims and the node of G that runs
    it, and what it leaves unclaimed, folded into groups. `unclaimed` and `exclude_self` are those of `scrub`, and
    decide on whose datum each node runs.

    >>> from hypotheses import toy
    >>> print(draw(toy.case("the first digit alone").hypothesis))
    loss  reads y  [mixed]
    └── D  [mixed]
        ├── A  z1 > 3  [mixed]
        │   └── 2 unclaimed  z2, z3  [open]
        └── 2 unclaimed  B, C  [open]

    Raises `HypothesisError` for what is neither.

    Source: Chan et al. 2022, Causal Scrubbing, whose pictures these follow.
    """
    if isinstance(what, Hypothesis):
        return Picture(folded(outline_of_hypothesis(what, Policy(unclaimed=unclaimed, exclude_self=exclude_self))))
    if isinstance(what, Graph):
        return Picture(folded(outline_of_graph(what)))
    raise HypothesisError(f"draw takes a Hypothesis or a Graph, and was given {type(what).__name__}")


def check_format(path: Path) -> None:
    """Raise `DataError` for a file that no picture can be written to."""
    if path.suffix not in FORMATS:
        hint = nearest(path.suffix, FORMATS)
        raise DataError(f"{str(path)!r} names no picture; end it with one of {', '.join(FORMATS)}{hint}")


def _legend(outline: Outline, layout: Layout) -> list[dict[str, Any]]:
    """What the colours mean, below the picture, in as many lines as fit its width."""
    found: list[dict[str, Any]] = []
    items = [(kind, MEANING[kind], False) for kind in MEANING if kind in outline.kinds]
    owns = {box.own for box in outline.boxes if box.own}
    items += [(kind, OWN[kind], True) for kind in OWN if kind in owns]
    x, y = MARGIN, layout.height + 6
    for kind, text, stripe in items:
        wide = 24 + LINE * len(text) + 18
        if x > MARGIN and x + wide > max(layout.width, 320):
            x, y = MARGIN, y + 18
        found.append({"kind": kind, "text": text, "stripe": stripe, "x": round(x, 1), "y": round(y, 1)})
        x += wide
    return found


def _harmless(placed: Any) -> dict[str, Any]:
    box = placed.box
    return {
        "box": {"kind": box.kind, "tip": visible_lines(box.tip), "title": visible(box.title), "own": box.own},
        "corner": placed.corner,
        "width": placed.width,
        "height": placed.height,
        "x": placed.x,
        "text": [(visible(line), y) for line, y in placed.text],
    }


def visible_lines(text: str) -> str:
    """The text with its lines as they are, and nothing else in it that does not show."""
    return "\n".join(map(visible, text.split("\n")))


def _key(picture: Picture, box: Box) -> str:
    return picture._keys[box.key]


def _quoted(text: str) -> str:
    """A string of Graphviz's."""
    return '"' + "\\n".join(visible(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n")) + '"'


def _entities(line: str) -> str:
    """Mermaid reads entities in quoted labels, and some markup: every character that might be one is written so."""
    return "".join(c if c.isalnum() or c in " _,.()" else f"#{ord(c)};" for c in visible(line)) or escape(line)


def _words(box: Box, *, again: bool = False) -> Text:
    words = Text(printable(box.title), "bold")
    if again:
        return words.append("  (above)", "not bold dim")
    if box.lines:
        words.append(f"  {printable(', '.join(box.lines))}", "not bold")
    return words.append(f"  [{box.kind}]" if box.kind in MEANING else "", "not bold dim")
