"""The suite on model folders: its hypotheses, its tables, what it writes, and what it refuses."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from plain_repair import model_of, passed, rows_of, save

from hypotheses import self_repair
from hypotheses.self_repair.suite import SHIPPED, affordable_rows
from hypotheses.self_repair.tables import SHOWN
from scrubbing import DataError, HypothesisError, ModelError, donor, measure
from scrubbing.cli.results import results, shown, write_json
from scrubbing.lens import TransformerConfig
from scrubbing.score.tables import rendered

pytestmark = pytest.mark.usefixtures("unchecked_throughout")

PLAIN = ["heads", "layers", "shares", "frozen_norm", "norm_ratios", "self_repression", "overwritten"]
REQUESTED = ["norm_histogram", "scatter", "overwritten_heads", "top_neurons"]
NEURONS = ["anti_erasure", "neurons_by_rank", "neurons_cumulative"]


def folder_of(path, rows=10, **settings):
    model = model_of(**settings)
    folder = save(model, path)
    np.savez(folder / "data.npz", tokens=rows_of(model, rows).numpy())
    return folder, model


@pytest.fixture(scope="module")
def sequential(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("model") / "sequential")


@pytest.fixture(scope="module")
def suite(sequential):
    return self_repair.suite(sequential[0], dtype=torch.float64, batch=2)


def test_hypotheses_lose_what_interventions_lose(sequential, suite):
    """That a head does not matter, by scrubbing on the ablation's donors, is the resampling ablation."""
    folder, model = sequential
    names = [f"{layer}.{head}/{kind}" for layer in range(3) for head in (0, 1) for kind in ("resampled", "norm frozen")]
    assert [case.name for case in suite.cases] == names
    scores = suite.score()
    rows = torch.from_numpy(np.load(folder / "data.npz")["tokens"])
    plain = passed(model, rows)
    for layer, head in ((0, 1), (1, 0), (2, 1)):
        case = suite.only([f"{layer}.{head}"]).cases[0]
        donors = [(row + 2) % 10 for row in range(10)]
        name = f"a{layer}_h{head}"
        ablated = measure(case.hypothesis.G, {"ablated": {name: donor(donors)}}, case.data)["ablated"]
        assert scores[f"{layer}.{head}/resampled"].scrubbed == pytest.approx(ablated.scrubbed, abs=1e-10)
        # With the norm frozen, the pass is one that divides by what it divided by before.
        replaced = {(layer, head): plain.z[layer, head].roll(-2, 0)}
        w, held = model.weights, passed(model, rows, replaced, size=plain.size)
        centred = (held.resid - held.resid.mean(-1, keepdim=True)) / plain.size[..., None]
        logits = (centred * w["ln_final.w"] + w["ln_final.b"]) @ w["unembed.W_U"] + w["unembed.b_U"]
        losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        assert scores[f"{layer}.{head}/norm frozen"].scrubbed == pytest.approx(losses.item(), abs=1e-10)


def test_tables_go_to_json(suite, tmp_path):
    chosen = suite.only([])
    assert list(chosen.measurements) == [*PLAIN, *NEURONS]
    scores = suite.only(["1.0"]).score(references=[0, 1])
    tables = chosen.tabulated(scores, False)
    write_json(results(chosen, scores, tables, {}), tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert found.keys() == {"schema", "original", "baseline", "settings", "hypotheses", "about", "tables"}
    assert list(found["tables"]) == [*PLAIN, *NEURONS]
    heads = found["tables"]["heads"]
    assert list(heads[0]) == ["layer", "head", "ablation", "tokens", *SHOWN]
    assert SHOWN == (
        "direct_effect", "change_in_logit", "self_repair", "from_heads", "from_mlps", "from_norm",
        "norm_ratio_above_one",
    )  # fmt: skip
    assert [(row["layer"], row["head"], row["ablation"]) for row in heads] == [
        (layer, head, a) for layer in range(3) for head in (0, 1) for a in ("resample", "mean", "zero")
    ]
    assert {row["tokens"] for row in heads} == {1}  # 2% of 70
    for row in heads:
        parts = row["from_heads"] + row["from_mlps"] + row["from_norm"]
        assert row["self_repair"] == pytest.approx(parts, abs=1e-10)
    shown_ = rendered(shown(chosen, scores, tables))
    assert "self-repair: percent of the loss recovered" in shown_
    assert all(name.replace("_", " ") in shown_ for name in PLAIN)


def test_all_tokens_or_the_top_ones(sequential):
    folder, _ = sequential
    every = self_repair.suite(folder, dtype=torch.float64, batch=2, tokens="all")
    rows = every.measurements["heads"].make(False)
    assert {row["tokens"] for row in rows} == {70}
    layers = every.measurements["layers"].make(False)
    assert layers[0]["direct_effect"] == pytest.approx((rows[0]["direct_effect"] + rows[3]["direct_effect"]) / 2)
    assert layers[0].keys() >= {"layer", "ablation", *SHOWN}


def test_switches_change_what_they_say(sequential, suite):
    folder, _ = sequential
    plain = suite.measurements["heads"].make(False)
    for switch in ({"de_ln": "own"}, {"center_unembed": True}, {"batch": 5}, {"rows": 6}):
        other = self_repair.suite(folder, dtype=torch.float64, **({"batch": 2} | switch))
        assert other.measurements["heads"].make(False)[0] != plain[0], switch
    cut = self_repair.suite(folder, dtype=torch.float64, batch=2, rows=10, clip="ratio_of_means", tokens="all")
    each = self_repair.suite(folder, dtype=torch.float64, batch=2, rows=10, tokens="all")
    assert cut.measurements["shares"].make(False) != each.measurements["shares"].make(False)
    ranks = self_repair.suite(folder, dtype=torch.float64, batch=2, thresholds="30,2", head="0.1")
    rows = ranks.measurements["neurons_by_rank"].make(False)
    assert list(rows[0]) == ["layer", "head", "rank", "above_30%", "above_2%"]
    assert (rows[0]["layer"], rows[0]["head"]) == (0, 1)


def test_frozen_norms_leave_heads_and_mlps(suite):
    heads, frozen = (suite.measurements[name].make(False) for name in ("heads", "frozen_norm"))
    for row, held in zip(heads, frozen, strict=True):
        assert held["frozen_self_repair"] == pytest.approx(row["from_heads"] + row["from_mlps"])
        change = row["change_in_logit"] - row["from_norm"]
        assert held["frozen_change_in_logit"] == pytest.approx(change)


def test_every_table_has_rows_and_its_plot_is_made(suite):
    assert set(suite.measurements) == {*PLAIN, *REQUESTED, *NEURONS}
    for name, measurement in suite.measurements.items():
        rows = measurement.make(False)
        assert rows, name
        assert measurement.about, name
        if measurement.plot is not None:
            chart = measurement.plot(pd.DataFrame(rows)).to_dict()
            assert "$schema" in chart, name
    assert {name for name, m in suite.measurements.items() if m.plot is None} == {
        "norm_ratios", "overwritten", "overwritten_heads", "anti_erasure",
    }  # fmt: skip
    scattered = suite.measurements["scatter"].make(False)
    assert len(scattered) == 3 * 70
    assert scattered[0].keys() >= {"layer", "head", "ablation", "row", "position", "direct_effect", "self_repair"}


def test_a_network_of_attention_alone_says_that_it_has_no_neurons(tmp_path):
    folder, _ = folder_of(tmp_path / "attention", attn_only=True, normalization_type=None)
    suite = self_repair.suite(folder)
    assert list(suite.only([]).measurements) == PLAIN
    assert [case.name for case in suite.cases][:2] == ["0.0/resampled", "0.1/resampled"]  # no norm to be frozen
    for name in (*NEURONS, "top_neurons"):
        with pytest.raises(ModelError, match="the model has attention alone, and so no neurons that could repair"):
            suite.only([name]).measurements[name].make(False)


def test_large_networks_measure_fewer_rows(tmp_path):
    small = {"n_heads": 12, "d_model": 768, "d_head": 64, "d_vocab": 50257, "n_ctx": 1024, "n_layers": 12}
    gpt2 = TransformerConfig(**small, attn_only=False, act_fn="gelu_new")
    assert 2 <= affordable_rows(gpt2, 127) < 16
    shipped = {"n_heads": 8, "d_model": 256, "d_head": 32, "d_vocab": 4096, "n_ctx": 300, "n_layers": 2}
    assert affordable_rows(TransformerConfig(**shipped), 300) == 256
    folder, _ = folder_of(tmp_path / "many", n_layers=9, n_heads=4, attn_only=True)
    suite = self_repair.suite(folder)
    assert [case.name for case in suite.cases][::2] == [f"8.{head}/resampled" for head in range(4)]
    assert suite.notes == ("hypotheses are about the heads of layer 8, the last; the tables are about all heads",)


def test_text_is_cut_into_rows(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder, _ = folder_of(tmp_path / "text")
    words = {"<|endoftext|>": 0, **{word: n for n, word in enumerate("abcdefghij", 1)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (tmp_path / "corpus.txt").write_text("a b c d e f g h i j " * 3)
    data = self_repair.suite(folder, tmp_path / "corpus.txt", rows=4).cases[0].data
    assert isinstance(data, dict)
    assert data["tokens"].tolist()[:2] == [[0, 1, 2, 3, 4, 5, 6], [0, 8, 9, 10, 1, 2, 3]]
    (tmp_path / "short.txt").write_text("a b c d e f g h i j")
    with pytest.raises(DataError, match=r"has 10 tokens, and the study takes at least 14: 2 rows of the context of 7"):
        self_repair.suite(folder, tmp_path / "short.txt")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"is text, and there is no .*tokenizer.json to make tokens of it"):
        self_repair.suite(folder, tmp_path / "corpus.txt")


def test_bad_input_is_named(sequential, tmp_path):
    folder, model = sequential
    bare = save(model, tmp_path / "bare")
    with pytest.raises(DataError, match=r"holds no data.npz; name an .npz file of tokens .* with --data"):
        self_repair.suite(bare)
    wrong = {
        "one row": (np.zeros((1, 8), int), "holds 1 of the 2 rows that the study takes; give more"),
        "long": (np.zeros((4, 9), int), "rows of 9 tokens give 8 inputs, but the model's context is 7"),
        "foreign": (np.full((4, 8), 11), "holds token 11 in row 0, position 0, but tokens go from 0 to 10"),
        "flat": (np.zeros(8, int), "has the shape .8.; it must be .rows, context . 1."),
    }
    for name, (tokens, said) in wrong.items():
        np.savez(tmp_path / f"{name}.npz", tokens=tokens)
        with pytest.raises(DataError, match=said):
            self_repair.suite(folder, tmp_path / f"{name}.npz")
    with pytest.raises(ModelError, match=r"there is no head 3.0: the model has layers 0 to 2 with heads 0 to 1"):
        self_repair.suite(folder, head="3.0")
    with pytest.raises(
        HypothesisError, match=r"head='a2_h1' names no head; write its layer and number, as in head=1.5"
    ):
        self_repair.suite(folder, head="a2_h1")
    with pytest.raises(HypothesisError, match="thresholds='50,x' must be percentages between commas"):
        self_repair.suite(folder, thresholds="50,x")
    with pytest.raises(ModelError, match=r"there is no model folder .*nowhere"):
        self_repair.suite(tmp_path / "nowhere")


def test_a_run_can_be_kept_and_taken_up(sequential, tmp_path):
    folder, _ = sequential
    path = str(tmp_path / "run.safetensors")
    first, again = (self_repair.suite(folder, batch=2, checkpoint=path) for _ in range(2))
    assert again.measurements is not first.measurements
    assert first.measurements["heads"].make(False) == again.measurements["heads"].make(False)
    with pytest.raises(DataError, match="is the checkpoint of another model, other data or other settings"):
        self_repair.suite(folder, batch=3, checkpoint=path).measurements["heads"].make(False)


def test_a_case_is_one_of_the_shipped_suite():
    case = self_repair.case("1.5/norm frozen")
    assert case.name == "1.5/norm frozen"
    assert case.score(references=[0, 1]).references == 2
    with pytest.raises(HypothesisError, match=r"there is no experiment '1\.8'"):
        self_repair.case("1.8")


@pytest.mark.slow
def test_the_shipped_network_is_repaired_by_its_norm():
    """Head 1.5, in the last layer of a network of attention alone."""
    suite = self_repair.suite(rows=32)
    rows = suite.measurements["heads"].make(False)
    found = next(r for r in rows if (r["layer"], r["head"], r["ablation"]) == (1, 5, "resample"))
    assert found["tokens"] == 192
    assert 3 < found["direct_effect"] < 4.5
    assert found["change_in_logit"] == pytest.approx(-2.6, abs=0.6)
    assert found["self_repair"] == pytest.approx(found["from_norm"], abs=1e-5)
    assert found["from_heads"] == found["from_mlps"] == 0
    assert found["norm_ratio_above_one"] > 0.95


def test_the_network_of_indirect_objects_ships_with_prompts_and_has_neurons():
    suite = self_repair.suite(shipped="ioi", rows=8, batch=4)
    by_folder = self_repair.suite(Path(os.path.relpath(SHIPPED["ioi"])), rows=8)
    assert by_folder.about["data"] == suite.about["data"]
    assert suite.about["data"] == "8 prompts of indirect objects, made (seed 0)"
    assert suite.about["model"].startswith("the shipped model.safetensors")
    assert suite.cases[0].name == "0.0/resampled"
    data = suite.cases[0].data
    assert isinstance(data, dict)
    assert data["tokens"].shape[0] == 8
    heads = suite.measurements["heads"].make(False)
    assert len(heads) == 4 * 6 * 3
    for row in heads:
        parts = row["from_heads"] + row["from_mlps"] + row["from_norm"]
        assert row["self_repair"] == pytest.approx(parts, abs=1e-4)
    assert any(abs(row["from_mlps"]) > 0.01 for row in heads)
    assert suite.measurements["anti_erasure"].make(False)
    assert self_repair.case("3.5/norm frozen", shipped="ioi").name == "3.5/norm frozen"
