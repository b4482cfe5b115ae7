"""The suite on what ships and on other models: what it scores, what it writes, and what it refuses."""

import json
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from copy_suppressor import random_model
from safetensors.torch import save_file

from hypotheses import copy_suppression
from hypotheses.copy_suppression.places import SHIPPED, read_vocabulary
from hypotheses.copy_suppression.prompts import ioi_prompts
from hypotheses.copy_suppression.published import published
from hypotheses.copy_suppression.retrain import OF_ROWS, rows_of, tokenizer
from hypotheses.copy_suppression.text import VOCABULARY
from hypotheses.copy_suppression.training import Recipe
from scrubbing import DataError, HypothesisError, ModelError, ScrubbingError
from scrubbing.cli.results import results, shown, write_json
from scrubbing.score.tables import rendered

pytestmark = pytest.mark.usefixtures("unchecked")


@lru_cache
def shipped():
    return copy_suppression.suite()


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """The shipped head on fifty rows."""
    path = tmp_path_factory.mktemp("few") / "rows.npz"
    np.savez(path, tokens=rows_of(Recipe(), 50, OF_ROWS).numpy())
    return copy_suppression.suite(None, path, head="1.0")


@pytest.fixture
def folder(tmp_path):
    """A random model of nine words, and rows of it."""
    model = random_model()
    (tmp_path / "config.json").write_text(json.dumps(model.config.model_dump(exclude_unset=True)))
    save_file(
        {name: value.float().contiguous() for name, value in model.weights.items()}, tmp_path / "model.safetensors"
    )
    rows = np.random.default_rng(0).integers(0, 9, (12, 8))
    np.savez(tmp_path / "rows.npz", tokens=rows)
    return tmp_path


def test_the_shipped_head_suppresses_copies():
    suite = shipped()
    assert suite.about["head"] == "1.0, which suppresses copies most"
    scores = suite.score(references=100)
    assert list(scores) == ["ov", "qk", "both"]
    explained = {name: score.recovered for name, score in scores.items()}
    assert explained == pytest.approx({"ov": 0.935, "qk": 0.975, "both": 0.928}, abs=0.02)
    for score in scores.values():
        low, high = score.interval
        assert low < score.recovered < high < low + 0.05
        assert score.original == pytest.approx(0, abs=1e-9)


def test_tables_are_written_by_name(few, tmp_path):
    suite = few.only([])
    scores = suite.score()
    tables = suite.tabulated(scores)
    path = tmp_path / "scores.json"
    write_json(results(suite, scores, tables, {}), path)
    found = json.loads(path.read_text())["tables"]
    assert found.keys() == {"effect_explained", "quantiles", "circuit_ranks", "scores", "controls"}
    first = found["effect_explained"][0]
    assert first.keys() == {"mode", "kl", "kl_mean_ablation", "explained", "low", "high"}
    assert [row["mode"] for row in found["effect_explained"]] == ["ov", "qk", "both"]
    assert first["explained"] == pytest.approx(1 - first["kl"] / first["kl_mean_ablation"])
    assert [row["quantile"] for row in found["quantiles"]] == list(range(1, 21))
    ablated = [row["kl_mean_ablation"] for row in found["quantiles"]]
    assert ablated == sorted(ablated)
    assert found["quantiles"][-1]["explained"] > 0.9 > 0.3 > found["quantiles"][5]["explained"]
    assert {row["circuit"] for row in found["circuit_ranks"]} == {"ov", "qk", "qk, embedded queries"}
    assert found["circuit_ranks"][0]["first"] > 0.8
    (early, late) = found["scores"]
    assert early.keys() == {"layer", "head", "anti_induction", "copy_suppression"}
    assert late["copy_suppression"] > 1 > 0.2 > abs(early["copy_suppression"])
    assert late["anti_induction"] > early["anti_induction"]
    assert found["controls"][0]["control"] == "random sources"
    assert max(row["explained"] for row in found["controls"]) < 0.2
    said = rendered(shown(suite, scores, tables))
    assert "effect explained" in said
    for measurement in suite.measurements.values():
        assert measurement.plot is None or "mark" in json.dumps(
            measurement.plot(pd.DataFrame(measurement.make(None))).to_dict()
        )


def test_figures_on_request(few):
    suite = few
    wanted = [name for name, measurement in suite.measurements.items() if measurement.on_request]
    assert wanted == ["paths", "criterion", "in_practice", "calibration", "queries", "self_repair", "semantic"]
    chosen = suite.only(wanted)
    assert not chosen.cases
    found = {name: list(rows) for name, rows in chosen.tabulated({}).items()}
    paths = {(row["path"], row["norm"]): row for row in found["paths"]}
    assert len(paths) == 6
    for norm in ("frozen", "own"):  # the head is the last to write
        assert paths["indirect", norm]["kl"] == pytest.approx(0, abs=1e-6)
        assert paths["direct", norm]["kl"] == pytest.approx(paths["both", norm]["kl"], rel=1e-4)
    baseline = suite.only(["ov"]).score()["ov"].baseline
    assert paths["direct", "frozen"]["kl"] == pytest.approx(baseline, rel=1e-4)
    criterion = {row["criterion"]: row for row in found["criterion"]}
    assert criterion["all three"]["useful"] > 0.9 > criterion["all three"]["all"]
    assert found["in_practice"][0]["top_10"] > 0.8
    assert found["calibration"][1]["entropy"] > 0  # it makes predictions less certain
    onto, away, most_onto, most_away = (row["explained"] for row in found["queries"])
    # At words the head rests on the second token, which the text's rule spreads out; where it suppresses, the
    # unembeddings make its queries.
    assert onto < 0 < away < 0.5 < 0.9 < most_onto
    assert most_away < most_onto
    repair = {row["term"]: row for row in found["self_repair"]}
    assert repair["m0"]["ablated"]
    assert repair["a1_h0"]["clean"] < repair["a1_h0"]["after"] - 1  # there is less to suppress
    assert repair["a1_h0"]["share"] == pytest.approx(1)
    assert sum(row["share"] for row in repair.values() if not row["ablated"]) == pytest.approx(1)
    assert found["semantic"][0]["sources"] == 96


def test_switches_change_what_they_say(folder):
    def both(**switches):
        scores = copy_suppression.suite(folder, head="1.1", dtype=torch.float64, **switches).only(["both"]).score()
        return scores["both"].scrubbed

    plain = both()
    changed = [both(negative_only=False), both(centred=False), both(k_u=3.0), both(mean_rows=3)]
    assert len({plain, *changed}) == 5
    assert both(k_u=8.0, keep_invalid=True) == pytest.approx(
        copy_suppression.suite(folder, head="1.1", dtype=torch.float64).only(["ov"]).score()["ov"].scrubbed
    )


def test_a_model_without_a_tokenizer_is_said_to_be_one(folder):
    suite = copy_suppression.suite(folder)
    assert "holds no tokenizer.json: no token is taken for a function word" in suite.notes[0]
    assert "which suppresses copies most" in suite.about["head"]
    with pytest.raises(DataError, match="semantic needs to know what tokens say"):
        suite.only(["semantic"]).tabulated({})


@pytest.mark.parametrize(
    ("switches", "error", "said"),
    [
        ({"head": "10.7"}, ModelError, r"no head 10\.7: the model has layers 0 to 1 with heads 0 to 1"),
        (
            {"head": "a1_h0"},
            HypothesisError,
            r"head='a1_h0' names no head; write its layer and number, as in head=1\.5",
        ),
        ({"k_u": 1.5}, HypothesisError, "k_u is 1.5"),
        ({"neighbours": 3}, HypothesisError, "set negative_only=false too"),
        ({"neighbours": 3, "negative_only": False}, DataError, "neighbours needs to know what tokens say"),
    ],
)
def test_what_makes_no_sense_is_refused(folder, switches, error, said):
    with pytest.raises(error, match=said):
        copy_suppression.suite(folder, **switches)


def test_models_whose_heads_have_no_direct_effect_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attention_dir": "bidirectional"}))
    with pytest.raises(ModelError, match="copy suppression is about the next token"):
        copy_suppression.suite(folder)


def test_data_that_do_not_fit(folder, tmp_path):
    (folder / "rows.npz").unlink()
    with pytest.raises(DataError, match=r"holds no rows\.npz and no data\.npz; name a text, or an \.npz file"):
        copy_suppression.suite(folder)
    text = tmp_path / "short.txt"
    text.write_text("An anchor and a lamp.")
    with pytest.raises(DataError, match=r"is a text, and the model has no tokenizer\.json"):
        copy_suppression.suite(folder, text)
    with pytest.raises(DataError, match=r"has .* tokens, and the study takes at least 64: 1 row of the context of 64"):
        copy_suppression.suite(None, text)
    with pytest.raises(DataError, match="there is no data file"):
        copy_suppression.suite(None, tmp_path / "absent.txt")
    np.savez(tmp_path / "two.npz", tokens=np.zeros((4, 2), dtype=int))
    with pytest.raises(DataError, match="no position has a weight above 0, so there is nothing to evaluate"):
        copy_suppression.suite(folder, tmp_path / "two.npz")
    np.savez(tmp_path / "large.npz", tokens=np.full((4, 5), 9))
    with pytest.raises(ScrubbingError, match="token 9"):
        copy_suppression.suite(folder, tmp_path / "large.npz")


def test_a_damaged_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(DataError, match=r"tokenizer\.json is damaged or no tokenizer .*; copy it again or remove it"):
        copy_suppression.suite(folder)


def test_a_text_is_cut_into_rows(tmp_path):
    text = tmp_path / "words.txt"
    text.write_text("".join(VOCABULARY[token] for token in rows_of(Recipe(), 3, 7)[:, 1:].flatten().tolist()))
    suite = copy_suppression.suite(None, text, head="1.0")
    assert suite.about["rows"].startswith("3 of 64 tokens")


def test_a_case_is_one_of_the_shipped_suite():
    assert copy_suppression.case("both").score(references=5).references == 5
    with pytest.raises(HypothesisError, match="there is no experiment 'boht' in copy-suppression; did you mean 'both'"):
        copy_suppression.case("boht")
    with pytest.raises(HypothesisError, match="'scores' is a table and no hypothesis"):
        copy_suppression.case("scores")


def test_published_figures_stand_only_beside_the_published_head():
    assert not shipped().published
    assert published(None, (10, 7)) == published(SHIPPED, (10, 7)) == {}
    assert published(Path("gpt2"), (10, 7))["both"] == 76.9
    assert not published(Path("gpt2"), (11, 10))


def test_what_ships_is_what_the_recipe_makes():
    with np.load(SHIPPED / "rows.npz") as file:
        assert np.array_equal(file["tokens"], rows_of(Recipe(), 400, OF_ROWS).numpy())
    assert json.loads((SHIPPED / "tokenizer.json").read_text()) == json.loads(tokenizer().to_str())
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 1e6
    vocabulary = read_vocabulary(SHIPPED, 104)
    assert vocabulary.texts == VOCABULARY
    assert vocabulary.single(" anchor") == VOCABULARY.index(" anchor")
    assert vocabulary.single(" John") is None
    assert ioi_prompts(vocabulary) is None


def test_large_models_take_fewer_rows_and_where_no_head_suppresses_it_is_said(folder, monkeypatch):
    few = copy_suppression.suite(folder, rows=3)
    assert few.about["rows"].startswith("3 of 7 tokens")
    monkeypatch.setattr("hypotheses.affordable.OPERATIONS", 1e5)
    suite = copy_suppression.suite(folder)
    taken = int(suite.about["rows"].split()[0])
    assert 1 <= taken < 12
    assert f"{taken} of 12 rows are taken, so that the job takes minutes; --set rows=N takes more" in suite.notes
    monkeypatch.setattr(sys.modules["hypotheses.copy_suppression.suite"], "LEAST", 1e6)
    assert any("no head suppresses copies: head " in note for note in copy_suppression.suite(folder).notes)
