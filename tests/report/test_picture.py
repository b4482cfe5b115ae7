"""Pictures: what is drawn, that nothing overlaps, and every format that they are written in."""

import sys
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from pictured import induction_in_many_heads, many_heads, twice_on_one_node

from hypotheses import induction, toy
from scrubbing import DataError, Graph, Hypothesis, HypothesisError, mean, reads, within
from scrubbing.errors import MissingPackageError
from scrubbing.report import draw
from scrubbing.report.layout import LINE, TITLE, overlaps
from scrubbing.report.text import LONGEST, shortened

SVG = "{http://www.w3.org/2000/svg}"
TOY = toy.case("a threshold too high").hypothesis
LONG = "a" * 200

SHOWN = {
    "toy": lambda: TOY,
    "refined 4": lambda: induction.case("refined 4").hypothesis,
    "many heads": induction_in_many_heads,
    "graph of many heads": many_heads,
    "two claims on one node": twice_on_one_node,
    "long names": lambda: Graph({LONG: lambda x: x, "loss": reads(LONG, "y")}),
}


@pytest.fixture(scope="module", params=SHOWN)
def picture(request):
    return draw(SHOWN[request.param]())


def test_nothing_overlaps(picture):
    assert overlaps(picture.layout) == []


def test_boxes_that_overlap_would_be_seen():
    layout = draw(TOY).layout
    twice = replace(layout, boxes=(*layout.boxes, layout.boxes[0]))
    assert overlaps(twice) == [("loss", "loss")]


def test_text_fits_its_box(picture):
    for placed in picture.layout.boxes:
        (title, _), *lines = placed.text
        assert TITLE * len(title) < placed.width
        assert all(LINE * len(line) < placed.width for line, _ in lines)
        assert all(placed.corner[1] < y < placed.corner[1] + placed.height for _, y in placed.text)


def test_everything_lies_within_the_picture(picture):
    layout = picture.layout
    for placed in layout.boxes:
        assert placed.corner[0] >= 0
        assert placed.corner[1] >= 0
        assert placed.corner[0] + placed.width <= layout.width
        assert placed.corner[1] + placed.height <= layout.height
    for curve in layout.curves:
        assert all(0 <= x <= layout.width and 0 <= y <= layout.height for x, y in curve.points)


def test_the_svg_shows_each_box_and_arrow(picture):
    root = ElementTree.fromstring(picture.svg)
    boxes = [g for g in root.iter(f"{SVG}g") if g.attrib["class"].startswith("box")]
    arrows = [p for p in root.iter(f"{SVG}path") if p.attrib["class"].startswith("arrow")]
    assert len(boxes) == len(picture.outline.boxes)
    assert len(arrows) == len(picture.outline.arrows)
    assert all(g.find(f"{SVG}title") is not None for g in boxes)


def kinds(h, **settings):
    return {box.title: (box.kind, box.own) for box in draw(h, **settings).outline.boxes}


def test_whose_data_a_value_is_computed_from():
    G = Graph(
        a=lambda x: x, b=lambda y: y, c=lambda a, b: a + b, d=lambda z: z, loss=lambda c, d, labels: c + d - labels
    )
    claims = dict(a=lambda x: x > 1, b=reads("y"), c=reads("a", "b"), loss=reads("c", "labels"))
    assert kinds(Hypothesis(G, Graph(claims))) == {
        "loss": ("mixed", "reference"),
        "c": ("mixed", "reference"),
        "b": ("reference", None),
        "a": ("donor", None),
        "d": ("open", None),
    }
    assert kinds(Hypothesis(G, Graph(claims)), unclaimed=mean())["d"] == ("ablated", None)
    # without the row itself, a claim of whole columns draws a donor too
    assert kinds(Hypothesis(G, Graph(claims)), exclude_self=True)["c"] == ("mixed", "donor")
    everything = Graph(claims | dict(d=reads("z"), a=reads("x"), loss=reads("c", "d", "labels")))
    assert {kind for kind, _ in kinds(Hypothesis(G, everything)).values()} == {"reference"}


def test_one_node_under_two_names():
    by_title = {box.title: box for box in draw(twice_on_one_node()).outline.boxes}
    assert by_title["first"].members == by_title["second"].members == ("head",)
    assert by_title["first"].lines == ("run by head", "x > 0")


def test_what_is_unclaimed_folds_into_groups_with_counts():
    outline = draw(induction_in_many_heads()).outline
    groups = [box for box in outline.boxes if box.kind == "open"]
    assert [box.title for box in groups if "mlp10" in box.lines] == ["154 unclaimed", "154 unclaimed"]
    assert groups[0].lines == ("a0_h0", "a0_h1", "...", "mlp4")
    (unclaimed,) = [arrow.target for arrow in outline.arrows if arrow.source == groups[0].key]
    assert unclaimed == "a5_h1"
    assert len(groups[0].members) == 64


def test_a_large_graph_folds_what_is_alike():
    outline = draw(many_heads()).outline
    assert [box.title for box in outline.boxes].count("12 nodes") == 12
    assert outline.notes == ("300 arrows that skip over boxes on the way are left out",)
    members = [member for box in outline.boxes for member in box.members]
    assert sorted(members) == sorted(many_heads())


def test_features_stand_beside_their_nodes():
    I = Graph(a=within(lambda x: x * 2, 0.5), loss=reads("a", "y"))
    h = Hypothesis(Graph(a=lambda x: x, loss=lambda a, y: a - y), I)
    assert draw(h).outline.boxes[1].lines == ("x * 2 within 0.5",)


def test_markup_in_a_feature_is_text():
    I = Graph(a=lambda x: (x > 2) & ("<script>" != ""), loss=reads("a", "y"))
    picture = draw(Hypothesis(Graph(a=lambda x: x, loss=lambda a, y: a - y), I))
    assert "<script" not in picture.svg
    assert "&lt;script" in picture.svg
    assert "<script" not in picture.mermaid
    assert ElementTree.fromstring(picture.svg) is not None


def test_dot_is_what_graphviz_reads(picture):
    pygraphviz = pytest.importorskip("pygraphviz")
    graph = pygraphviz.AGraph(string=picture.dot)
    assert len(graph.nodes()) == len(picture.outline.boxes)
    assert len(graph.edges()) == len(picture.outline.arrows)
    assert graph.get_node("n0").attr["label"].split("\\n")[0] == picture.outline.boxes[0].title


def test_mermaid_has_a_line_for_each_box_and_arrow(picture):
    first, *lines = picture.mermaid.splitlines()
    assert first == "flowchart BT"
    assert sum('["' in line for line in lines) == len(picture.outline.boxes)
    assert sum(" --> " in line or " -.-> " in line for line in lines) == len(picture.outline.arrows)


@pytest.mark.parametrize(("name", "start"), [("a.svg", b"<svg"), ("a.png", b"\x89PNG"), ("a.dot", b"digraph")])
def test_saved(name, start, tmp_path):
    draw(TOY).save(tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"names no picture; end it with one of .svg, .png, .dot, .mmd"):
        draw(TOY).save(tmp_path / "a.jpeg")
    with pytest.raises(DataError, match="cannot be written"):
        draw(TOY).save(tmp_path / "nowhere" / "a.svg")
    assert list(tmp_path.iterdir()) == []


def test_other_things_are_refused(unchecked):
    with pytest.raises(HypothesisError, match=r"^draw takes a Hypothesis or a Graph, and was given dict$"):
        draw({})


def test_without_pygraphviz_a_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'scrubbing\[pictures\]'$"):
        draw(TOY).save(tmp_path / "a.svg")
    assert list(tmp_path.iterdir()) == []
    shown = draw(TOY)._repr_mimebundle_()
    assert list(shown) == ["text/plain"]
    assert "pygraphviz" in shown["text/plain"]
    draw(TOY).save(tmp_path / "a.mmd")  # text needs no Graphviz


def test_long_lines_lose_their_middle():
    assert len(shortened("x" * 200)) == LONGEST
    assert shortened("x" * LONGEST) == "x" * LONGEST
    assert shortened("start" + "x" * 200 + "end").startswith("start")
    assert shortened("start" + "x" * 200 + "end").endswith("end")
