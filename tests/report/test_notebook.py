"""What notebooks show of everything that a user holds."""

from html.parser import HTMLParser

import pytest
from report_cases import SCRIPT
from scores import HALF

from hypotheses import toy
from scrubbing import attribute_loss, baseline_ladder, compare, explain, single_swaps, worst_donors
from scrubbing.score.tables import Printed

pytest.importorskip("pygraphviz")

CASE = toy.case("a threshold too high")
ARGUMENTS = (CASE.hypothesis, CASE.data)


def a_score():
    return CASE.score(references=50)


HELD = {
    "graph": lambda: CASE.hypothesis.G,
    "hypothesis": lambda: CASE.hypothesis,
    "score": a_score,
    "comparison": lambda: compare(toy.suite().score(references=50)),
    "attribution": lambda: attribute_loss(*ARGUMENTS, baseline=CASE.baseline, references=50),
    "swaps": lambda: single_swaps(*ARGUMENTS, a_score()),
    "worst case": lambda: worst_donors(*ARGUMENTS, references=5, exact=True),
    "cost": lambda: explain(CASE.hypothesis, CASE.data, baseline=CASE.baseline),
}


class Text(HTMLParser):
    """What an HTML text says."""

    def __init__(self, html):
        super().__init__()
        self.text, self.tags = "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("name", HELD)
def test_html_and_plain_text_beside_it(name):
    value = HELD[name]()
    shown = value._repr_mimebundle_(include=None, exclude=None)
    assert shown["text/plain"].strip() in (str(value).strip(), repr(value).strip())
    found = Text(shown["text/html"])
    assert "svg" in found.tags or "td" in found.tags
    assert "script" not in found.tags


def test_a_score_says_its_percentage_and_readings():
    score = a_score()
    text = Text(score._repr_mimebundle_()["text/html"]).text
    assert f"{100 * score.recovered:.1f}% recovered" in text
    assert f"{score.readings['absolute_change'].value:.4g}" in text


def test_a_result_without_a_table_in_html_is_shown_as_text():
    ladder = baseline_ladder(*ARGUMENTS, {"its own": CASE.baseline}, references=50)
    assert ladder._repr_mimebundle_() == {"text/plain": str(ladder)}


@pytest.mark.parametrize("result", Printed.__subclasses__(), ids=lambda result: result.__name__)
def test_a_prompt_shows_the_table(result):
    assert result.__repr__ is Printed.__repr__
    assert result.__str__ is Printed.__str__


def test_names_are_text():
    html = HALF.model_copy(update={"name": SCRIPT})._repr_mimebundle_()["text/html"]
    assert SCRIPT not in html
    assert SCRIPT in Text(html).text
