"""The suite on a model folder: what it measures and writes, its switches, and what it refuses."""

import json

import numpy as np
import pytest
import torch
from benchmarks.studies import random_weights
from reference_transformer import random_transformer

from hypotheses import polysemantic
from hypotheses.induction.places import SHIPPED as INDUCTION
from hypotheses.polysemantic.places import tokenizer_file
from hypotheses.polysemantic.prompts import CURRENT, Template
from hypotheses.polysemantic.published import OVERRIDE
from hypotheses.polysemantic.tokens import Vocabulary
from scrubbing import DataError, ModelError, ScrubbingError
from scrubbing.cli.results import results, shown, write_json
from scrubbing.lens import Transformer, TransformerConfig, save_transformer
from scrubbing.score.tables import rendered

pytestmark = pytest.mark.usefixtures("unchecked")

TOKENIZER = tokenizer_file(None, None)
SOURCE = "def add(a, b):\n    if a:\n        return a + b\n    return dict(width=b)\n\n\nclass Pair:\n    pass\n" * 12
SIZES = dict(n_layers=2, n_heads=2, d_model=8, d_head=4, d_vocab=4096, n_ctx=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("model")
    save_transformer(random_transformer(**SIZES, positional_embedding_type="shortformer"), made)
    (made / "tokenizer.json").write_bytes(TOKENIZER.read_bytes())
    (made / "text.py").write_text(SOURCE)
    (made / "roles.json").write_text('{"head": [0, 1]}')
    return made


def on(folder, **settings):
    return polysemantic.suite(folder, folder / "text.py", dtype=torch.float64, **settings)


@pytest.mark.filterwarnings("ignore:.*neighbouring rows correlate")  # of one text
def test_tables_are_measured_and_written(folder, tmp_path):
    suite = on(folder)
    scores = suite.score(references=4)
    tables = suite.tabulated(scores)
    path = tmp_path / "scores.json"
    write_json(results(suite, scores, tables, {}), path)
    found = json.loads(path.read_text())
    assert {"schema", "about", "settings", "hypotheses", "tables"} <= found.keys()
    assert [h["name"] for h in found["hypotheses"]] == [
        "previous",
        "induction",
        "previous+induction",
        "bigger indentation",
        "unknown",
        "all of these",
    ]
    assert {name: list(rows[0]) for name, rows in found["tables"].items()} == {
        "behaviours": ["destination", "behaviour", "rows", "share"],
        "excess": ["destination", "behaviour", "share", "chance", "excess"],
        "heads": [
            "head",
            "behaviours",
            "inactive",
            "previous",
            "induction",
            "previous and induction",
            "bigger indentation",
        ],
        "override": [
            "family",
            "prompts",
            "clean_top1",
            "clean_probability",
            "ablated_top1",
            "ablated_probability",
        ],
        "positions": ["family", "prompts", "position", "token", "role", "change", "standard_error"],
    }
    every = [row for row in found["tables"]["behaviours"] if row["destination"] == "all"]
    rows = len(Vocabulary.read(TOKENIZER).encode(SOURCE)) // 32
    assert sum(row["rows"] for row in every) == rows * 31
    assert found["about"]["head"] == "0.1"
    marked = {"⏎[·x3]", "⏎[·x7]", "·R", "width", "dict"}
    assert {row["destination"] for row in found["tables"]["behaviours"]} >= marked
    assert len(found["tables"]["heads"]) == 4
    for row in found["tables"]["positions"]:
        assert row["position"] > 0 or row["change"] == pytest.approx(0, abs=1e-12)  # it sees itself alone
    assert "bigger indentation" in rendered(shown(suite, scores, tables))


def test_what_prompts_lose_at_the_last_position_is_in_both_tables(folder):
    suite = on(folder)
    tables = suite.tabulated({})
    for row in tables["override"]:
        last = [r for r in tables["positions"] if r["family"] == row["family"] and r["role"] == CURRENT]
        change = 100 * (row["ablated_probability"] - row["clean_probability"])
        assert last[0]["change"] == pytest.approx(change, abs=1e-9)


def test_figures_are_drawn(folder):
    suite = on(folder)
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("altair")
    for name in ("behaviours", "positions"):
        measurement = suite.measurements[name]
        assert measurement.plot is not None
        text = json.dumps(measurement.plot(pandas.DataFrame(measurement.make(None))).to_dict())
        assert "bigger indentation" in text


def test_switches_reach_what_they_switch(folder):
    plain, current = on(folder), on(folder, include_current=True, window=2, threshold=0.6)
    counts = [
        sum(r["rows"] for r in s.measurements["behaviours"].make(None) if r["behaviour"] == "previous")
        for s in (plain, current)
    ]
    assert counts[1] > counts[0]
    assert "60% of a row; previous: the last 2 tokens, the current one too" in current.about["behaviours"]
    assert on(folder, head="1.0").about["head"] == "1.0"
    assert on(folder, rows=3).about["rows"] == "3 of 33 tokens, 3 evaluated"
    marked = on(folder, rows=3, destination_tokens="⏎|·return").measurements["behaviours"].make(None)
    assert {r["destination"] for r in marked} == {"all", "⏎ and any indent", "⏎", "·return"}
    own = {"own": Template(("say", " {a}", (" and", CURRENT)), "{a}", {"a": ("name", "value")}, 4)}
    (row,) = on(folder, prompts=own).measurements["override"].make(None)
    assert (row["family"], row["prompts"]) == ("own", 4)


def test_without_a_named_head_it_is_the_one_that_does_most(folder, tmp_path):
    for name in ("config.json", "model.safetensors", "tokenizer.json", "text.py"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    suite = on(tmp_path)
    assert suite.about["head"] == suite.measurements["heads"].make(None)[0]["head"]


def test_published_figures_stand_beside_the_published_network_alone(folder, monkeypatch):
    assert "published_override" not in on(folder).measurements
    assert [row["family"] for row in OVERRIDE] == ["induction", "bigger indentation", "previous"]
    monkeypatch.setattr("hypotheses.polysemantic.published.NAMES", (str(folder),))
    with pytest.raises(ModelError, match=r"no head 1\.4"):  # the published head, where none is named
        on(folder)
    suite = on(folder, head="1.1")
    assert suite.measurements["published_override"].make(None) == OVERRIDE


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(head="7.0"), r"no head 7\.0: the model has layers 0 to 1 with heads 0 to 1"),
        (dict(head="one"), "head='one' names no head; write its layer and number"),
        (dict(destination_tokens="supercalifragilistic"), "is not one token of this tokenizer"),
        (
            dict(prompts={"long": Template(("a" + " a" * 40, (" b", CURRENT)), "b", {})}),
            "more than the model's context of 32",
        ),
    ],
)
def test_what_the_model_does_not_have_is_refused(folder, settings, said):
    with pytest.raises(ScrubbingError, match=said):
        on(folder, **settings).tabulated({})


def test_corpora_and_files_that_do_not_fit_are_refused(folder, tmp_path):
    short, binary = tmp_path / "short.py", tmp_path / "binary.txt"
    short.write_text("def f(): pass")
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="and the study takes at least 32: 1 row of the context of 32"):
        polysemantic.suite(folder, short)
    with pytest.raises(DataError, match=r"neither an \.npz file nor text"):
        polysemantic.suite(folder, binary)
    with pytest.raises(DataError, match="there is no data file"):
        polysemantic.suite(folder, tmp_path / "none.txt")
    with pytest.raises(DataError, match=r"holds no data\.npz"):
        polysemantic.suite(folder)
    with pytest.raises(DataError, match="need the model's tokenizer"):
        polysemantic.suite(folder, folder / "text.py", tokenizer=tmp_path / "tokenizer.json")
    with pytest.raises(DataError, match="damaged or no tokenizer"):
        polysemantic.suite(folder, folder / "text.py", tokenizer=short)
    with pytest.raises(DataError, match="no folder that could hold a tokenizer"):
        polysemantic.suite(random_transformer(**SIZES), folder / "text.py")


def test_a_file_of_rows_keeps_its_groups(folder, tmp_path):
    rows = np.load(INDUCTION / "data.npz")["tokens"][:6, :33]
    np.savez(tmp_path / "data.npz", tokens=rows, groups=np.arange(6) // 2)
    suite = polysemantic.suite(folder, tmp_path / "data.npz", dtype=torch.float64)
    assert suite.cases[0].settings["groups"] == "groups"
    scores = suite.only(["induction"]).score()
    assert scores["induction"].references == 6


def test_a_damaged_roles_file_says_how_it_should_look(folder, tmp_path):
    for name in ("config.json", "model.safetensors", "tokenizer.json", "text.py"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "roles.json").write_text('{"head": "first"}')
    with pytest.raises(ModelError, match=r'head: .*; for example ."head": .2, 5..'):
        on(tmp_path)


@pytest.mark.slow
def test_a_network_of_the_size_of_the_source_s_goes_through(tmp_path):
    """As `attn-only-4l`, with random weights."""
    sizes = dict(n_layers=4, n_heads=8, d_model=512, d_head=64, d_vocab=48262, n_ctx=1024)
    model = random_transformer(**sizes).to(torch.float32)
    text = tmp_path / "text.py"
    text.write_text(SOURCE * 20)
    # An object that `load_transformer` takes as weights would need a config: here it is a folder.
    save_transformer(model, tmp_path)
    suite = polysemantic.suite(tmp_path, text, tokenizer=TOKENIZER, rows=1, head="1.4")
    tables = suite.tabulated(suite.score(references=1))
    assert [row["prompts"] for row in tables["override"]] == [120, 50, 50]
    assert sum(row["rows"] for row in tables["behaviours"][:6]) == 1023


def test_deep_networks_are_planned_and_take_fewer_prompts(folder, tmp_path, monkeypatch):
    """With MLPs there are millions of paths through twelve layers; nothing is drawn for any of them."""
    text = tmp_path / "text.py"
    text.write_text(SOURCE)
    config = TransformerConfig(**(SIZES | dict(n_layers=12, attn_only=False, act_fn="relu", n_ctx=64)))  # pyright: ignore
    model = Transformer(config, random_weights(config))
    suite = polysemantic.suite(model, text, tokenizer=TOKENIZER, rows=2, head="0.1")
    assert suite.only(["induction"]).score()["induction"].references == 2
    monkeypatch.setattr("hypotheses.affordable.OPERATIONS", 1e6)
    few = polysemantic.suite(model, text, tokenizer=TOKENIZER, head="0.1")
    assert few.about["rows"].startswith("1 of 65 tokens")
    rows = few.measurements["positions"].make(None)
    assert {row["prompts"] for row in rows} == {2}
