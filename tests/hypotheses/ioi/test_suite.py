"""The suite on a model folder: what it measures, what it writes, and what it refuses."""

import json

import pandas as pd
import pytest
import torch
from ioi_cases import WORDS, random_network

from hypotheses import ioi
from hypotheses.ioi.places import SHIPPED, is_published, tokenizer_of
from hypotheses.ioi.prompts import made
from hypotheses.ioi.roles import GPT2_SMALL, Roles, check_roles, read_roles
from hypotheses.ioi.suite import affordable_prompts, study_of
from scrubbing import DataError, HypothesisError, ModelError
from scrubbing.cli.results import results, write_json
from scrubbing.lens import TransformerConfig, save_transformer

pytestmark = pytest.mark.usefixtures("unchecked")

ROLES = {
    "name_mover": [[2, 0]],
    "backup": [[2, 1]],
    "s_inhibition": [[1, 0], [1, 1]],
    "duplicate": [[0, 0]],
    "previous": [[0, 1]],
}
TABLES = {
    "logit_difference": {"original", "ablated", "naive_prediction"},
    "direct_effects": {"layer", "head", "clean", "ablated"},
    "path_patching": {"senders", "receivers", "input", "change"},
    "signals": {"heads", "token", "position", "logit_difference"},
    "circuit": {"criterion", "nodes", "value", "low", "high"},
    "scores": {"layer", "head", "duplicate", "previous", "induction"},
}
ON_REQUEST = ("norm_sizes", "completeness", "attention", "repeated")


@pytest.fixture
def folder(tmp_path):
    made_ = tmp_path / "model"
    save_transformer(random_network(), made_)
    (made_ / "tokenizer.json").write_text(WORDS.to_str())
    (made_ / "roles.json").write_text(json.dumps(ROLES))
    return made_


def test_hypotheses_and_tables_are_scored_and_written(folder, tmp_path):
    suite = ioi.suite(folder, dtype=torch.float64, prompts=6).only([])
    scores = suite.score()
    path = tmp_path / "scores.json"
    tables = suite.tabulated(scores)
    write_json(results(suite, scores, tables, {}), path)
    found = json.loads(path.read_text())
    assert found.keys() == {"schema", "original", "baseline", "settings", "hypotheses", "about", "tables"}
    names = [h["name"] for h in found["hypotheses"]]
    assert names[:2] == ["naive circuit", "full circuit"]
    assert {"name mover to logits", "s inhibition to name mover q", "duplicate to s inhibition v"} <= set(names)
    assert {h["references"] for h in found["hypotheses"]} == {6}
    assert {name: set(rows[0]) for name, rows in found["tables"].items()} == TABLES
    (row,) = found["tables"]["logit_difference"]
    assert row["original"] == pytest.approx(-found["original"])  # the loss is the subject's less the object's
    effects = {(r["layer"], r["head"]): r["clean"] for r in found["tables"]["direct_effects"]}
    assert row["naive_prediction"] == pytest.approx(row["original"] - effects[2, 0])
    first = found["tables"]["signals"][0]
    assert (first["heads"], first["token"], first["position"]) == ("1.0 1.1", "original", "original")
    assert first["logit_difference"] == pytest.approx(row["original"])
    whole = next(r for r in found["tables"]["circuit"] if r["nodes"] == "the whole network")
    assert whole["value"] == pytest.approx(row["original"])
    assert found["about"]["hashes"].keys() == {"model"}
    assert {r["receivers"] for r in found["tables"]["path_patching"]} == {"logits", "2.0", "1.0 1.1"}


@pytest.mark.slow
def test_figures_of_the_text_are_tables_by_name_with_plots(folder):
    suite = ioi.suite(folder, dtype=torch.float64, prompts=4)
    assert [name for name, m in suite.measurements.items() if m.on_request] == list(ON_REQUEST)
    for name, measurement in suite.measurements.items():
        rows = measurement.make(False)
        assert rows, name
        if measurement.plot is not None:
            assert measurement.plot(pd.DataFrame(rows)).to_dict()["config"]
    assert {r["head"] for r in suite.measurements["repeated"].make(False)} == {"0.0"}


@pytest.mark.slow
def test_switches_change_what_they_say(folder):
    study = {"model": folder, "dtype": torch.float64}
    plain = ioi.suite(**study, prompts=4)

    def table(name, **switches):
        return ioi.suite(**study, prompts=4, **switches).measurements[name].make(False)

    own = {name: plain.measurements[name].make(False) for name in ("path_patching", "circuit", "signals")}
    assert table("path_patching", freeze_mlps=True) != own["path_patching"]
    assert table("circuit", union_of_positions=True) != own["circuit"]
    assert table("signals", signal_positions="end") != own["signals"]
    assert table("signals", prompt_seed=1) != own["signals"]
    assert len(ioi.suite(**study, prompts=4, prompt_templates=2).cases[0].data["template"].unique()) == 2


def test_prompts_come_from_a_file(folder, tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(prompt.text for prompt in made(5, 9)))
    suite = ioi.suite(folder, path)
    assert suite.about["data"] == f"5 prompts of {path}"
    assert len(suite.cases[0].settings["references"]) == 5


def test_heads_are_measured_where_no_file_names_them(folder):
    (folder / "roles.json").unlink()
    suite = ioi.suite(folder, prompts=14)
    assert any(
        "heads were measured on these prompts, as there is no roles.json: name mover" in note for note in suite.notes
    )
    assert suite.about["heads"].startswith("name mover ")


def test_folders_without_what_is_needed_are_refused(folder):
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="is damaged or no tokenizer"):
        ioi.suite(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"holds no tokenizer.json, so that prompts cannot be made"):
        ioi.suite(folder)


BAD = {
    '{"name_mover": [[9, 9]]}': "speaks of head 9.9, but the model has 3 layers of 2 heads; name the heads of this",
    '{"name_mover": [[2, 0]], "backup": [[2, 0]]}': "head 2.0 plays two parts",
    '{"name_mover": [[2, 0]], "naive": [[1, 0]]}': "the naive circuit has head 1.0, which plays no part",
    '{"backup": [[2, 0]]}': "no head is a name mover",
    '{"movers": [[2, 0]]}': "movers: Extra inputs are not permitted; for example",
    "[": "cannot be read as JSON",
}


@pytest.mark.parametrize("text", BAD)
def test_roles_that_do_not_fit_are_refused(folder, text):
    (folder / "roles.json").write_text(text)
    with pytest.raises(ModelError, match=BAD[text]):
        ioi.suite(folder)


def test_names_that_are_several_tokens_are_left_out_and_said(folder):
    words = json.loads(WORDS.to_str())
    for name in ("Mary", "John"):
        words["model"]["vocab"][f"not {name}"] = words["model"]["vocab"].pop(name)
    (folder / "tokenizer.json").write_text(json.dumps(words))
    suite = ioi.suite(folder, prompts=4)
    assert "names that are no token of their own were left out: John, Mary" in suite.notes


def test_the_published_circuit_has_26_heads_and_is_used_by_name_alone():
    assert len(GPT2_SMALL.full) == 26
    assert len(GPT2_SMALL.naive_places) == 13
    shape = {"n_layers": 12, "n_heads": 12, "d_model": 768, "d_head": 64, "d_vocab": 50257, "n_ctx": 1024}
    check_roles(GPT2_SMALL, TransformerConfig(**shape, attn_only=True), "the published network")
    assert not is_published(None)
    assert not is_published(SHIPPED)


def test_what_ships_is_whole_and_small():
    assert {path.name for path in SHIPPED.iterdir()} == {
        *("config.json", "model.safetensors", "tokenizer.json", "roles.json", "README.md")
    }
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 8e6
    assert tokenizer_of(None).get_vocab() == WORDS.get_vocab()
    study, notes = study_of()
    assert notes == ()
    assert read_roles(SHIPPED / "roles.json", study.model.config) == study.roles
    assert isinstance(study.roles, Roles)
    assert ioi.case("full circuit").score(references=20).references == 20
    with pytest.raises(HypothesisError, match="there is no experiment 'fuller circuit' in ioi; did you mean"):
        ioi.case("fuller circuit")


def test_thresholds_measure_heads_again(folder):
    known = ioi.suite(folder, prompts=4)
    strict = ioi.suite(folder, prompts=4, thresholds="moves=1, looks_at=0, inhibits=1, tells=1")
    assert any("heads were measured on these prompts, by these thresholds" in note for note in strict.notes)
    assert strict.about["heads"] != known.about["heads"]
    assert "s inhibition" not in strict.about["heads"]
    with pytest.raises(HypothesisError, match="there is no threshold 'movs'; did you mean 'moves'"):
        ioi.suite(folder, thresholds="movs=1")
    with pytest.raises(HypothesisError, match=r"'moves=2' must be a number from 0 to 1, as in moves=0\.3"):
        ioi.suite(folder, thresholds="moves=2")


def test_large_models_get_fewer_prompts():
    gpt2 = dict(n_layers=12, n_heads=12, d_model=768, d_head=64, d_vocab=50257, n_ctx=1024, attn_only=False)
    assert affordable_prompts(TransformerConfig(**gpt2, act_fn="gelu_new")) == 14
    small = dict(n_layers=4, n_heads=6, d_model=96, d_head=16, d_vocab=212, n_ctx=40, attn_only=False, d_mlp=192)
    assert affordable_prompts(TransformerConfig(**small, act_fn="relu")) == 112
