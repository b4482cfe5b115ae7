"""The pages of the app, without a browser: what is asked and shown, and that no text on them is markup."""

import re
from collections.abc import Callable

import pytest
from report_cases import BIDI, SCRIPT, hostile

from hypotheses import toy
from scrubbing import ScrubbingError
from scrubbing.errors import NodeError
from scrubbing.report.app.served import Served, hand_over

testing = pytest.importorskip("streamlit.testing.v1")
pytest.importorskip("altair")

from scrubbing.report.app.views import PAGES  # noqa: E402
from scrubbing.report.app.views.parts import plain  # noqa: E402

pytestmark = pytest.mark.usefixtures("unchecked_throughout")

WAIT = 300  # seconds, of a machine that does other things too


def page_of(name: str) -> None:  # runs as a script of its own
    from scrubbing.report.app.served import handed_over
    from scrubbing.report.app.views import PAGES

    PAGES[name][1](handed_over())


@pytest.fixture(scope="module")
def served():
    return Served.of(hostile())


@pytest.fixture
def page(served) -> Callable:
    """A page of the app, opened."""

    def opened(name: str, app: Served = served):
        hand_over(app)
        return testing.AppTest.from_function(page_of, args=(name,), default_timeout=WAIT).run()

    return opened


def all_text(page) -> str:
    """What Streamlit would read as Markdown, and what it is given as HTML."""
    kinds = ("markdown", "caption", "error", "info", "header", "subheader", "warning")
    html = [found.proto.body for found in page.get("html")]
    return "\n".join([*html, *(str(found.value) for kind in kinds for found in page.get(kind))])


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens(name, page):
    opened = page(name)
    assert not opened.exception
    assert not opened.error
    assert len(opened.header) == 1
    shown = all_text(opened)
    assert not re.search(r"(?<!\\)<script", shown)
    assert not {BIDI, "\x1b"} & set(shown)


@pytest.mark.parametrize("name", PAGES)
def test_a_network_that_is_no_language_model_has_pages_too(name, page):
    opened = page(name, Served.of(toy.suite()))
    assert not opened.exception
    assert not opened.error


def test_another_node_and_another_value_are_another_loss(page, served):
    opened = page("replace")
    before = [metric.value for metric in opened.metric]
    opened.selectbox(key="node").select("a0_h1").run()
    opened.selectbox(key="way").select("resample").run()
    opened.number_input(key="stand_in").set_value(7).run()
    after = [metric.value for metric in opened.metric]
    assert not opened.exception
    assert before[0] == after[0]
    assert before[1:] != after[1:]
    keys = [key for key in served.memory._kept if key[0] == "change"]
    assert ("change", 0, "a0_h1", "resample", 7) in keys


def test_what_was_computed_is_not_computed_again(page, served, monkeypatch):
    page("replace")
    monkeypatch.setattr("scrubbing.report.app.views.replace.changed", None)
    assert not page("replace").exception


def test_every_node_is_replaced_when_asked(page):
    opened = page("replace")
    assert len(opened.button) == 1
    opened.button[0].click().run()
    assert not opened.exception
    assert not page("replace").button  # it is remembered


def test_ones_own_text(page):
    opened = page("replace")
    opened.radio(key="source").set_value("a text of your own").run()
    opened.text_area(key="text").set_value("abcabc").run()
    assert not opened.exception
    assert not opened.error
    opened.text_area(key="text").set_value(f"{SCRIPT}{SCRIPT}").run()
    assert "and rows have 9" in opened.error[0].value
    opened.selectbox(key="example").select("another").run()
    assert opened.text_area(key="text").value == "abcd"
    assert not opened.error


def test_a_hypothesis_is_scored_when_asked(page):
    opened = page("hypotheses")
    opened.button[0].click().run()
    assert not opened.exception
    recovered = next(metric for metric in opened.metric if metric.label == "Recovered")
    assert recovered.value.endswith("%")


def test_a_mistake_is_a_line(page, monkeypatch):
    def failing(*_: object, **__: object):
        raise NodeError("a0", ValueError(f"**{SCRIPT}**\nand more"))

    monkeypatch.setattr("scrubbing.report.app.views.replace.changed", failing)
    opened = page("replace", Served.of(hostile()))
    assert not opened.exception
    assert "raised ValueError\\: \\*\\*\\<script\\>" in opened.error[0].value
    assert "\n" not in opened.error[0].value
    assert issubclass(NodeError, ScrubbingError)


def test_no_character_of_a_text_is_markdown():
    assert plain("![a](http://b)") == "\\!\\[a\\]\\(http\\:\\/\\/b\\)"
    assert plain(f"a{BIDI}b") == "a\\\\u202eb"


def test_the_frame_names_the_pages_and_the_suite(served):
    from scrubbing.report.app.serving import SCRIPT as FILE

    hand_over(served)
    opened = testing.AppTest.from_file(FILE, default_timeout=WAIT).run()
    assert not opened.exception
    assert opened.header[0].value == "What a node does"
    assert opened.sidebar.markdown[0].value == plain(hostile().title)
