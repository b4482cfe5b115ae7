"""The page that says what is shown: model, data, hashes."""

from collections.abc import Mapping

import streamlit as st

from scrubbing.report.app.served import Served
from scrubbing.report.app.views.parts import plain, tabulated
from scrubbing.report.text import visible


def about(app: Served) -> None:
    """What the app was started on."""
    st.header("What this is", anchor=False)
    subject = app.subject
    rows = {"network": f"{len(subject.G)} nodes, {len(subject.heads)} heads", "rows of data": f"{subject.rows:,}"}
    for name, value in app.suite.about.items():
        if isinstance(value, Mapping):
            rows |= {f"{name}: {key}": str(held) for key, held in value.items()}
        else:
            rows[name] = str(value)
    tabulated("", ["is"], [(visible(name), visible(value)) for name, value in rows.items()], first="what")
    for note in app.suite.notes:
        st.info(plain(note))
