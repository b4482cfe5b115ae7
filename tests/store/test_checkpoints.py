"""An interrupted run goes on from the chunks that it kept."""

import pytest
from recorded import BOTH, OR, XOR, score, sql

from scrubbing.engine.evaluate import Evaluator
from scrubbing.store import checkpoints


def interrupted(after: int):
    def progress(done, total):
        if done > after:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_run_goes_on_from_its_chunks(store, computed):
    expected = score(BOTH)
    starts = computed.copy()
    assert len(starts) > 4
    computed.clear()
    with pytest.raises(KeyboardInterrupt):
        score(BOTH, store=store, progress=interrupted(starts[3]))
    assert computed == starts[:4]
    assert store.history() == []
    computed.clear()
    assert score(BOTH, store=store) == expected
    assert computed == starts[4:]
    assert sql(store, "SELECT * FROM chunks") == []


def test_a_resumed_run_has_the_chunks_that_it_had(store, computed, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        score(BOTH, store=store, progress=interrupted(30))
    size = computed[-1] - computed[-2]
    resumes_at = computed[-1] + size
    monkeypatch.setattr(Evaluator, "fitting", lambda self, one, share: 10)
    computed.clear()
    score(BOTH, store=store)
    assert computed[:2] == [resumes_at, resumes_at + size]


def test_what_is_kept_late_is_kept_on_an_interrupt(store, computed, monkeypatch):
    monkeypatch.setattr(checkpoints, "PAUSE", 1e9)
    with pytest.raises(KeyboardInterrupt):
        score(BOTH, store=store, progress=interrupted(30))
    assert len(sql(store, "SELECT * FROM chunks")) == len(computed) > 2


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE chunks SET losses = zeroblob(length(losses)) WHERE start = 10",
        "UPDATE chunks SET losses = substr(losses, 1, 20) WHERE start = 10",
        "UPDATE chunks SET stop = stop + 1 WHERE start = 10",
        "UPDATE chunks SET next_size = 1 WHERE start = 10",
        "UPDATE chunks SET losses = (SELECT losses FROM chunks WHERE start = 0) WHERE start = 10",
        "DELETE FROM chunks WHERE start = 10",
    ],
)
def test_a_chunk_that_is_damaged_is_computed_again(store, computed, damage):
    expected = score(BOTH)
    with pytest.raises(KeyboardInterrupt):
        score(BOTH, store=store, progress=interrupted(40))
    sql(store, damage)
    computed.clear()
    assert score(BOTH, store=store) == expected
    assert computed[0] == 10


def test_chunks_that_nobody_went_on_with_are_dropped_in_the_end(store, computed):
    with pytest.raises(KeyboardInterrupt):
        score(XOR, store=store, progress=interrupted(40))
    score(OR, store=store)
    assert sql(store, "SELECT * FROM chunks")
    sql(store, "UPDATE chunks SET time = '2020-01-01T00:00:00+00:00'")
    score(OR, store=store, seed=1)
    assert sql(store, "SELECT * FROM chunks") == []
