"""Repositories in transformer_lens' first form: read as they are, from a folder or by name, and refused in words."""

import importlib
import json
import pickle

import pytest
import torch
from reference_transformer import plain_logits, random_data, random_transformer

from scrubbing.errors import ModelError
from scrubbing.lens import load_transformer, transformer

MODEL = random_transformer(positional_embedding_type="shortformer")
BUFFERS = {"mask": torch.ones(5, 5).tril().bool(), "IGNORE": torch.tensor(-1e5)}


@pytest.fixture
def folder(tmp_path):
    """A stub of `attn-only-2l-demo`: the settings that such repositories have, and a state dict with its buffers."""
    sizes = {
        name: getattr(MODEL.config, name) for name in ("n_layers", "n_heads", "d_model", "d_head", "d_vocab", "n_ctx")
    }
    training = {"lr": 1e-3, "d_mlp": 24, "act_fn": "solu_ln", "seed": 10, "tokenizer_name": "someone/tokenizer"}
    settings = {"attn_only": True, "shortformer_pos": True, "normalization": "LN", **sizes, **training}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    buffers = {f"blocks.{layer}.attn.{name}": value for layer in range(2) for name, value in BUFFERS.items()}
    torch.save(dict(MODEL.weights) | buffers, tmp_path / "model_final.pth")
    return tmp_path


def test_a_folder_of_the_first_form_is_the_model_that_it_holds(folder):
    loaded = load_transformer(folder)
    assert loaded.config.positional_embedding_type == "shortformer"
    assert loaded.config.normalization_type == "LN"
    assert transformer(loaded) == transformer(MODEL)
    tokens = random_data(MODEL.config, rows=3)["tokens"]
    got = transformer(loaded).activations({"tokens": tokens}, "logits")[0].all()
    torch.testing.assert_close(got, plain_logits(MODEL.config, dict(MODEL.weights), tokens), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "official"),
    [
        ("redwood_attn_2l", "ArthurConmy/redwood_attn_2l"),
        ("attn-only-2l-demo", "NeelNanda/Attn-Only-2L512W-Shortformer-6B-big-lr"),
    ],
)
def test_by_name_its_pickle_is_asked_for_and_no_other(name, official, folder, monkeypatch):
    asked = {}

    def download(name, allow_patterns):
        asked[name] = allow_patterns
        return str(folder)

    monkeypatch.setattr(importlib.import_module("huggingface_hub"), "snapshot_download", download)
    assert transformer(load_transformer(name)) == transformer(MODEL)
    load_transformer("someone/else")
    assert list(asked) == [official, "someone/else"]
    assert [[pattern for pattern in asked[one] if pattern.endswith("pth")] for one in asked] == [["*final.pth"], []]


def settings_changed(folder, **changes):
    settings = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(settings))


class Evil:
    def __reduce__(self):
        return print, ("this was run",)


SPOILT = {
    "another layout": (
        lambda folder: settings_changed(folder, architecture="mingpt"),
        "config.json: architecture is 'mingpt', and of these repositories only 'neel' is read",
    ),
    "a setting that is missing": (
        lambda folder: settings_changed(folder, n_heads=None),
        "config.json: n_heads: Input should be a valid integer",
    ),
    "weights of other sizes": (
        lambda folder: settings_changed(folder, d_vocab=8),
        "'embed.W_E' has the shape [7, 6], but by config.json it must be [8, 6]",
    ),
    "code": (
        lambda folder: (folder / "model_final.pth").write_bytes(pickle.dumps({"embed.W_E": Evil()})),
        "model_final.pth is damaged or no state dict of tensors (",
    ),
    "a truncated file": (
        lambda folder: (folder / "model_final.pth").write_bytes((folder / "model_final.pth").read_bytes()[:-200]),
        "model_final.pth is damaged or no state dict of tensors (",
    ),
    "a tensor": (
        lambda folder: torch.save(torch.ones(3), folder / "model_final.pth"),
        "model_final.pth holds Tensor, and not a dict from names to tensors",
    ),
    "no weights": (
        lambda folder: (folder / "model_final.pth").unlink(),
        "model.safetensors is missing; it holds the model's weights",
    ),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_what_is_damaged_is_said_in_one_line_and_nothing_is_run(spoilt, folder, capsys):
    spoil, message = SPOILT[spoilt]
    spoil(folder)
    with pytest.raises(ModelError) as error:
        load_transformer(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""
