"""Where output goes, and what becomes of it there: pipes that close, full disks, narrow terminals, old encodings."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Finished, command
from rich.table import Table
from rich.text import Text
from sampled import by_default

from hypotheses import toy
from scrubbing.cli import output, running
from scrubbing.cli.running import one_line, status_of
from scrubbing.errors import printable
from scrubbing.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("store") / "store.db"
    toy.suite().score(store=Store(path), references=20)
    return path


@pytest.fixture
def shell(store, tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """A line of shell in which $scrubbing is the command, with these variables."""
    root = Path(__file__).parent.parent.parent

    def run(line: str, **variables: str) -> subprocess.CompletedProcess:
        environment = {
            **os.environ,
            "PYTHONPATH": str(root),
            "SCRUBBING_STORE": str(store),
            "scrubbing": f"{sys.executable} -m scrubbing",
            **variables,
        }
        return subprocess.run(
            ["bash", "-c", line], capture_output=True, check=False, env=environment, cwd=tmp_path, timeout=120
        )

    return run


@pytest.mark.parametrize("line", ["history", "--help", "list"])
def test_whoever_stops_reading_is_not_told_of_it(line, shell):
    done = shell(f"$scrubbing {line} | true; exit ${{PIPESTATUS[0]}}")
    assert done.stderr == b""
    assert done.returncode in (0, 141)  # all of it may have gone out before


def test_results_are_written_before_they_are_printed(shell, tmp_path):
    done = shell("$scrubbing score toy --references 9 --json r.json --store s.db > /dev/full")
    assert done.stderr == b"scrubbing: the results could not be printed: No space left on device\n"
    assert done.returncode == 74
    assert len(json.loads((tmp_path / "r.json").read_text())["hypotheses"]) == 5
    assert len(Store(tmp_path / "s.db").history()) == 5


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("$scrubbing history >&-", 74, "standard output is closed"),
        ("$scrubbing --help > /dev/full", 74, "No space left on device"),
        ("$scrubbing --version > /dev/full", 74, "No space left on device"),
        ("$scrubbing histor 2>&-", 2, ""),
        ("$scrubbing histor 2>/dev/full", 2, ""),
        ("$scrubbing history <&- >/dev/null", 0, ""),
        ("mkdir gone; cd gone; rmdir ../gone; $scrubbing score toy --json x.json", 2, "x.json cannot be written"),
    ],
)
def test_where_nothing_can_be_written_a_status_says_so(line, status, said, shell):
    done = shell(line)
    assert (done.returncode, done.stdout) == (status, b"")
    assert done.stderr.count(b"\n") == bool(said)
    assert said in done.stderr.decode()


@pytest.mark.parametrize("encoding", by_default(["ascii", "ascii:strict", "latin-1"]))
def test_what_an_encoding_lacks_is_written_out(encoding, shell):
    variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": encoding}
    done = shell("$scrubbing history && $scrubbing score --help && $scrubbing history --store 'é\xff'", **variables)
    assert done.returncode == 2
    assert b"an exclusive or" in done.stdout
    assert b"--references" in done.stdout
    (said,) = done.stderr.splitlines()
    assert said.startswith(b"scrubbing: there is no store ")


# -- in this process


@pytest.fixture
def columns(capsys, monkeypatch, store) -> Callable[..., Finished]:
    """The command on a terminal of so many columns."""
    monkeypatch.setenv("SCRUBBING_STORE", str(store))

    def run(width: object, *arguments: object) -> Finished:
        return command(capsys, monkeypatch, width=width)(*arguments)

    return run


@pytest.mark.parametrize("width", ["0", "1", "5", "20", "39", "-3", "wide", "", "9" * 30, str(10**9)])
def test_no_terminal_is_too_narrow_for_the_percentages(width, columns):
    history = columns(width, "history")
    assert (history.status, history.err) == (0, "")
    scored = columns(width, "score", "toy", "--references", 20)
    assert (scored.status, scored.err) == (0, "")
    for score in Store(os.environ["SCRUBBING_STORE"]).history():
        assert f"{100 * (score.recovered or 0):.1f}%" in history.out
        assert f" {100 * (score.recovered or 0):.1f} " in scored.out
    assert "…" not in history.out + scored.out
    assert max(map(len, (history.out + scored.out).splitlines())) <= 1000
    assert "Usage" in "".join(columns(width, "--help").out.split())


def test_a_wide_terminal_gets_what_a_narrow_one_does(columns):
    assert columns("200", "history").out == columns("80", "history").out


@pytest.mark.parametrize("width", [80, 120])
def test_every_command_fits_the_terminal_and_needs_no_colour(width, columns, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    one = ("toy", "--only", "an exclusive or")
    for line in (["list"], ["list", "layers"], ["history"], ["compare", 1, 4], ["draw", *one], ["explain", *one]):
        finished = columns(width, *line)
        assert (finished.status, finished.err) == (0, "")
        assert max(map(len, finished.out.splitlines())) <= width
        assert "\x1b" not in finished.out


HOSTILE = ["\x1b[2J", "\x9b2J", "\x07", "\r", "\u202e", "\u2066", "\u200b", "\ud800", "\x85", "\u2028", "\x00"]


@pytest.mark.parametrize("character", HOSTILE)
def test_nothing_that_is_printed_steers_a_terminal(character, capsys):
    table = Table(f"head{character}er")
    table.add_row(Text(f"cell{character}"))
    for shown in (Text(f"a{character}b"), f"a{character}b", table):
        output.show(shown)
    running.say(f"a{character}b")
    found = capsys.readouterr()
    assert all(line.isprintable() for line in (found.out + found.err).split("\n"))


def test_what_is_harmless_is_shown_as_it_is(capsys):
    output.show(Text("déjà vu ± 3 — 中文 🎉"))
    assert capsys.readouterr().out == "déjà vu ± 3 — 中文 🎉\n"
    assert printable("a\tb") == r"a\tb"
    assert one_line("x" * 10**6).count("x") == 2000


# -- faults


def failing(error: BaseException) -> Callable[..., None]:
    def command(**_: object) -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ZeroDivisionError("a\nb"), 70, "internal error (ZeroDivisionError: a b); please report it, with what"),
        (RecursionError("deep"), 70, "internal error (RecursionError: deep)"),
        (MemoryError("Unable to allocate 8 TiB"), 2, "there is not enough memory (Unable to allocate 8 TiB); give"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "there is not enough memory ("),
        (FileNotFoundError(2, "No such file", "\x1bx"), 2, "\\x1bx: No such file"),
        (OSError(5, "Input/output error"), 74, "cannot read or write: Input/output error"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(), 141, ""),
        (SystemExit(3), 3, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_is_raised_is_one_line(error, status, said, capsys):
    assert status_of(failing(error)) == status
    found = capsys.readouterr()
    assert found.err.startswith(f"scrubbing: {said}" if said else "")
    assert found.err.count("\n") == bool(said)


def test_a_fault_shows_where_it_happened_to_whoever_asks(capsys, monkeypatch):
    monkeypatch.setenv("SCRUBBING_TRACEBACK", "1")
    assert status_of(failing(ZeroDivisionError("\x1b[2J"))) == 70
    found = capsys.readouterr().err
    assert "Traceback (most recent call last):" in found
    assert "in command" in found
    assert all(line.isprintable() for line in found.split("\n"))
