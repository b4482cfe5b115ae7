"""A store of its own for each test."""

import pytest
from recorded import count_chunks

from scrubbing.store import Store, checkpoints


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store.db")


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """The starts of the chunks that are computed, in runs of many chunks that are kept at once."""
    monkeypatch.setattr(checkpoints, "PAUSE", 0.0)
    return count_chunks(monkeypatch, 3)
