"""`scrubbing draw` and `scrubbing report`."""

import sys
from io import BytesIO, TextIOWrapper

import pytest
from command_line import command
from sampled import by_default

for needed in ("altair", "vl_convert", "PIL", "pygraphviz"):
    pytest.importorskip(needed)


@pytest.mark.parametrize("width", by_default([80, 120]))
def test_a_tree_fits_the_terminal(width, capsys, monkeypatch):
    lines = command(capsys, monkeypatch, width=width)("draw", "toy").out.splitlines()
    assert max(map(len, lines)) <= width
    assert "\x1b" not in "".join(lines)
    assert lines[:3] == ["an or of thresholds", "loss  D == y  [mixed]", "└── D  A | B  [mixed]"]


def test_a_tree_in_an_ascii_locale(scrubbing, monkeypatch):
    printed = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(printed, encoding="ascii", write_through=True))
    assert scrubbing("draw", "toy", "--only", "an exclusive or").status == 0
    lines = printed.getvalue().decode().splitlines()
    assert lines[2] == "`-- D  A ^ B  [mixed]"
    assert "".join(lines).isascii()


def test_a_picture_is_written(scrubbing, tmp_path):
    done = scrubbing("draw", "toy", "--only", "an exclusive or", "-o", tmp_path / "a.svg")
    assert (done.status, done.out, done.err) == (0, f"an exclusive or in {tmp_path / 'a.svg'}\n", "")
    assert "A ^ B" in (tmp_path / "a.svg").read_text()


def test_the_walk_of_a_row(scrubbing):
    done = scrubbing("draw", "toy", "--only", "an exclusive or", "--walk", 5)
    assert done.out.startswith("an exclusive or\nrow 5  loss\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["draw", "toy", "-o", "a.gif"], "'a.gif' names no picture; end it with one of .svg, .png, .dot, .mmd"),
        (["draw", "toy", "-o", "no/a.svg"], "no/a.svg cannot be written: there is no folder"),
        (
            ["draw", "toy", "-o", "a.svg"],
            "a.svg holds one picture, and 5 hypotheses are chosen; name one: --only 'an or",
        ),
        (["draw", "toy", "--walk", 1000], "reference=1000, but the data have rows 0 to 999"),
        (["report", "toy", "-o", "no/a.html"], "no/a.html cannot be written: there is no folder"),
        (["report", "toyy"], "there are no hypotheses called 'toyy'; did you mean 'toy'?"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(arguments, said, scrubbing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = scrubbing(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"scrubbing: {said}")
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_report_of_a_model_without_a_tokenizer(scrubbing, folder, tmp_path):
    page = tmp_path / "a.html"
    store = tmp_path / "store.db"
    arguments = ["report", "induction", "--model", folder, "--only", "naive/Q", "--store", store, "-o", page]
    done = scrubbing(*arguments)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("1 hypothesis in ")
    text = page.read_text()
    assert "naive/Q" in text
    assert "scrubbing report induction" in text
    assert "What the run was planned to take" in text
    assert len(text) < 5 * 2**20
    again = scrubbing(*arguments)  # from the record, which has no donors
    assert (again.status, again.err) == (0, "")
    assert "recorded" in page.read_text()
