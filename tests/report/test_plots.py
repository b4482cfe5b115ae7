"""Plots show the numbers that they are given."""

import sys

import numpy as np
import pandas as pd
import pytest

from scrubbing import DataError
from scrubbing.errors import MissingPackageError
from scrubbing.report import plots

pytest.importorskip("altair")

VALUES = np.arange(6.0).reshape(2, 3) - 2


def rows_of(chart):
    return chart.to_dict()["data"]["values"]


def test_a_heat_map_has_each_head():
    rows = rows_of(plots.heat_map(VALUES, value="effect"))
    assert {(row["layer"], row["head"]): row["effect"] for row in rows} == dict(np.ndenumerate(VALUES))


def test_a_scatter_has_each_row_and_the_diagonal():
    frame = pd.DataFrame({"a.b": [1.0, 2.0], "y": [3.0, 5.0], "of": ["x", "<script>\u202e"]})
    lines, points = plots.scatter(frame, "a.b", "y", by="of").to_dict()["layer"]
    assert points["data"]["values"] == [{"a.b": 1, "y": 3, "of": "x"}, {"a.b": 2, "y": 5, "of": "<script>\\u202e"}]
    assert points["encoding"]["x"]["field"] == "a\\.b"  # a dot would be a path
    assert lines["data"]["values"] == [{"at": 1}, {"at": 5}]


def test_quantile_lines_rise():
    sample = np.random.default_rng(0).normal(size=500)
    rows = rows_of(plots.quantile_lines({"one": sample}))
    found = [row["loss added (nats)"] for row in rows]
    assert found == sorted(found)
    assert np.isclose(np.interp(0.5, [row["share"] for row in rows], found), np.median(sample), atol=0.02)


def test_stacked_bars_have_each_part():
    frame = pd.DataFrame({"x": [1, 2], "y": [3, 4], "text": ["no", "number"]}, index=["first", "second"])
    rows = rows_of(plots.stacked_bars(frame))
    assert [(row["bar"], row["part"], row["loss added"]) for row in rows] == [
        ("first", "x", 1), ("first", "y", 3), ("second", "x", 2), ("second", "y", 4)
    ]  # fmt: skip


def test_a_passage_breaks_where_its_text_does():
    chart = plots.passage([" def", " f():\n", "\x1b[2J"], np.array([0.5, -1.0, np.nan])).to_dict()
    rows = chart["data"]["values"]
    assert [(row["token"], row["line"]) for row in rows] == [("·def", 0), ("·f():↵", 0), ("\\x1b[2J", 1)]
    assert rows[0]["to"] == rows[1]["from"] == 4


def test_an_attention_pattern_has_each_key_that_is_attended_to():
    rows = rows_of(plots.attention(np.array([[1.0, 0.0], [0.25, 0.75]]), ["a", "b"]))
    assert [(row["query"], row["key"], row["attention"]) for row in rows] == [(0, 0, 1), (1, 0, 0.25), (1, 1, 0.75)]
    assert rows[1]["at"] == "b"


def test_large_patterns_are_no_mistake():
    plots.attention(np.full((72, 72), 0.1)).to_dict()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: plots.heat_map(VALUES[0]), "heat_map needs an array of 2 axes"),
        (lambda: plots.heat_map(np.empty((0, 3))), "that is not empty"),
        (lambda: plots.passage(["a"], VALUES[0]), "passage needs a value for each token, and got 3 for 1"),
        (lambda: plots.attention(VALUES, ["a"]), r"a pattern of shape \[2, 3\] and 1 tokens"),
        (lambda: plots.scatter(pd.DataFrame({"x": [1]}), "x", "y"), "the table has no column 'y'; it has x"),
        (lambda: plots.stacked_bars(pd.DataFrame({"x": ["a"]})), "one column of numbers"),
    ],
)
def test_what_cannot_be_plotted_is_said(call, said, unchecked):
    with pytest.raises(DataError, match=said):
        call()


def test_without_altair_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'scrubbing\[report\]'$"):
        plots.heat_map(VALUES)
