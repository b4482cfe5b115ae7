"""What the pages share: text that is no markup, the choice of a row, lists, and what is said while one waits."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import streamlit as st

from scrubbing.errors import ScrubbingError
from scrubbing.report.app.looking import Named
from scrubbing.report.app.rows import Row, row_of_data, row_of_text, why_no_text
from scrubbing.report.app.served import Served
from scrubbing.report.app.subject import Head
from scrubbing.report.picture import templates
from scrubbing.report.tables import without_style
from scrubbing.report.text import visible

OF_DATA, OF_TEXT = "a row of the data", "a text of your own"
KEPT = ("source", "row", "text", "node", "way", "stand_in", "head", "case")  # stay as they are from page to page
MARKUP = set("\\`*_{}[]()<>#+-.!|~:$&=^\"'/@")
T = TypeVar("T")


def plain(text: str) -> str:
    r"""Text as Streamlit shows it where it reads Markdown: no character of it is markup.

    >>> print(plain("<b> a*b"))
    \<b\> a\*b
    """
    return "".join(f"\\{c}" if c in MARKUP else c for c in visible(text))


@contextmanager
def told() -> Iterator[None]:
    """A mistake is a line on the page, and the page ends there."""
    try:
        yield
    except ScrubbingError as error:
        st.error(plain(" ".join(str(error).split())))
        st.stop()


def recalled(app: Served, key: Hashable, what: str, make: Callable[[], T]) -> T:
    """What was computed before, or is now: `what` says so meanwhile."""
    if key in app.memory:
        return app.memory.recalled(key, make)
    with st.spinner(what):
        return app.memory.recalled(key, make)


def kept() -> None:
    """Streamlit forgets what is chosen on a page that is left, unless it is said again."""
    for key in KEPT:
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]


def chosen_row(app: Served) -> Row:
    """The row to look at: of the data, or one's own text."""
    why = why_no_text(app.subject)
    source = OF_DATA if why else st.radio("Look at", [OF_DATA, OF_TEXT], horizontal=True, key="source")
    if source == OF_DATA:
        return row_of_data(app.subject, chosen_number(app, "Row", "row", app.subject.first_row, help_=why or None))
    _examples(app)
    text = st.text_area(
        "Your text", key="text", height=110, help="Tokens that the tokenizer does not know are left out."
    )
    with told():
        return row_of_text(app.subject, text)


def chosen_number(app: Served, label: str, key: str, first: int, *, help_: str | None = None) -> int:
    """The number of a row."""
    st.session_state.setdefault(key, min(first, app.subject.rows - 1))
    last = app.subject.rows - 1
    return int(st.number_input(f"{label} (0 to {last})", 0, last, step=1, key=key, help=help_ and plain(help_)))


def _examples(app: Served) -> None:
    examples = app.suite.examples
    if not examples:
        st.session_state.setdefault("text", "")
        return
    names = list(examples)
    st.session_state.setdefault("text", examples[names[0]])

    def taken() -> None:
        st.session_state["text"] = examples[st.session_state["example"]]

    st.selectbox("Example", names, key="example", on_change=taken, format_func=visible)


def chosen_head(app: Served) -> Head | None:
    """A head; None where the network has none, which is said."""
    heads = app.subject.heads
    if not heads:
        st.info("This network has no attention heads.")
        return None
    if "head" not in st.session_state:
        st.session_state["head"] = heads[-1]
    return st.selectbox("Head", heads, key="head", format_func=lambda head: visible(str(head)))


def chosen_position(row: Row, key: str, first: int) -> int:
    """A position of the row; at first the one that there is most to see at."""
    if row.length < 2:
        return 0
    return int(st.slider("Position", 0, row.length - 1, min(first, row.length - 1), key=f"{key} {row.title} {first}"))


def listed(title: str, rows: Named, unit: str, *, signed: bool = False, percent: bool = False) -> None:
    """A short table of tokens and numbers."""
    form = "{:.1%}" if percent else "{:+.3f}" if signed else "{:.3f}"
    tabulated(title, [unit], [(name, form.format(value)) for name, value in rows])


def tabulated(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], first: str = "token") -> None:
    """A table whose first column is names; nothing in it is read as markup."""
    st.html(templates.get_template("listing.html.j2").render(title=title, columns=columns, rows=rows, first=first))


def charted(chart: Any) -> None:
    """A chart in the colours of the reader's theme."""
    spec = without_style(chart)
    spec["config"] = {"legend": {"orient": "bottom"}, "view": {"stroke": None}}
    spec["autosize"] = {"type": "pad"}  # Streamlit would fit legend and title into the size of the cells
    st.vega_lite_chart(spec=spec, width="content")
