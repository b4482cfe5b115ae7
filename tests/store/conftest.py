"""A store of its own for each test."""

import pytest

from scrubbing.engine.evaluate import Evaluator
from scrubbing.store import Store, checkpoints


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store.db")


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """The starts of the chunks that are computed, in runs of many chunks that are kept at once."""
    starts: list[int] = []
    finished = Evaluator._finished

    def counting(self, roots, start, size):
        starts.append(start)
        return finished(self, roots, start, size)

    monkeypatch.setattr(Evaluator, "_finished", counting)
    monkeypatch.setattr(Evaluator, "chunk_size", lambda self, roots: 3)
    monkeypatch.setattr(checkpoints, "PAUSE", 0.0)
    return starts
