"""Every score is recorded and found again bit for bit, and the history lists what was tried."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from recorded import BOTH, DATA, OR, XOR, score

from hypotheses.toy import CLAIMS, NETWORK
from scrubbing import DataError, Hypothesis, Store, restore
from scrubbing.store.frames import write_frame
from scrubbing.store.identity import hypothesis_hash, model_hash

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


def test_different_hypotheses_are_counted_once_for_each_model_and_behaviour(store):
    score(BOTH, store=store)
    score(OR, store=store, seed=1)
    score(Hypothesis(NETWORK, CLAIMS["a threshold too high"]), store=store, references=3)
    score(OR, store=store, data={**DATA, "z3": DATA["z3"] + 1})
    assert store.tried(OR) == store.tried(NETWORK) == 3
    assert store.tried(store.history()[0].model) == 3
    score(XOR, store=Store(store.file, suite="toy"))
    assert (store.tried(OR), store.tried(OR, "toy"), store.tried(OR, "other")) == (3, 1, 0)
    assert store.tried("nothing") == 0


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
