"""`scrubbing score layers` takes a model of Hugging Face from disk, and rows of tokens."""

import json
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
from command_line import command
from hugging_face_models import VOCABULARY, hugging_face_model

from hypotheses import layers
from scrubbing import donor, measure

pytestmark = pytest.mark.usefixtures("unchecked")
ROWS = torch.randint(0, VOCABULARY, (6, 9), generator=torch.Generator().manual_seed(3))


@pytest.fixture
def files(tmp_path):
    """A model of Hugging Face in shards, and a file of tokens."""
    hugging_face_model("gemma2").save_pretrained(tmp_path / "model", max_shard_size="20KB")
    np.savez(tmp_path / "rows.npz", tokens=ROWS.numpy())
    return tmp_path / "model", tmp_path / "rows.npz"


def test_a_folder_of_hugging_face_is_scored_from_the_command_line(files, capsys, monkeypatch, tmp_path):
    entry = EntryPoint("layers", "hypotheses.layers", "scrubbing.hypotheses")
    monkeypatch.setattr("scrubbing.cli.suites._entries", lambda: {"layers": entry})
    scrubbing = command(capsys, monkeypatch, width=120)
    model, data = files
    finished = scrubbing("score", "layers", "--model", model, "--data", data, "--json", tmp_path / "scores.json")
    assert finished.status == 0, finished.err
    assert "attention" in finished.out
    written = json.loads((tmp_path / "scores.json").read_text())
    names = [f"{row['name']}/{row['inputs']}" for row in written["hypotheses"]]
    assert names == ["attention/0", "MLP/0", "attention/1", "MLP/1"]


@pytest.mark.parametrize("by", ["layer", "head"])
def test_what_is_left_out_is_that_of_another_row(files, by, tmp_path):
    """A claim that leaves something out is an intervention that replaces it."""
    donors = np.array([3, 0, 4, 1, 5, 2])
    np.savez(tmp_path / "paired.npz", tokens=ROWS.numpy(), other=donors)
    made = layers.suite(files[0], tmp_path / "paired.npz", by=by)
    heads = [f"attention/{layer}.{head}" for layer in range(2) for head in range(4)] if by == "head" else []
    assert sorted(made.hypotheses) == sorted(["attention/0", "MLP/0", "attention/1", "MLP/1", *heads])
    nodes = {"attention/0": "a0", "MLP/1": "m1"} | ({"attention/0.2": "a0_h2"} if heads else {})
    G, data = made.cases[0].hypothesis.G, made.cases[0].data
    replaced = measure(G, {name: {node: donor(donors)} for name, node in nodes.items()}, data)
    scores = made.only(nodes).score()
    for name in nodes:
        np.testing.assert_allclose(scores[name].losses["scrubbed"], replaced[name].losses["scrubbed"], atol=1e-5)
        assert (scores[name].losses["scrubbed"] - scores[name].losses["original"]).abs().max() > 1e-3
