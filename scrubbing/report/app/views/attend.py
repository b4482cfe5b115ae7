"""The page of a head on one row: where it looks, and what it writes."""

import streamlit as st

from scrubbing.report import plots
from scrubbing.report.app.looking import Looked, looked, written_at
from scrubbing.report.app.rows import Row
from scrubbing.report.app.served import Served
from scrubbing.report.app.views.parts import charted, chosen_head, chosen_position, chosen_row, listed, recalled, told
from scrubbing.report.app.words import coloured

WINDOW = 64  # positions of a pattern that are drawn


def attend(app: Served) -> None:
    """Where a head looks."""
    st.header("Where a head looks", anchor=False)
    st.write("The attention of a head on a row, and what it writes to the logits there.")
    if not app.subject.heads:
        st.info("This network has no attention heads.")
        return
    row = chosen_row(app)
    head = chosen_head(app)
    if head is None:
        return
    key = ("looked", row.number, tuple(row.columns["tokens"][0].tolist()), head)
    with told():
        found = recalled(app, key, "Running the network ...", lambda: looked(app.subject, row, head))
    position = chosen_position(row, f"attend {head}", len(found.tokens) - 1)
    _attended(found, position)
    raised, lowered = written_at(app.subject, found, position)
    columns = st.columns(3)
    with columns[0]:
        listed("It looks at", found.sources(position), "attention", percent=True)
    if found.logits is not None:
        with columns[1]:
            listed("It raises", raised, "logit", signed=True)
        with columns[2]:
            listed("It lowers", lowered, "logit", signed=True)
    _pattern(row, found, position)


def _attended(found: Looked, position: int) -> None:
    weights = found.pattern[position].tolist()
    tips = [f"position {place}: {weight:.1%} of the attention" for place, weight in enumerate(weights)]
    st.html(coloured(found.tokens, weights, tips, largest=max(weights), unit="of the attention", at=position))


def _pattern(row: Row, found: Looked, position: int) -> None:
    st.subheader("The pattern", anchor=False)
    start = max(0, min(position + 1 - WINDOW // 2, len(found.tokens) - WINDOW))
    stop = min(start + WINDOW, len(found.tokens))
    if stop - start < len(found.tokens):
        st.markdown(
            f"Positions {start} to {stop - 1} of {len(found.tokens)}, around the one chosen; the first counts as 0."
        )
    st.markdown("Queries go down, keys to the right; hover over a cell for its tokens.")
    window = found.pattern[start:stop, start:stop].numpy()
    charted(plots.attention(window, found.tokens[start:stop], title=row.title))
