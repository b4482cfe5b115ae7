"""What the command line records, lists, compares and exports; what stands in a store cannot steer a terminal."""

import json
import sqlite3
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from command_line import Finished, command

from hypotheses import toy
from scrubbing import save_record, scrub
from scrubbing.cli import places
from scrubbing.cli.commands import app
from scrubbing.cli.recorded import history_table
from scrubbing.store import Store

COMMANDS = ("score", "history", "compare", "export")  # those with a store


@pytest.fixture
def scrubbing(capsys, monkeypatch) -> Callable[..., Finished]:
    """The command, in this process, on a terminal of 80 columns."""
    return command(capsys, monkeypatch, width=80)


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    """The store that the environment names."""
    monkeypatch.setenv(places.VARIABLE, str(tmp_path / "store.db"))
    return tmp_path / "store.db"


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The user's data folder, where the environment names no store."""
    monkeypatch.delenv(places.VARIABLE)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(places, "user_data_path", lambda name, **_: tmp_path / "home" / name)
    return tmp_path / "home" / "scrubbing" / "store.db"


# -- score


def test_a_run_is_recorded_and_then_answered(scrubbing, file, tmp_path):
    first = scrubbing("score", "toy", "--json", tmp_path / "first.json")
    assert (first.status, first.err) == (0, "")
    assert "recorded" not in first.out
    again = scrubbing("score", "toy", "--json", tmp_path / "again.json")
    assert (again.status, again.err) == (0, "")
    assert again.out.startswith(first.out)
    assert "and not computed again (--recompute would)" in again.out
    before, after = (json.loads((tmp_path / name).read_text()) for name in ("first.json", "again.json"))
    assert "recorded" not in before["settings"]
    assert after["settings"].pop("recorded").startswith("20")
    assert after == before
    assert len(Store(file).history()) == len(toy.CLAIMS)
    assert {entry.suite for entry in Store(file).history()} == {"toy"}
    assert scrubbing("score", "toy", "--recompute").out == first.out
    assert len(Store(file).history()) == 2 * len(toy.CLAIMS)


def test_the_store_is_the_users_unless_another_is_named(scrubbing, home, tmp_path):
    assert scrubbing("score", "toy", "--only", "an exclusive or").err == ""
    assert len(Store(home).history()) == 1
    scrubbing("score", "toy", "--store", tmp_path / "mine.db")
    assert (len(Store(home).history()), len(Store(tmp_path / "mine.db").history())) == (1, 5)


@pytest.mark.parametrize("off", ["option", "variable"])
def test_the_store_can_be_turned_off(off, scrubbing, home, monkeypatch):
    if off == "variable":
        monkeypatch.setenv(places.VARIABLE, "off")
    finished = scrubbing("score", "toy", *(["--no-store"] if off == "option" else []))
    assert (finished.status, finished.err) == (0, "")
    assert not home.exists()
    finished = scrubbing("history")
    assert finished.status == 2
    assert ("turns the store off; name a file with --store FILE" in finished.err) == (off == "variable")


def test_a_default_store_that_cannot_be_used_is_a_line_and_no_more(scrubbing, home):
    home.parent.parent.write_text("a file where a folder should be")
    finished = scrubbing("score", "toy")
    assert finished.status == 0
    assert "original loss" in finished.out
    assert finished.err.startswith(f"scrubbing: nothing will be recorded: the store {home} cannot be made")
    assert finished.err.count("\n") == 1


def test_a_named_store_that_cannot_be_used_is_a_mistake(scrubbing, file):
    file.write_text("no database" * 100)
    finished = scrubbing("score", "toy")
    assert (finished.status, finished.out) == (2, "")
    assert finished.err == (
        f"scrubbing: the store {file} is damaged (file is not a database); move it away, and the next run begins a "
        "new one (`sqlite3 store.db .recover` writes down what is left of it)\n"
    )
    finished = scrubbing("score", "toy", "--store", file, "--no-store")
    assert "--store names a file and --no-store asks for none" in finished.err


def test_warnings_are_lines(scrubbing, file):
    scrubbing("score", "toy")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE scores SET losses = '{}' WHERE id = 2")
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as outside of tests
        finished = scrubbing("score", "toy")
    assert finished.status == 0
    assert finished.err == "scrubbing: computed anew: score 2 cannot be read: its content is not what was written\n"


def test_references_are_drawn_where_a_suite_names_none(scrubbing, file):
    finished = scrubbing("score", "toy", "--references", 50)
    assert (finished.status, finished.err) == (0, "")
    assert "50 references" in finished.out


# -- history


def test_the_history_fits_a_terminal(scrubbing, file):
    scrubbing("score", "toy")
    finished = scrubbing("history")
    lines = finished.out.splitlines()
    assert max(map(len, lines)) <= 80
    entry = Store(file).history()[0]
    assert lines[0].endswith(f"toy   1000 references, seed 0, model {entry.model[:6]}, data {entry.data[:6]}")
    assert lines[1].split("  ")[:2] == ["1", "an or of thresholds"]
    assert "100.2%  99.9 to 100.4" in lines[1]
    assert lines[1].endswith("loss 0.002461")
    assert lines[-1] == f"5 different hypotheses of {entry.suite} were tried on model {entry.model[:6]}"
    assert len(scrubbing("history", "--last", 2).out.splitlines()) == 5
    assert "an exclusive or" in scrubbing("history", "--name", "an exclusive or").out
    assert scrubbing("history", "--suite", "other").out == "no scores that fit are recorded\n"


HOSTILE = "\x1b[2Jnaive\x07 [red]evil[/red] \u202eesrever\n[link=http://x]l[/link]"


def test_text_from_a_store_cannot_steer_a_terminal(scrubbing, file):
    hypotheses = {HOSTILE: toy.case("an exclusive or").hypothesis}
    scrub(hypotheses, toy.digits(), baseline=toy.KNOWS_NOTHING, store=Store(file, suite="\x1b]0;title\x07"))
    shown = scrubbing("history").out
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert r"\x1b]0;title\x07" in shown
    whole = "".join(shown.split())
    assert "[red]evil[/red]" in whole
    assert r"\x1b[2Jnaive\x07" in whole
    assert r"\u202eesrever\n[link=http://x]" in whole
    scrub({"plain": toy.case("an or of thresholds").hypothesis}, toy.digits(), baseline=toy.KNOWS_NOTHING, store=file)
    compared = scrubbing("compare", 1, 2).out
    assert all(c.isprintable() or c == "\n" for c in compared)
    assert "[red]evil[/red]" in "".join(compared.split())
    missing = scrubbing("compare", "\x1b[2J", 1)
    assert all(c.isprintable() or c == "\n" for c in missing.err)


# -- compare


def test_scores_are_compared_on_their_references(scrubbing, file):
    scrubbing("score", "toy")
    finished = scrubbing("compare", 5, 1, 4)
    assert (finished.status, finished.err) == (0, "")
    lines = finished.out.splitlines()
    assert max(map(len, lines)) <= 80
    shown = [line.split() for line in lines if line.split()[:1] and line.split()[0].isdecimal()]
    assert [" ".join(words) for words in shown] == [
        "1 an or of thresholds 100.2 a",
        "2 a threshold too high 63.5 36.7 [28.4, 46.1] <0.001 b",
        "3 an exclusive or 21.9 78.2 [68.2, 89.3] <0.001 c",
    ]


def test_what_was_tried_and_is_not_shown_counts(scrubbing, file):
    scrubbing("score", "toy", "--only", "an or of thresholds", "--only", "an exclusive or")
    assert "p: 1 paired t test, Holm's correction" in scrubbing("compare", 1, 2).out
    scrubbing("score", "toy")
    found = scrubbing("compare", 1, 2).out
    assert "p: 10 paired t tests, Holm's correction" in found
    assert "counted: 5 hypotheses tried, 2 of them shown" in found
    assert "p: 66 paired t tests" in scrubbing("compare", 1, 2, "--tried", 12).out
    finished = scrubbing("compare", 1, 2, "--tried", 1)
    assert finished.err == "scrubbing: tried=1, but 2 scores are given, and each was tried (at most 2147483648)\n"


def test_hypotheses_tried_on_other_data_do_not_count(scrubbing, file):
    scrubbing("score", "toy")
    hypotheses = {name: toy.case(name).hypothesis for name in ("an or of thresholds", "an exclusive or")}
    fewer = {name: column[:500] for name, column in toy.digits().items()}
    scrub(hypotheses, fewer, baseline=toy.KNOWS_NOTHING, store=file)
    assert "p: 1 paired t test, " in scrubbing("compare", 6, 7).out


def test_scores_of_one_name_are_told_apart_by_their_ids(scrubbing, file):
    scrubbing("score", "toy", "--only", "an exclusive or")
    scrubbing("score", "toy", "--only", "an exclusive or", "--recompute")
    found = scrubbing("compare", 1, 2)
    assert (found.status, found.err) == (0, "")
    assert "an exclusive or (1)" in found.out
    assert "an exclusive or (2)" in found.out
    assert "0.0 [0.0, 0.0]  1.000" in found.out


def test_records_are_compared_as_well(scrubbing, file, tmp_path):
    scrubbing("score", "toy", "--dtype", "float64")
    case = toy.case("an exclusive or")
    save_record(tmp_path / "xor.json", case.hypothesis, case.data, case.score())
    found = scrubbing("compare", 5, tmp_path / "xor.json").out
    assert "0.0 [0.0, 0.0]  1.000" in found
    assert "p: 10 paired t tests" in found
    save_record(tmp_path / "or.json", case.hypothesis, case.data, toy.case("an or of thresholds").score())
    assert "p: 1 paired t test, " in scrubbing("compare", tmp_path / "or.json", tmp_path / "xor.json").out
    save_record(tmp_path / "unscored.json", case.hypothesis, case.data)
    assert "records a hypothesis that was not scored" in scrubbing("compare", 5, tmp_path / "unscored.json").err


def test_what_cannot_be_compared_is_one_line(scrubbing, file, tmp_path):
    scrubbing("score", "toy", "--json", tmp_path / "scores.json")
    scrubbing("score", "toy", "--seed", 1, "--only", "an exclusive or")
    for arguments, message in {
        (1, 6): "only scores on the same references and seed can be compared",
        (1,): "1 score given, but only two or more can be compared",
        (1, 2, 1): "the score '1' is given twice; give each of those to compare once",
        (1, 7): "there is no score 7; the last is 6 (see `scrubbing history`)",
        (1, "nothing"): "'nothing' is neither the id of a score (see `scrubbing history`) nor a file",
        (1, tmp_path / "scores.json"): "compare takes ids of the history, or files that save_record wrote",
    }.items():
        finished = scrubbing("compare", *arguments)
        assert (finished.status, finished.out) == (2, "")
        assert message in finished.err
        assert finished.err.count("\n") == 1


# -- export


@pytest.mark.parametrize(("ending", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
def test_scores_are_exported(ending, read, scrubbing, file, tmp_path):
    scrubbing("score", "toy")
    path = tmp_path / f"scores.{ending}"
    said = "".join(scrubbing("export", path).out.split())  # long paths are wrapped
    assert said == f"5rowsin{path}"
    assert list(read(path)["name"]) == list(toy.CLAIMS)
    scrubbing("export", path, "--by-reference", "--last", 2)
    assert len(read(path)) == 2000


def test_an_export_that_cannot_be_is_one_line(scrubbing, file, tmp_path):
    scrubbing("score", "toy")
    for path, message in {
        "a.xlsx": "an export is a .csv or a .parquet file",
        "none/a.csv": "there is no folder",
    }.items():
        finished = scrubbing("export", tmp_path / path)
        assert (finished.status, finished.out) == (2, "")
        assert message in finished.err


# -- help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_by_an_example(command, scrubbing):
    finished = scrubbing(command, "--help")
    assert finished.status == 0
    assert f"scrubbing {command} " in finished.out
    assert "--store" in finished.out


def test_every_command_is_listed(scrubbing):
    others = {"app", "draw", "explain", "list", "merge", "report"}
    assert {command.name for command in app.registered_commands} == {*COMMANDS, *others}


def test_an_empty_history_says_so():
    assert str(history_table([], {})) == "no scores that fit are recorded"
