"""`scrubbing score --shard`, and `scrubbing merge`."""

import json

import pytest

from scrubbing.engine.evaluate import Evaluator
from scrubbing.store import Store


@pytest.fixture(autouse=True)
def many_chunks(monkeypatch):
    monkeypatch.setattr(Evaluator, "fitting", lambda self, one, share: 50)


def recovered(scrubbing, tmp_path, *options):
    out = tmp_path / "out.json"
    assert scrubbing("score", "toy", "--json", out, *options).status == 0
    return {h["name"]: h["recovered"] for h in json.loads(out.read_text())["hypotheses"]}


def test_shards_are_merged_into_the_scores_of_the_whole(scrubbing, tmp_path):
    options = ("--references", 400, "--seed", 3, "--only", "an exclusive or")
    stores = [tmp_path / f"{number}.db" for number in range(3)]
    for number, store in enumerate(stores):
        found = scrubbing("score", "toy", *options, "--shard", f"{number}/3", "--store", store)
        assert found.status == 0
        assert f"toy, part {number} of 3 in" in found.out.replace("\n", " ")
    merged = scrubbing("merge", *stores, "--output", tmp_path / "all.db")
    assert (merged.status, merged.err) == (0, "")
    assert "an exclusive or" in merged.out
    whole = recovered(scrubbing, tmp_path, *options, "--store", tmp_path / "whole.db")
    assert Store(tmp_path / "all.db").score(1) == Store(tmp_path / "whole.db").score(1)
    assert recovered(scrubbing, tmp_path, *options, "--store", tmp_path / "all.db") == whole


def test_missing_shards_are_named(scrubbing, tmp_path):
    scrubbing("score", "toy", "--shard", "1/2", "--store", tmp_path / "1.db")
    merged = scrubbing("merge", tmp_path / "1.db", "-o", tmp_path / "all.db")
    assert merged.status == 2
    assert "549 of its 1,000 draws; missing are 0 to 451" in merged.err


def test_parts_that_began_elsewhere_are_not_computed_again(scrubbing, tmp_path, monkeypatch):
    scrubbing("score", "toy", "--shard", "0/1", "--store", tmp_path / "0.db")
    monkeypatch.setattr("scrubbing.store.identity.platform.system", lambda: "Plan 9")
    merged = scrubbing("merge", tmp_path / "0.db", "-o", tmp_path / "all.db")
    assert merged.status == 2
    assert "cannot be scored here" in merged.err
    assert "machine (" in merged.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "3/3", "--store", "s.db"], "'3/3' is no shard; of three there are 0/3, 1/3 and 2/3"),
        (["--shard", "a/b", "--store", "s.db"], "is no shard"),
        (["--shard", "1", "--store", "s.db"], "is no shard"),
        (["--shard", "0/2"], "give --store FILE"),
        (["--shard", "0/2", "--store", "s.db", "--json", "out.json"], "no --json, --engine"),
        (["--shard", "0/2", "--store", "s.db", "--no-store"], "leave one of them out"),
        (["--address", "auto"], "add --engine ray"),
        (["--workers", 2], "add --engine ray"),
        (["--engine", "spark"], "'spark' is not"),
    ],
)
def test_what_makes_no_sense_is_one_line(scrubbing, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    found = scrubbing("score", "toy", *options)
    assert found.status == 2
    assert message in " ".join(found.err.split())
    assert len(found.err.splitlines()) == 1
