"""Which pages there are, and the frame around them."""

from collections.abc import Callable, Mapping
from functools import partial

import streamlit as st

from scrubbing.report.app.served import Served
from scrubbing.report.app.views.about import about
from scrubbing.report.app.views.attend import attend
from scrubbing.report.app.views.circuit import circuit
from scrubbing.report.app.views.hypothesis import hypothesis
from scrubbing.report.app.views.parts import kept, plain
from scrubbing.report.app.views.replace import replace
from scrubbing.report.text import visible

PAGES: Mapping[str, tuple[str, Callable[[Served], None]]] = {
    "replace": ("What a node does", replace),
    "attention": ("Where a head looks", attend),
    "circuits": ("What a head is wired to do", circuit),
    "hypotheses": ("What is scrubbed", hypothesis),
    "about": ("What this is", about),
}


def show(app: Served) -> None:
    """The page that the address names."""
    st.set_page_config(page_title=f"{visible(app.suite.title)}, live", layout="wide")
    kept()
    pages = [st.Page(partial(page, app), title=title, url_path=name) for name, (title, page) in PAGES.items()]
    page = st.navigation(pages)
    st.sidebar.markdown(plain(app.suite.title))
    page.run()
