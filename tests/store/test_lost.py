"""Stores that are damaged, empty, on read-only media, or lost during a run."""

import os
import random
import shutil
import sqlite3
import tempfile
import warnings
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

import pytest

from hypotheses.toy import CLAIMS, KNOWS_NOTHING, NETWORK, digits
from scrubbing import DataError, Hypothesis, ScrubbingWarning, scrub
from scrubbing.errors import StoreError
from scrubbing.store import Store, checkpoints, schema

DATA = {name: column[::50] for name, column in digits().items()}
OR = Hypothesis(NETWORK, CLAIMS["an or of thresholds"])
XOR = Hypothesis(NETWORK, CLAIMS["an exclusive or"])
score = partial(scrub, data=DATA, baseline=KNOWS_NOTHING)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A store of two scores, and they."""
    path = tmp_path_factory.mktemp("recorded") / "store.db"
    return path, [score(OR, store=path), score(XOR, store=path)]


@pytest.fixture
def store(tmp_path, recorded) -> Store:
    """A copy to damage."""
    path, _ = recorded
    return Store(shutil.copy(path, tmp_path / "store.db"))


def sql(store: Store, statement: str, *values: object) -> list:
    with closing(sqlite3.connect(store.file)) as connection, connection:
        return connection.execute(statement, values).fetchall()


DAMAGES = {
    "no JSON": "UPDATE scores SET score = 'x' WHERE id = 1",
    "deep JSON": "UPDATE scores SET score = replace(hex(zeroblob(50000)), '0', '[') WHERE id = 1",
    "a number for text": "UPDATE scores SET score = 7 WHERE id = 1",
    "bytes for text": "UPDATE scores SET score = x'ff00ff' WHERE id = 1",
    "no UTF-8": "UPDATE scores SET score = CAST(x'ff00ff' AS TEXT) WHERE id = 1",
    "a name that is no UTF-8": "UPDATE scores SET digest = CAST(x'ff' AS TEXT) WHERE id = 1",
    "no time": "UPDATE runs SET time = 'yesterday' WHERE id = 1",
    "no seconds": "UPDATE runs SET seconds = 'many' WHERE id = 1",
    "no run": "DELETE FROM runs WHERE id = 1",
    "a better score": "UPDATE scores SET score = json_set(score, '$.recovered', 1.0, '$.seed', 9) WHERE id = 1",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_damaged_score_blocks_only_itself(damage, store, recorded):
    sql(store, DAMAGES[damage])
    with pytest.warns(ScrubbingWarning, match="^score 1 is damaged, and left out here$"):
        (entry,) = store.history()
    assert entry.id == 2
    assert store.score(2) == recorded[1][1]
    assert store.record(2).score == recorded[1][1]
    for ask in (store.score, store.record):
        with suppress(StoreError):  # what is damaged may be of the run, and not of the score
            assert ask(1) is not None


def test_a_table_of_references_leaves_out_a_damaged_one(store):
    sql(store, "UPDATE scores SET losses = '{}' WHERE id = 1")
    with pytest.warns(ScrubbingWarning, match=r"score 1"):
        assert set(store.frame(by_reference=True)["id"]) == {2}
    sql(store, "DELETE FROM scores WHERE id = 1")
    sql(store, "UPDATE arrays SET content = zeroblob(length(content))")
    with pytest.warns(ScrubbingWarning, match=r"left out: score 2 cannot be read: its losses"):
        assert store.frame(by_reference=True).empty


@pytest.mark.parametrize("missing", ["hypotheses", "datasets", "runs"])
def test_a_record_whose_parts_are_missing_is_said(missing, store):
    sql(store, f"DELETE FROM {missing}")
    with pytest.raises(StoreError, match=r"score 1 cannot be read: its hypothesis or its run is missing"):
        store.record(1)


@pytest.mark.parametrize("seed", range(60))
def test_a_store_with_changed_bytes_is_refused_or_says_the_same(seed, store, recorded):
    rng, content = random.Random(seed), bytearray(store.file.read_bytes())
    for _ in range(rng.choice((1, 4, 40))):
        place = rng.randrange(len(content))
        size = rng.choice((1, 8, 100))
        content[place : place + size] = rng.choice((rng.randbytes(size), bytes(size)))
    store.file.write_bytes(content[: rng.choice((len(content), len(content), rng.randrange(len(content))))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScrubbingWarning)
        with suppress(StoreError):
            assert all(entry.seed == 0 for entry in store.history())
        for number, expected in enumerate(recorded[1], start=1):
            with suppress(StoreError):
                assert store.score(number) == expected
            with suppress(StoreError):
                assert store.record(number).score == expected
        with suppress(StoreError):
            assert score(OR, store=store) == recorded[1][0]


# -- what is no store


def folder(path: Path) -> None:
    path.mkdir()


NO_STORES = {
    "an empty file": (Path.touch, "holds no scores"),
    "a folder": (folder, "it is a folder; give a file"),
    "a pipe": (os.mkfifo, "it is no ordinary file; give a file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "it is no ordinary file; give a file"),
    "a link to nothing": (lambda path: path.symlink_to(path.parent / "none"), "there is no store"),
    "a circle": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    "text": (lambda path: path.write_text("text" * 1000), "is damaged"),
    "nothing": (lambda path: None, "there is no store"),
}


@pytest.mark.parametrize("name", NO_STORES)
def test_what_is_no_store_is_said_and_left_alone(name, tmp_path):
    make, message = NO_STORES[name]
    store = Store(tmp_path / "store.db")
    make(store.file)
    before = store.file.read_bytes() if store.file.is_file() else None
    there = sorted(tmp_path.iterdir())
    for ask in (
        store.history,
        lambda: store.score(1),
        lambda: store.record(1),
        store.frame,
        lambda: store.tried(""),
    ):
        with pytest.raises(StoreError, match=message):
            ask()
    assert sorted(tmp_path.iterdir()) == there
    assert before is None or store.file.read_bytes() == before


@pytest.mark.parametrize("path", [":memory:", "~nosuchuser/store.db", "n" * 300, "a\0b", "\ud800", ""])
def test_names_that_no_store_can_have_are_said(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for ask in (lambda: Store(path).history(), lambda: score(OR, store=path)):
        with pytest.raises(StoreError) as error:
            ask()
        assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "ask",
    [
        *(lambda s, id=id: s.score(id) for id in (0, -1, 3, 2**63, -(2**70), True)),
        *(lambda s, last=last: s.history(last=last) for last in (0, -1, -(2**70), True)),
        lambda s: s.history(naem="x"),
        lambda s: s.history(suit=None),
        lambda s: s.frame(by=1),
        lambda s: s.record(2**64),
    ],
)
def test_questions_that_make_no_sense_are_said(ask, store):
    with pytest.raises(DataError):
        ask(store)


def test_large_numbers_are_numbers(store):
    assert len(store.history(last=2**70)) == 2


# -- read-only media, and files that go


@pytest.fixture
def read_only(store):
    """A folder of a store and its log, which nobody may write to."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as after:
        folder = Path(name)

        def made(log: bytes = b"") -> Store:
            shutil.copy(store.file, folder / "store.db")
            if log:
                (folder / "store.db-wal").write_bytes(log)
            for path in (*folder.iterdir(), folder):
                path.chmod(0o555)
            if os.geteuid() == 0:  # nothing is read-only to the superuser
                os.seteuid(65534)
                after.callback(os.seteuid, 0)
            return Store(folder / "store.db")

        yield made
        after.close()
        folder.chmod(0o755)


def test_read_only_media_can_be_read(read_only, recorded):
    store = read_only()
    assert [store.score(entry.id) for entry in store.history()] == recorded[1]
    assert list(store.file.parent.iterdir()) == [store.file]


def test_what_has_not_reached_the_file_is_not_left_out(read_only):
    store = read_only(log=bytes(100))
    with pytest.raises(StoreError, match=r"cannot be opened \(.*\); give a file in a folder that you may write to"):
        store.history()


def replaced(path: Path) -> None:
    path.unlink()
    path.touch()


@pytest.mark.parametrize(
    "lose",
    [Path.unlink, replaced, lambda path: path.rename(path.with_name("moved.db"))],
    ids=["gone", "other", "moved"],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_store_that_is_lost_during_the_run_is_said(lose, chunked, store, recorded, monkeypatch):
    if chunked:
        monkeypatch.setattr(checkpoints, "PAUSE", 0.0)
    lost = []

    def lose_once(done, total):
        if not lost:
            lost.append(lose(store.file))

    with pytest.warns(ScrubbingWarning) as caught:
        assert score(OR, seed=1, store=store, progress=lose_once) == score(OR, seed=1)
    said = [str(w.message) for w in caught]
    assert any(s.startswith("the scores were not recorded: the store ") for s in said)
    assert all(s.endswith("was deleted, moved or replaced during the run") for s in said)


def test_tables_are_made_anew_in_an_empty_file(tmp_path):
    (tmp_path / "store.db").touch()
    score(OR, store=tmp_path / "store.db")
    assert len(Store(tmp_path / "store.db").history()) == 1


def test_another_files_mark_is_its_file(tmp_path):
    (tmp_path / "a").touch()
    assert schema.file_identity(tmp_path / "a") == schema.file_identity(tmp_path / "." / "a") is not None
    assert schema.file_identity(tmp_path / "b") is None
