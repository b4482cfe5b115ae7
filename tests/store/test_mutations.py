"""Stores and records with wrong bytes: what can be read is read, and all else refused in one line."""

import pytest
from mutations import outcomes

from hypotheses import toy
from scrubbing import Store, load_record, save_record

CASE = toy.case("an exclusive or")
FAST = {"references": 20}


def everything_in(store: Store) -> None:
    for entry in store.history():
        store.score(entry.id)
        store.record(entry.id)
    store.frame(by_reference=True)


@pytest.mark.usefixtures("unchecked")
def test_a_store_with_wrong_bytes(tmp_path):
    CASE.score(store=tmp_path / "store.db", **FAST)
    found = outcomes(tmp_path / "store.db", lambda: everything_in(Store(tmp_path / "store.db")), 200)
    assert found.keys() <= {"read", "refused"}
    assert found["refused"] > 50


@pytest.mark.usefixtures("unchecked")
def test_a_record_with_wrong_bytes(tmp_path):
    file = tmp_path / "record.json"
    save_record(file, CASE.hypothesis, CASE.data, CASE.score(**FAST))
    found = outcomes(file, lambda: load_record(file), 300)
    assert found.keys() <= {"read", "refused"}
    assert found["refused"] > 150
