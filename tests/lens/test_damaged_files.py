"""Weights and configurations with wrong bytes: they load, or are refused in one line."""

import json

import pytest
import torch
from mutations import outcomes
from safetensors.torch import save_file

from scrubbing.lens import load_transformer

SIZES = dict(n_layers=1, n_heads=2, d_model=4, d_head=2, d_vocab=3, n_ctx=5, normalization_type=None)
SHAPES = {"embed.W_E": (3, 4), "pos_embed.W_pos": (5, 4), "unembed.W_U": (4, 3), "blocks.0.attn.W_O": (2, 2, 4)}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_wrong_bytes_are_refused_in_one_line(file, tmp_path):
    shapes = SHAPES | {f"blocks.0.attn.W_{which}": (2, 4, 2) for which in "QKV"}
    save_file({name: torch.ones(shape) for name, shape in shapes.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(SIZES))
    found = outcomes(tmp_path / file, lambda: load_transformer(tmp_path), 300)
    assert found.keys() <= {"read", "refused"}
    assert found["refused"] > 150
