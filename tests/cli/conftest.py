"""The command in this process, and a model folder to score."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Finished, command

from hypotheses.handmade import build, save


@pytest.fixture(autouse=True)
def as_installed(unchecked) -> None:
    """The command runs as a user's does; the rooms that it calls have the shapes of their arrays checked."""


@pytest.fixture
def scrubbing(capsys, monkeypatch) -> Callable[..., Finished]:
    """The command, in this process."""
    return command(capsys, monkeypatch, width=200)


@pytest.fixture
def folder(tmp_path) -> Path:
    """M1 with norms: naive Q is exact and naive V is not."""
    return save(build("M1", norm=True, rows=12), tmp_path / "M1")


@pytest.fixture
def results(scrubbing, tmp_path) -> Callable[..., dict]:
    """What a run writes as JSON, which must succeed."""

    def run(*arguments: object) -> dict:
        path = tmp_path / "results.json"
        finished = scrubbing("score", "induction", *arguments, "--json", path)
        assert (finished.status, finished.err) == (0, "")
        return json.loads(path.read_text())

    return run
