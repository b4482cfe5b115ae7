"""The report of a test run gives back the scores that went into it, each once, whoever asked."""

import json
import math

import pytest

from hypotheses import toy
from scrubbing import DataError
from scrubbing.graph.fingerprint import digest
from scrubbing.store.record import data_hash
from scrubbing.testing.report import SHOWN_TESTS, Report
from scrubbing.testing.scores import Options, Scores

A, B = toy.case("an or of thresholds"), toy.case("a threshold too high")


@pytest.fixture(scope="module")
def scores() -> Scores:
    scores = Scores(Options(references=200))
    scores.of([A], {}, test="t.py::one")
    scores.of([A, B], {}, test="t.py::two")
    return scores


def test_each_score_stands_there_once_with_the_tests_that_asked(scores):
    found = json.loads(Report.of(scores).to_json())
    assert found["schema"] == "scrubbing.tests/1"
    assert [(entry["score"]["name"], entry["tests"]) for entry in found["scores"]] == [
        (A.name, ["t.py::one", "t.py::two"]),
        (B.name, ["t.py::two"]),
    ]
    assert found["scores"][0]["hypothesis"] == digest(A.hypothesis)
    assert found["scores"][0]["data"] == data_hash(A.data)


def test_a_report_gives_scores_to_compare(scores):
    report = Report.of(scores)
    back = Report.model_validate_json(report.to_json())
    assert back == report
    a, b = (entry.score for entry in back.scores)
    assert a > b


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_json_does_not_have_come_back(number, scores):
    report = Report.of(scores)
    entry = report.scores[0]
    odd = entry.model_copy(update={"score": entry.score.model_copy(update={"variance_within": number})})
    text = report.model_copy(update={"scores": (odd,)}).to_json()
    json.loads(text, parse_constant=pytest.fail)
    back = Report.model_validate_json(text).scores[0].score.variance_within
    assert repr(back) == repr(number)


def test_another_version_is_refused(scores):
    text = Report.of(scores).to_json().replace("scrubbing.tests/1", "scrubbing.tests/2")
    with pytest.raises(ValueError, match=r"scrubbing\.tests/1"):
        Report.model_validate_json(text)


def test_what_two_processes_scored_stands_in_their_report_once(scores):
    elsewhere = Scores(Options(references=200))
    elsewhere.of([A, B], {}, test="t.py::three")
    elsewhere.of([A], {"seed": 1}, test="t.py::three")
    found = Report.merged([Report.of(scores), Report.of(elsewhere)])
    assert [(entry.score.name, entry.score.seed, entry.tests) for entry in found.scores] == [
        (A.name, 0, ("t.py::one", "t.py::two", "t.py::three")),
        (B.name, 0, ("t.py::two", "t.py::three")),
        (A.name, 1, ("t.py::three",)),
    ]
    assert Report.merged([]) == Report()
    assert Report.merged([found, found]) == found


def test_a_file_is_whole_or_not_there(scores, tmp_path, monkeypatch):
    report, path = Report.of(scores), tmp_path / "out.json"
    report.write(path)
    assert Report.model_validate_json(path.read_text()) == report
    path.write_text("old")
    monkeypatch.setattr(
        "pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(DataError, match=r"out.json cannot be written: No space left on device$"):
        report.write(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_table_has_each_test_and_what_it_asked_for(scores):
    lines = list(Report.of(scores).lines())
    a, b = (asked.score for asked in scores)
    assert lines == [
        "t.py::one",
        f"  {A.name}   {str(a).split('   ')[0]}, 200 references",
        "t.py::two",
        f"  {A.name}    {str(a).split('   ')[0]}, 200 references",
        f"  {B.name}   {str(b).split('   ')[0]}, 200 references",
    ]


def test_a_long_table_is_cut_unless_all_is_asked_for():
    many = Scores(Options(references=20))
    for i in range(SHOWN_TESTS + 2):
        many.of([A], {}, test=f"t.py::test[\x1b{i}]")
    report = Report.of(many)
    lines = list(report.lines())
    assert lines[0] == "t.py::test[\x1b0]"
    assert lines[-1] == "and 2 more tests; -v shows them all"
    assert len(lines) == 2 * SHOWN_TESTS + 1
    assert len(list(report.lines(all_tests=True))) == 2 * (SHOWN_TESTS + 2)
