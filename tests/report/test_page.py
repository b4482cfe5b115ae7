"""The report: one file, which loads nothing, and in which nothing that is untrusted is markup."""

import base64
import hashlib
import io
import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from report_cases import BIDI, ESCAPE, SCRIPT, VOCABULARY, hostile, hostile_scores

from hypotheses import toy
from scrubbing import DataError, losses_by_position
from scrubbing.errors import MissingPackageError
from scrubbing.report import write_report
from scrubbing.report.attention import as_image, own_patterns
from scrubbing.report.page import page_of
from scrubbing.report.passages import Names

for needed in ("altair", "vl_convert", "PIL", "pygraphviz"):
    pytest.importorskip(needed)


class Parsed(HTMLParser):
    """The elements of a page, its text, and its scripts."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self.scripts, self._open = [], [], [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open = (tag, dict(attrs))

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open and self._open[0] == "script":
            self.scripts.append((self._open[1], data))
        elif not (self._open and self._open[0] == "style"):
            self.texts.append(data)

    @property
    def data(self):
        (text,) = [text for attributes, text in self.scripts if attributes.get("id") == "data"]
        return json.loads(text)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def page():
    return page_of(hostile_scores(), suite=hostile(), command=f"scrubbing report {SCRIPT}")


@pytest.fixture(scope="module")
def parsed(page):
    return Parsed(page)


def test_it_loads_nothing(parsed):
    for tag, attributes in parsed.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
    (policy,) = [a["content"] for tag, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe-eval" not in policy


def test_only_its_own_scripts_run(page, parsed):
    scripts = [text for attributes, text in parsed.scripts if attributes.get("type") != "application/json"]
    (policy,) = [a["content"] for tag, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy"]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes
    assert len(hashes) == 2
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)


def test_untrusted_text_is_text(page, parsed):
    assert SCRIPT not in page
    for character in (BIDI, ESCAPE, "\x1b"):
        assert character not in page
    assert page.count("<script") == 3 + page.count('"<script')
    assert SCRIPT in parsed.text  # people can read it
    assert "\\u202e" in parsed.text
    assert "a table \\u202e" in parsed.text
    assert f"(a source {SCRIPT})" in parsed.text
    assert "{{ 7 * 7 }}".replace(" ", "·") in {word[0] for word in words(parsed)}


def words(parsed):
    return [word for section in parsed.data["sections"].values() for p in section["passages"] for word in p["words"]]


def test_tokens_are_shown_as_they_are():
    names = Names(VOCABULARY)
    assert [names(i) for i in range(5)] == [SCRIPT.replace(" ", "·"), "\\u202eevil", "\\x1b[2Jgone", "·a", "↵"]
    assert Names()(7) == "7"
    assert names(999) == "999"


def test_losses_of_words_are_those_of_the_runs(parsed):
    case, score = hostile().cases[0], next(iter(hostile_scores().values()))
    for found in parsed.data["sections"]["h0"]["passages"]:
        scrubbed = losses_by_position(case.hypothesis, case.data, references=[found["row"]], seed=score.seed)[0]
        assert [word[1][1] for word in found["words"]] == [round(float(loss), 3) for loss in scrubbed]
        recorded = score.by_reference
        at = recorded.reference.index(found["row"])
        weights = case.data["weights"][found["row"]].numpy()
        own = np.array([word[1][0] for word in found["words"]])
        assert (own * weights).sum() == pytest.approx(recorded.original[at], abs=0.01)
        assert (scrubbed.numpy() * weights).sum() == pytest.approx(recorded.scrubbed[at], abs=0.01)
        assert all(0.99 < sum(p for _, p in top) <= 1.001 or len(top) < len(VOCABULARY) for *_, top in found["words"])


def test_the_worst_reference_comes_first(parsed):
    score = next(iter(hostile_scores().values()))
    assert parsed.data["sections"]["h0"]["passages"][0]["row"] == score.worst(1)["reference"][0]


def test_attention_of_both_runs(parsed):
    entries = parsed.data["sections"]["h0"]["attention"]
    shown = {(e["run"], e["node"], e["head"]) for e in entries}
    assert ("original", "a1_h0_pattern", 0) in shown
    assert ("original", "a0_h2", 0) in shown  # a whole head
    assert {(node, head) for run, node, head in shown if run == "scrubbed"} == {("a1_h0_pattern", 0)}
    assert all(parsed.data["images"][e["image"]].startswith("data:image/png;base64,") for e in entries)


def test_a_whole_head_has_the_pattern_of_its_parts():
    G, data = hostile().cases[0].hypothesis.G, hostile().cases[0].data
    whole = own_patterns(G.origin, data, [0, 3])["a1_h0"]
    assert torch.allclose(whole, own_patterns(G, data, [0, 3])["a1_h0_pattern"])
    assert torch.allclose(whole.sum(-1), torch.ones(()))


def test_an_image_holds_its_pattern():
    from PIL import Image

    pattern = np.array([[1.0, 0.0], [0.25, 0.75]])
    image = Image.open(io.BytesIO(base64.b64decode(as_image(pattern).partition(",")[2])))
    assert np.allclose(np.asarray(image) / 255, pattern, atol=1 / 500)


def test_numbers_are_those_of_the_scores(parsed):
    for name, score in hostile_scores().items():
        assert f"{100 * score.recovered:.1f}%" in parsed.text, name
        assert f"{score.scrubbed:.4f}" in parsed.text
    rows = parsed.data["charts"]["chart"]["layer"][-1]["data"]["values"]
    assert [row["published"] for row in rows] == [50, None]
    first = next(iter(hostile_scores().values()))
    assert rows[0]["recovered"] == pytest.approx(100 * first.recovered)


def test_hashes_and_how_to_run_it_again(parsed):
    assert "ab" * 32 in parsed.text
    assert f"scrubbing report {SCRIPT}" in parsed.text


def test_scores_alone_make_a_page():
    scores = {"a score of no suite": toy.suite().cases[1].score(references=50)}
    text = Parsed(page_of(scores)).text
    assert "a score of no suite" in text
    assert "Token by token" not in text


def test_a_score_without_donors_has_a_page():
    case = toy.suite().cases[1]
    page = page_of({case.name: case.score(exact=True)}, suite=toy.suite())
    assert "visit by visit" in page


def test_a_thousand_hypotheses_are_rows():
    one = toy.suite().cases[1].score(references=20)
    scores = {f"{'n' * 200} {i}": one for i in range(1000)}
    page = page_of(scores)
    assert page.count("<tr data-name=") == 1000
    assert "940 more hypotheses are in the table alone" in page
    assert len(page) < 5 * 2**20


def test_nothing_is_half_written(tmp_path):
    score = {"one": toy.suite().cases[1].score(references=20)}
    with pytest.raises(DataError, match=r"^a report needs at least one score$"):
        write_report({}, tmp_path / "a.html")
    with pytest.raises(DataError, match="cannot be written: there is no folder"):
        write_report(score, tmp_path / "no" / "a.html")
    with pytest.raises(DataError, match="it is a folder"):
        write_report(score, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["altair", "vl_convert", "PIL"])
def test_without_a_package_a_line_says_what_to_install(module, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=r"pip install 'scrubbing\[report\]'$"):
        write_report({"one": toy.suite().cases[1].score(references=20)}, tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


def test_without_pygraphviz_pictures_are_text(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    case = toy.suite().cases[1]
    text = Parsed(page_of({case.name: case.score(references=20)}, suite=toy.suite())).text
    assert "pip install 'scrubbing[pictures]'" in text
    assert "└── D" in text
