"""The page of a hypothesis: its picture, its score, and what is scrubbed of one row."""

import streamlit as st

from scrubbing.experiments.scoring import Case
from scrubbing.report.app.claims import Scrubbed, pictured, scored, scrubbed_row
from scrubbing.report.app.rows import Row, row_of_data
from scrubbing.report.app.served import Served
from scrubbing.report.app.views.parts import chosen_number, chosen_position, plain, recalled, tabulated, told
from scrubbing.report.app.words import of_change
from scrubbing.report.code import code_of
from scrubbing.report.picture import visible_lines
from scrubbing.report.text import visible

REFERENCES = (20, 100, 500, 2000)


def hypothesis(app: Served) -> None:
    """What is scrubbed under a hypothesis."""
    st.header("What is scrubbed", anchor=False)
    cases = {case.name: case for case in app.suite.cases}
    case = cases[st.selectbox("Hypothesis", list(cases), key="case", format_func=visible)]
    with told():
        dark = st.context.theme.type == "dark"
        svg, tree = recalled(app, ("picture", case.name, dark), "Drawing ...", lambda: pictured(case, dark=dark))
    if svg:
        st.image(svg, alt=f"{visible(case.name)} as a graph; the tree below says the same")
    with st.expander("The picture as a tree" if svg else "The hypothesis as a tree", expanded=not svg):
        st.code(tree, language=None)
    with st.expander("The claims as code"):
        st.code(visible_lines(code_of(case.hypothesis)), language="python")
    _score(app, case)
    _row(app, case)


def _score(app: Served, case: Case) -> None:
    st.subheader("How much of the loss it recovers", anchor=False)
    references = st.select_slider("References, drawn from the data", REFERENCES, key="references")
    key = ("score", case.name, references)
    if key not in app.memory and not st.button("Score it"):
        return
    bar = None if key in app.memory else st.progress(0.0, "Scrubbing ...")

    def advance(done: int, total: int) -> None:
        if bar:
            bar.progress(done / total, f"{done:,} of {total:,} references")

    with told():
        score = app.memory.recalled(key, lambda: scored(case, references, progress=advance))
    if bar:
        bar.empty()
    low, high = score.interval or (float("nan"), float("nan"))
    recovered = "no percentage" if score.recovered is None else f"{score.recovered:.1%}"
    places = st.columns(4)
    places[0].metric("Recovered", recovered, border=True)
    places[1].metric("95% interval", f"{low:.1%} to {high:.1%}" if score.interval else "none", border=True)
    places[2].metric("Scrubbed loss", f"{score.scrubbed:.4g}", border=True)
    places[3].metric("Baseline, network", f"{score.baseline:.4g}, {score.original:.4g}", border=True)


def _row(app: Served, case: Case) -> None:
    st.subheader("One row, visit by visit", anchor=False)
    left, right = st.columns(2)
    with left:
        number = chosen_number(app, "Row", "row", app.subject.first_row)
    with right:
        seed = int(st.number_input("Seed of the donors", 0, 10**6, key="seed"))
    key = ("scrubbed", case.name, number, seed)
    with told():
        found = recalled(app, key, "Scrubbing one row ...", lambda: scrubbed_row(app.subject, case, number, seed))
        row = row_of_data(app.subject, number)
    if found.why_no_words:
        st.markdown(plain(found.why_no_words))
    if found.change:
        _words(row, found, key)
    with st.expander("The scrubbed run as a tree", expanded=not found.change):
        st.code(found.walk, language=None)
    if found.stood_in:
        with st.expander("The rows that stood in"):
            for other in found.stood_in:
                st.markdown(f"Row {other['row']}")
                st.code(other["text"], language=None)


def _words(row: Row, found: Scrubbed, key: object) -> None:
    change = found.change
    assert change is not None
    before, after = st.columns(2)
    before.metric("Loss of the network", f"{change.before:.4g}", border=True)
    after.metric("Scrubbed", f"{change.after:.4g}", f"{change.added:+.4g}", delta_color="inverse", border=True)
    position = chosen_position(row, f"scrubbed {hash(key)}", change.most)
    st.html(of_change(change, "added", at=position))
    word = change.words[position]
    if len(word) > 1:
        left, right = st.columns(2)
        for place, title, run in (
            (left, "Predicted by the network", word[2]),
            (right, "Predicted when scrubbed", word[3]),
        ):
            with place:
                tabulated(title, ["probability"], [(token, f"{p:.1%}") for token, p in run])
