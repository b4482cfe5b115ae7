"""Every score is recorded, found again bit for bit, and computed anew wherever anything differs."""

import json
import re
import sqlite3
import warnings
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hypotheses.toy import CLAIMS, KNOWS_NOTHING, NETWORK, digits
from scrubbing import DataError, Graph, Hypothesis, ScrubbingWarning, mean, reads, restore, scrub
from scrubbing.engine.evaluate import Evaluator
from scrubbing.errors import StoreError
from scrubbing.score import Estimate, make_score
from scrubbing.score.vacuity import Vacuity
from scrubbing.store import Store, checkpoints, schema
from scrubbing.store.frames import write_frame
from scrubbing.store.identity import hypothesis_hash, model_hash
from scrubbing.store.packing import pack, pack_losses, unpack, unpack_losses

DATA = {name: column[::10] for name, column in digits().items()}
OR = Hypothesis(NETWORK, CLAIMS["an or of thresholds"])
XOR = Hypothesis(NETWORK, CLAIMS["an exclusive or"])
BOTH = {"or": OR, "xor": XOR}
score = partial(scrub, data=DATA, baseline=KNOWS_NOTHING)
threshold = 3


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


def sql(store: Store, statement: str, *values: object) -> list:
    """What a statement gives, by another door."""
    with closing(sqlite3.connect(store.file)) as connection, connection:
        return connection.execute(statement, values).fetchall()


# -- what is recorded


def test_a_recorded_score_is_the_one_that_was_computed(store):
    plain = score(BOTH)
    recorded = score(BOTH, store=store)
    assert recorded == plain
    assert [s.recalled for s in recorded.values()] == [None, None]
    assert [store.score(entry.id) for entry in store.history()] == list(plain.values())


def test_an_identical_run_is_answered_without_computing(store, computed):
    recorded = score(BOTH, store=store)
    computed.clear()
    answered = score(BOTH, store=store.file)
    assert computed == []
    assert answered == recorded
    for name, again in answered.items():
        assert again.recalled[:2] == (str(store.file), list(BOTH).index(name) + 1)
        assert again.recalled.time.isoformat()[:16] in str(again).replace(" ", "T")
        assert again.donors.keys() == recorded[name].donors.keys() != set()
        assert all((again.donors[path] == rows).all() for path, rows in recorded[name].donors.items())
    assert len(store.history()) == 2


def test_an_answer_goes_by_the_name_that_it_is_asked_for_by(store):
    score(BOTH, store=store)
    answered = score([OR, XOR], store=store)
    assert [s.name for s in answered] == [None, None]
    assert all(s.recalled for s in answered)
    assert list(score({"a": OR, "b": XOR}, store=store)) == ["a", "b"]


def test_a_store_that_does_not_reuse_computes_and_records_again(store, computed):
    score(BOTH, store=store)
    computed.clear()
    again = score(BOTH, store=replace(store, reuse=False))
    assert computed
    assert again["or"].recalled is None
    assert len(store.history()) == 4


def test_exact_runs_are_recorded_as_well(store):
    recorded = score(OR, exact=True, store=store)
    answered = score(OR, exact=True, store=store)
    assert recorded == answered
    assert (recorded.recalled, bool(answered.recalled)) == (None, True)
    assert score(OR, store=store).recalled is None


def test_donors_that_are_made_leave_the_data_what_they_were(store):
    def make(datums, random):
        return {"z3": (datums["z3"] + 1) % 10}

    first = score(OR, donors={"A": make}, store=store)
    again = score(OR, donors={"A": make}, store=store)
    assert again == first
    assert again.recalled
    assert {e.data for e in store.history()} == {first_data_hash()}


def first_data_hash() -> str:
    from scrubbing.store.record import data_hash

    return data_hash(DATA)


# -- what makes a run another one


@dataclass(frozen=True)
class Above:
    """A feature whose method uses a global."""

    def __call__(self, z1):
        return z1 > threshold


def above(limit):
    return Hypothesis(NETWORK, CLAIMS["an or of thresholds"] | {"A": lambda z1: z1 > limit})


OTHERWISE = {
    "another seed": dict(seed=1),
    "another number of draws": dict(draws=2),
    "other references": dict(references=[1, 2, 3]),
    "drawn references": dict(references=5),
    "another donor for all": dict(others="reference"),
    "a fixed pairing": dict(others=np.arange(100)[::-1].copy()),
    "another pairing": dict(others=np.roll(np.arange(100), 1)),
    "fixed donors": dict(donors={"A": np.arange(100)}),
    "other fixed donors": dict(donors={"A": np.zeros(100, dtype=int)}),
    "no own datum": dict(exclude_self=True),
    "means": dict(unclaimed="mean"),
    "means by group": dict(unclaimed=mean(by="z1")),
    "a function": dict(unclaimed=lambda value: value * 0),
    "another function": dict(unclaimed=lambda value: value * 1),
    "shared donors": dict(together=[["A", "B"]]),
    "exact": dict(exact=True),
    "other data": dict(data={**DATA, "z3": DATA["z3"] + 1}),
    "another baseline": dict(baseline=Graph(loss=reads("D", "y"), D=reads())),
}


def test_whatever_differs_is_computed(store):
    recorded = {"as it is": score(OR, store=store)}
    for name, settings in OTHERWISE.items():
        recorded[name] = score(OR, store=store, **settings)
    assert [name for name, s in recorded.items() if s.recalled] == []
    for name, settings in OTHERWISE.items():
        again = score(OR, store=store, **settings)
        assert again.recalled, name
        assert again == recorded[name]


def test_another_hypothesis_or_network_is_computed(store):
    louder = Hypothesis(NETWORK | {"D": lambda A, B, C: A + B - A * B + 0 * C + 0.1}, CLAIMS["an or of thresholds"])
    for h in (OR, XOR, above(3), above(4), louder):
        assert score(h, store=store).recalled is None
    assert score(above(4), store=store).recalled
    assert len({e.hypothesis for e in store.history()}) == 5
    assert len({e.model for e in store.history()}) == 2


def test_a_value_that_a_method_uses_is_told_apart(store, monkeypatch):
    h = Hypothesis(NETWORK, CLAIMS["an or of thresholds"] | {"A": Above()})
    high = score(h, store=store)
    monkeypatch.setattr(f"{__name__}.threshold", 5)
    low = score(h, store=store)
    assert low.recalled is None
    assert low.scrubbed != high.scrubbed


def test_another_number_of_threads_may_round_otherwise(store):
    score(OR, store=store)
    torch.set_num_threads(2)
    try:
        assert score(OR, store=store).recalled is None
    finally:
        torch.set_num_threads(1)


def test_what_changes_no_bit_changes_nothing(store):
    score(OR, store=store)
    assert score(OR, store=store, progress=lambda done, total: None, check=False, cap=50).recalled


def test_what_cannot_be_hashed_is_recorded_and_never_answered(store):
    numbers = (n for n in range(3))  # a generator: nobody can say what it holds
    h = Hypothesis(NETWORK, CLAIMS["an or of thresholds"] | {"A": lambda z1: (z1 > 3) if numbers else z1})
    for _ in range(2):
        with pytest.warns(
            ScrubbingWarning, match=r"cannot be resumed or answered .* the content of builtins.generator"
        ):
            assert score(h, store=store).recalled is None
    score(h, store=replace(store, reuse=False))
    assert len(store.history()) == 3


# -- interrupted runs


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
    monkeypatch.setattr(Evaluator, "chunk_size", lambda self, roots: 10)
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
        "UPDATE chunks SET losses = zeroblob(length(losses)) WHERE start = 9",
        "UPDATE chunks SET losses = substr(losses, 1, 20) WHERE start = 9",
        "UPDATE chunks SET stop = stop + 1 WHERE start = 9",
        "UPDATE chunks SET next_size = 1 WHERE start = 9",
        "UPDATE chunks SET losses = (SELECT losses FROM chunks WHERE start = 0) WHERE start = 9",
        "DELETE FROM chunks WHERE start = 9",
    ],
)
def test_a_chunk_that_is_damaged_is_computed_again(store, computed, damage):
    expected = score(BOTH)
    with pytest.raises(KeyboardInterrupt):
        score(BOTH, store=store, progress=interrupted(40))
    sql(store, damage)
    computed.clear()
    assert score(BOTH, store=store) == expected
    assert computed[0] == 9


def test_chunks_that_nobody_went_on_with_are_dropped_in_the_end(store, computed):
    with pytest.raises(KeyboardInterrupt):
        score(XOR, store=store, progress=interrupted(40))
    score(OR, store=store)
    assert sql(store, "SELECT * FROM chunks")
    sql(store, "UPDATE chunks SET time = '2020-01-01T00:00:00+00:00'")
    score(OR, store=store, seed=1)
    assert sql(store, "SELECT * FROM chunks") == []


# -- what was tried


def test_the_history_lists_what_was_scored(store):
    scores = score(BOTH, store=replace(store, suite="toy"))
    score(OR, store=store, seed=7)
    first, second, third = store.history()
    assert [e.name for e in (first, second, third)] == ["or", "xor", None]
    assert (first.suite, third.suite, third.seed) == ("toy", None, 7)
    assert (first.recovered, first.interval, first.references) == (scores["or"].recovered, scores["or"].interval, 100)
    assert (first.hypothesis, first.model) == (hypothesis_hash(OR), model_hash(NETWORK))
    assert first.run == second.run != third.run
    assert store.history(last=1) == [third]
    assert store.history(suite="toy") == store.history(suite="toy", model=first.model[:5]) == [first, second]
    assert store.history(name="xor") == [second]
    assert store.history(name="x") == store.history(data="%") == []


def test_a_rung_is_found_by_its_name(store):
    score({"naive/Q": OR, "naive/K": XOR, "naive (whole head)/K": OR}, store=store)
    assert [e.name for e in store.history(name="naive")] == ["naive/Q", "naive/K"]
    assert [e.name for e in store.history(name="naive/K")] == ["naive/K"]


def test_different_hypotheses_are_counted_once_on_each_model_and_dataset(store):
    score(BOTH, store=store)
    score(OR, store=store, seed=1)
    score(above(4), store=store, references=3)
    other = {**DATA, "z3": DATA["z3"] + 1}
    score(OR, store=store, data=other)
    assert store.tried(OR, DATA) == store.tried(NETWORK, DATA) == 3
    assert store.tried(OR, other) == 1
    entry = store.history()[0]
    assert store.tried(entry.model, entry.data) == 3
    assert store.tried("nothing", DATA) == 0


def test_a_record_is_restored_without_running_anything(store):
    recorded = score(OR, store=store)
    record = store.record(1)
    assert record.score == recorded
    assert record.matches(OR, DATA)
    assert restore(record, NETWORK, CLAIMS["an or of thresholds"]) == OR


def test_the_history_is_a_table(store, tmp_path):
    scores = score(BOTH, store=store)
    table = store.frame()
    assert list(table["recovered"]) == [s.recovered for s in scores.values()]
    assert [(low, high) for low, high in zip(table["low"], table["high"], strict=True)] == [
        s.interval for s in scores.values()
    ]
    assert json.loads(table["settings"][0]) == scores["or"].settings
    losses = store.frame(by_reference=True)
    assert len(losses) == 200
    alone = losses[losses["id"] == 2].drop(columns=["id", "suite", "name"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, scores["xor"].losses)
    assert store.frame(name="none").empty
    assert store.frame(name="none", by_reference=True).empty


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_tables_are_written(store, tmp_path, ending):
    score(BOTH, store=store)
    path = tmp_path / f"losses{ending}"
    write_frame(store.frame(by_reference=True), path)
    read = pd.read_csv(path) if ending == ".csv" else pd.read_parquet(path)
    assert list(read["scrubbed"]) == list(store.frame(by_reference=True)["scrubbed"])
    assert [p.name for p in tmp_path.iterdir() if "unfinished" in p.name] == []


def test_tables_that_cannot_be_written_are_said_in_one_line(store, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"scores.xlsx ends in '.xlsx'; an export is a .csv or a .parquet file"):
        write_frame(pd.DataFrame(), tmp_path / "scores.xlsx")
    with pytest.raises(DataError, match="cannot be written"):
        write_frame(pd.DataFrame(), tmp_path / "none" / "scores.csv")

    def no_pyarrow(*_, **__):
        raise ImportError

    monkeypatch.setattr(pd.DataFrame, "to_parquet", no_pyarrow)
    with pytest.raises(DataError, match=r"takes the package pyarrow: pip install pyarrow, or export a .csv"):
        write_frame(pd.DataFrame(), tmp_path / "scores.parquet")


# -- bits

floats = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(floats, floats, floats), min_size=2, max_size=8), st.integers(-(2**70), 2**70))
def test_any_score_comes_back_bit_for_bit(losses, seed):
    original, baseline, scrubbed = (np.array(column) for column in zip(*losses, strict=True))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = make_score(
                name="\x1b[31m\u202e",
                rows=np.arange(len(losses)),
                original=original,
                baseline=Estimate(baseline, original, 0.1, np.nan),
                scrubbed=Estimate(scrubbed, baseline, 1e-300, 0.2),
                precision=1e-16,
                draws=1,
                seed=seed,
                settings={"others": "node"},
                vacuity=Vacuity(nodes=(), bits=0.1 + 0.2),
                donors={},
            )
        except (OverflowError, ValueError, ZeroDivisionError, np.linalg.LinAlgError):
            return
    packed = pack(made)
    shelf = {array.digest: array for array in packed.columns.values()}
    back = unpack(packed.score, packed.losses, packed.digest, shelf.__getitem__)
    assert repr(back.model_dump()) == repr(made.model_dump())
    for name in ("original", "baseline", "scrubbed"):
        assert (
            np.array(getattr(back.by_reference, name)).tobytes() == np.array(getattr(made.by_reference, name)).tobytes()
        )


def test_chunks_come_back_bit_for_bit():
    shared = torch.rand(5, dtype=torch.bfloat16)
    losses = [shared, torch.rand(10)[::2], shared, torch.tensor([torch.nan, torch.inf, -0.0, 1e-310, 1.0]).double()]
    back = unpack_losses(pack_losses(losses))
    assert [b.dtype for b in back] == [x.dtype for x in losses]
    assert all(
        b.numpy(force=True).tobytes() == x.contiguous().numpy(force=True).tobytes()
        for b, x in zip(back[1:2], losses[1:2], strict=True)
    )
    assert all(torch.equal(b.nan_to_num(), x.nan_to_num()) for b, x in zip(back, losses, strict=True))


# -- what can go wrong


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
    sql(store, "PRAGMA user_version = 2")
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


def test_a_score_of_another_version_is_told(store, monkeypatch):
    score(OR, store=store)
    monkeypatch.setattr(
        "scrubbing.store.packing.content_hash", lambda content: sql(store, "SELECT digest FROM scores")[0][0]
    )
    sql(store, "UPDATE scores SET score = json_remove(score, '$.draws'), losses = '{}'")
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
