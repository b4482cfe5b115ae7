"""What can go wrong with a store is said in words, and costs no result."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch
from recorded import BOTH, OR, XOR, score, sql

from scrubbing import ScrubbingWarning
from scrubbing.errors import StoreError
from scrubbing.graph.fingerprint import content_hash
from scrubbing.store import Store, schema


def test_a_store_that_is_not_there_is_said_so(store):
    with pytest.raises(StoreError, match=r"there is no store .*store.db; scrub\(..., store=FILE\)"):
        store.history()
    assert not store.file.exists()


def test_a_score_that_is_not_there_is_said_so(store):
    score(OR, store=store)
    with pytest.raises(StoreError, match=r"there is no score 5; the last is 1 \(see `scrubbing history`\)"):
        store.score(5)


def test_a_file_that_is_no_store_is_left_alone(store):
    store.file.write_text("not a database, but long enough to be taken for one" * 50)
    before = store.file.read_bytes()
    for ask in (store.history, lambda: score(OR, store=store)):
        with pytest.raises(StoreError, match=r"store.db is damaged \(file is not a database\); move it away") as error:
            ask()
        assert "\n" not in str(error.value)
    assert store.file.read_bytes() == before


def test_another_database_is_left_alone(store):
    sql(store, "CREATE TABLE mine (a)")
    with pytest.raises(StoreError, match=r"is an SQLite file, but no store of scores; give another file"):
        score(OR, store=store)
    assert sql(store, "SELECT name FROM sqlite_master") == [("mine",)]


def test_a_store_of_a_later_version_is_left_alone(store):
    score(OR, store=store)
    sql(store, "PRAGMA user_version = 99")
    with pytest.raises(StoreError, match=r"was made by a later version of scrubbing; update, or give another file"):
        store.history()


def test_a_store_that_cannot_be_made_is_said_before_the_work(tmp_path, computed):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"the store .* cannot be made: .*; give another file"):
        score(OR, store=tmp_path / "file" / "store.db")
    with pytest.raises(StoreError, match=r"the store .* cannot be opened: it is a folder; give a file"):
        score(OR, store=tmp_path)
    assert computed == []


def damaged_pages(store: Store) -> None:
    """Overwrite all but the first page."""
    content = store.file.read_bytes()
    store.file.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))


def test_damaged_pages_are_one_clear_error(store, computed):
    score(OR, store=store)
    damaged_pages(store)
    before = store.file.read_bytes()
    computed.clear()
    for ask in (store.history, lambda: score(OR, store=store)):
        with pytest.raises(
            StoreError, match=r"store.db is damaged \(.*\); move it away, and the next run begins a new"
        ):
            ask()
    assert computed == []
    assert store.file.read_bytes() == before


def test_a_file_that_is_damaged_meanwhile_does_not_cost_the_result(store, computed):
    expected = score(OR)
    score(XOR, store=store)

    def damage(done, total):
        damaged_pages(store)

    with pytest.warns(ScrubbingWarning) as caught:
        assert score(OR, store=store, progress=damage) == expected
    said = [str(w.message) for w in caught]
    assert any(s.startswith("the scores were not recorded: the store") for s in said)


DAMAGES = {
    "UPDATE scores SET score = replace(score, 'node', 'input')": "score 1 cannot be read: its content is not what was",
    "UPDATE arrays SET content = zeroblob(length(content))": "score 1 cannot be read: its losses .* are not what was",
    "DELETE FROM arrays": "score 1 cannot be read: its losses are missing",
    "UPDATE scores SET losses = '{}'": "score 1 cannot be read: its content is not what was written",
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.items())
def test_a_damaged_score_is_told_and_computed_anew(store, damage, message):
    expected = score(OR, store=store)
    sql(store, damage)
    with pytest.raises(StoreError, match=message):
        store.score(1)
    with pytest.warns(ScrubbingWarning, match=f"computed anew: {message}"):
        assert score(OR, store=store) == expected
    assert store.score(2) == expected


def test_a_score_of_another_version_is_told(store):
    score(OR, store=store)
    sql(store, "UPDATE scores SET score = json_remove(score, '$.draws'), losses = '{}'")
    ((written, losses),) = sql(store, "SELECT score, losses FROM scores")
    sql(store, f"UPDATE scores SET digest = '{content_hash(written + losses)}'")
    with pytest.raises(StoreError, match=r"score 1 cannot be read: another version of scrubbing recorded it \(draws: "):
        store.score(1)


def test_a_full_disk_costs_the_record_and_not_the_result(store, computed, monkeypatch):
    first = score(XOR, store=store)
    sql(store, "VACUUM")  # else the pages of deleted chunks are room
    expected = score(BOTH)
    opened = schema.opened

    def small(path):
        connection = opened(path)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    monkeypatch.setattr("scrubbing.store.recording.opened", small)
    with pytest.warns(ScrubbingWarning) as caught:
        assert score(BOTH, store=store) == expected
    said = [str(w.message) for w in caught]
    assert [s.partition(":")[0] for s in said] == [
        "the run goes on, but it cannot be resumed",
        "the scores were not recorded",
    ]
    assert all("cannot be written (database or disk is full): make room on the disk" in s for s in said)
    monkeypatch.undo()
    assert [store.score(e.id) for e in store.history()] == [first]
    assert score(BOTH, store=store) == expected
    assert len(store.history()) == 3


def test_a_store_that_another_holds_is_waited_for_and_then_told(store, monkeypatch):
    score(XOR, store=store)
    monkeypatch.setattr(schema, "PATIENCE", 0.1)
    with closing(sqlite3.connect(store.file, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.warns(ScrubbingWarning, match="another process has held the store .* try again"):
            assert score(OR, store=store) == score(OR)
        holder.execute("ROLLBACK")
    assert len(store.history()) == 1


def test_the_file_is_what_it_says(store):
    score(OR, store=store)
    assert sql(store, "PRAGMA journal_mode") == [("wal",)]
    assert sql(store, "PRAGMA integrity_check") == [("ok",)]
    assert sql(store, "PRAGMA foreign_key_check") == []
    identity = json.loads(sql(store, "SELECT identity FROM runs")[0][0])
    assert identity["environment"]["torch"] == torch.__version__
    assert re.fullmatch(r"[0-9a-f]{32}", identity["code"])
    content = store.file.read_bytes()
    assert b"\x80\x04\x95" not in content
    assert str(Path.home()).encode() not in content
