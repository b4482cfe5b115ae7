"""`scrubbing explain` counts what `scrubbing score` would take, and `--memory` bounds both."""

import warnings
from collections.abc import Callable

import pytest
from command_line import Finished, command

from hypotheses import toy
from scrubbing import explain
from scrubbing.engine.cost import Cost, Kind


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The store that the environment names."""
    monkeypatch.setenv("SCRUBBING_STORE", str(tmp_path / "store.db"))
    return tmp_path / "store.db"


@pytest.fixture
def scrubbing(capsys, monkeypatch, file) -> Callable[..., Finished]:
    """The command, in this process, on a terminal of 80 columns."""
    return command(capsys, monkeypatch, width=80)


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_cost_of_a_suite_is_that_of_its_hypotheses_together():
    hypotheses = {name: toy.case(name).hypothesis for name in toy.CLAIMS}
    expected = explain(hypotheses, toy.digits(), baseline=toy.KNOWS_NOTHING, references=50)
    assert toy.suite().cost(references=50) == expected
    assert toy.suite().only(["an exclusive or"]).cost().hypotheses == 1


def test_a_suite_is_explained_and_not_scored(scrubbing, file):
    finished = scrubbing("explain", "toy", "--dtype", "float64")
    assert (finished.status, finished.err) == (0, "")
    cost = toy.suite().cost()
    shown = lines(finished.out)
    assert shown[0] == "toy: what scoring takes"
    assert "hypotheses 5" in shown
    assert "draws 1,000, 1,000 at a time" in shown
    assert f"streams of rows {cost.streams}" in shown
    assert f"calls {sum(cost.plain.values())} plain, {cost.mixed} mixed" in shown
    assert not file.exists()


def test_options_choose_what_is_explained(scrubbing):
    finished = scrubbing("explain", "toy", "--only", "an exclusive or", "--references", 50, "--memory", "1MiB")
    assert (finished.status, finished.err) == (0, "")
    shown = lines(finished.out)
    assert "hypotheses 1" in shown
    assert "draws 50, 50 at a time" in shown
    assert any(line.endswith("at most, of 1.0 MiB allowed") for line in shown)


KINDS = (
    Kind(name="FusedHeads", calls=6, mixed=2, flops=3 * 10**12),
    Kind(name="\x1b[2J[red]evil", calls=1200, mixed=1, flops=10**12),
    Kind(name="Take", calls=5, mixed=2, flops=0),
    Kind(name="Sum", calls=2, mixed=0, flops=0),
)
COST = Cost(
    hypotheses=26,
    draws=2046,
    streams=5,
    plain={"the references": 1000, "other": 208},
    mixed=5,
    logits_rows=201783,
    flops=4 * 10**12,
    once=10**9,
    chunk=21,
    peak_bytes=3 * 2**20,
    memory=2 * 2**30,
    kinds=KINDS,
)


def test_the_table_fits_a_terminal_and_cannot_steer_it():
    shown = lines(str(COST))
    assert max(map(len, str(COST).splitlines())) <= 80
    assert shown[:7] == [
        "hypotheses 26",
        "draws 2,046, 21 at a time",
        "streams of rows 5",
        "calls 1,208 plain, 5 mixed",
        "rows of logits 201,783",
        "operations 4 TFLOP, 1 GFLOP of them once",
        "memory 3.0 MiB at most, of 2.0 GiB allowed",
    ]
    assert [line for line in shown if line.startswith("│")] == [
        "│ FusedHeads │ 6 │ 2 │ 3 TFLOP │ 75% │",
        "│ \\x1b[2J[red]evil │ 1,200 │ 1 │ 1 TFLOP │ 25% │",
        "│ 2 without matrix products │ 7 │ 2 │ 0 FLOP │ │",
    ]


@pytest.mark.parametrize("command", ["explain", "score"])
def test_a_mistake_is_one_line(command, scrubbing, file):
    for arguments, message in {
        ("toy", "--memory", "much"): "memory='much' is no amount of memory; write for example memory=\"2GiB\"",
        ("toys",): "there are no hypotheses called 'toys'; did you mean 'toy'?",
        ("toy", "--only", "an and"): "there is no experiment 'an and' in toy",
        ("toy", "--device", "abacus"): "the device 'abacus' cannot be used here",
    }.items():
        finished = scrubbing(command, *arguments)
        assert (finished.status, finished.out) == (2, "")
        assert finished.err.startswith(f"scrubbing: {message}")
        assert finished.err.count("\n") == 1


def test_memory_bounds_a_score(scrubbing):
    expected = scrubbing("score", "toy")
    assert scrubbing("score", "toy", "--memory", "2GiB", "--recompute").out == expected.out
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as outside of tests
        finished = scrubbing("score", "toy", "--memory", "1 B", "--references", 3)
    assert finished.status == 0
    assert "memory='1 B' leaves 1 B; going on all the same, one draw at a time" in finished.err


@pytest.mark.parametrize("command", ["explain", "score"])
def test_help_teaches_by_an_example(command, scrubbing):
    finished = scrubbing(command, "--help")
    assert finished.status == 0
    assert f"scrubbing {command} induction " in finished.out
    assert "--memory" in finished.out
