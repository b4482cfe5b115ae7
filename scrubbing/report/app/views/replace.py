"""The page that replaces a node on one row: losses and predictions, token by token."""

import re
from collections.abc import Mapping

import numpy as np
import streamlit as st

from scrubbing.report import plots
from scrubbing.report.app.replacing import IN_WORDS, WAYS, Change, Way, changed, of_every_node
from scrubbing.report.app.rows import SAMPLE, Row
from scrubbing.report.app.served import Served
from scrubbing.report.app.views.parts import (
    charted,
    chosen_number,
    chosen_position,
    chosen_row,
    recalled,
    tabulated,
    told,
)
from scrubbing.report.app.words import of_change
from scrubbing.report.text import visible

HEAD = re.compile(r"a(\d+)_h(\d+)")
SHOWN = {"added": "what it adds to the loss", "after": "the loss without it", "before": "the loss as it is"}
LISTED = 12


def replace(app: Served) -> None:
    """What a node does to a row."""
    st.header("What a node does", anchor=False)
    st.write("Give one node another value, compute all that follows again, and see where the row gets worse.")
    row = chosen_row(app)
    node, way, stand_in = _how(app)
    key = ("change", _key(app, row), node, way, stand_in)
    with told():
        change = recalled(
            app, key, "Running the network twice ...", lambda: changed(app.subject, row, node, way, stand_in)
        )
    _losses(change)
    if change.words:
        _words(row, change, key)
    _every_node(app, row, way, stand_in)


def _how(app: Served) -> tuple[str, Way, int]:
    heads = {head.node for head in app.subject.heads}
    first = max((i for i, node in enumerate(app.subject.nodes) if node in heads), default=0)
    left, right = st.columns(2)
    with left:
        if "node" not in st.session_state:
            st.session_state["node"] = app.subject.nodes[first]
        node = st.selectbox("Node", app.subject.nodes, key="node", format_func=visible)
    with right:
        way: Way = st.selectbox("is given", WAYS, key="way", format_func=lambda way: IN_WORDS[way])
        stand_in = 0 if way != "resample" else chosen_number(app, "The other row", "stand_in", 1)
    if way == "mean":
        st.markdown(f"The mean is that of {min(SAMPLE, app.subject.rows)} rows of the data, position by position.")
    return node, way, stand_in


def _losses(change: Change) -> None:
    before, after, added = st.columns(3)
    before.metric("Loss as it is", f"{change.before:.4g}", border=True)
    after.metric("Without the node", f"{change.after:.4g}", border=True)
    added.metric("Added", f"{change.added:+.4g}", border=True)


def _words(row: Row, change: Change, key: object) -> None:
    which = st.radio("Colour by", list(SHOWN), horizontal=True, format_func=SHOWN.__getitem__, key="which")
    position = chosen_position(row, f"replace {hash(key)}", change.most)
    st.html(of_change(change, which, at=position))
    word = change.words[position]
    if len(word) < 2:
        st.markdown("Nothing is evaluated at this position.")
        return
    st.html(_said(position, word[0], word[1]))
    left, right = st.columns(2)
    for place, title, run in ((left, "Predicted as it is", word[2]), (right, "Predicted without the node", word[3])):
        with place:
            tabulated(title, ["probability"], [(token, f"{p:.1%}") for token, p in run])


def _said(position: int, token: str, losses: list[float]) -> str:
    from scrubbing.report.picture import templates

    said = "<p>position {{ position }}: <code>{{ token }}</code>, loss {{ before }}, then {{ after }}</p>"
    before, after = (f"{loss:.3f}" for loss in losses)
    return templates.from_string(said).render(position=position, token=token, before=before, after=after)


def _every_node(app: Served, row: Row, way: Way, stand_in: int) -> None:
    st.subheader("Every node in turn", anchor=False)
    key = ("every node", _key(app, row), way, stand_in)
    if key not in app.memory and not st.button(f"Replace each of the {len(app.subject.nodes)} nodes"):
        return
    bar = None if key in app.memory else st.progress(0.0, "Replacing one node after another ...")

    def advance(done: int, total: int) -> None:
        if bar:
            bar.progress(done / total, f"{done} of {total} nodes")

    with told():
        found = app.memory.recalled(key, lambda: of_every_node(app.subject, row, way, stand_in, progress=advance))
    if bar:
        bar.empty()
    left, right = st.columns(2)
    with right:
        largest = sorted(found.items(), key=lambda item: -abs(item[1]))[:LISTED]
        tabulated("", ["loss added"], [(visible(name), f"{value:+.4g}") for name, value in largest], first="node")
    heads = by_head(found)
    if heads is not None:
        with left:
            charted(plots.heat_map(heads, value="loss added", title="heads, by layer"))


def by_head(found: Mapping[str, float]) -> np.ndarray | None:
    """What heads add, `[layer, head]`, where all layers have as many.

    >>> by_head({"a0_h0": 1.0, "a0_h1": 2.0, "m0": 3.0})
    array([[1., 2.]])
    """
    places = {
        tuple(map(int, match.groups())): value for name, value in found.items() if (match := HEAD.fullmatch(name))
    }
    if not places:
        return None
    shape = tuple(1 + max(place[axis] for place in places) for axis in (0, 1))
    values = np.zeros(shape)
    for place, value in places.items():
        values[place] = value
    return values if len(places) == values.size else None


def _key(app: Served, row: Row) -> object:
    return row.number if row.number is not None else tuple(row.columns["tokens"][0].tolist())
