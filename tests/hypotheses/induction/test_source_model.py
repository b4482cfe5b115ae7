"""`--model redwood_attn_2l` is the source's own experiment: its rows, whitelist and heads; here on a stub of it."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_transformer import random_transformer

from hypotheses.induction import suite
from scrubbing import DataError
from scrubbing.lens import save_transformer

ROWS, TOKENS = 6, 12
NAMED = Path("redwood_attn_2l")
MODEL = random_transformer(
    n_heads=8, d_model=16, d_head=4, d_vocab=20, n_ctx=TOKENS, positional_embedding_type="shortformer"
)
ROWS_OF_TEXT = torch.randint(0, 20, (ROWS, TOKENS + 1), generator=torch.Generator().manual_seed(0))
KEPT = torch.arange(20) % 3 != 0
ROLES = {"induction": [[1, 5], [1, 6]], "previous": [[0, 0]], "self": [[0, 1], [0, 2], [0, 5]]}
CHOSEN = ["naive", "refined 4/All"]

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A stub of the repository, which the hub gives for its name; the tokenizer that it names cannot be had."""
    folder = tmp_path / "repository"
    folder.mkdir()
    sizes = {
        name: getattr(MODEL.config, name) for name in ("n_layers", "n_heads", "d_model", "d_head", "d_vocab", "n_ctx")
    }
    settings = {"attn_only": True, "shortformer_pos": True, "normalization": "LN", "tokenizer_name": "some/tokenizer"}
    (folder / "config.json").write_text(json.dumps(sizes | settings))
    torch.save(dict(MODEL.weights), folder / "model_final.pth")
    torch.save(ROWS_OF_TEXT.int(), folder / "validation_data.pt")
    torch.save(KEPT, folder / "good_induction_candidates.pt")

    def download(name, allow_patterns):
        if name != "ArthurConmy/redwood_attn_2l":
            raise OSError("no network")
        assert {"*final.pth", "validation_data.pt", "good_induction_candidates.pt"} <= set(allow_patterns)
        return str(folder)

    monkeypatch.setattr(importlib.import_module("huggingface_hub"), "snapshot_download", download)
    return folder


def test_the_source_s_own_experiment_by_name(repository, tmp_path):
    save_transformer(MODEL, tmp_path / "ours")
    (tmp_path / "ours" / "roles.json").write_text(json.dumps(ROLES))
    np.savez(tmp_path / "ours" / "data.npz", tokens=ROWS_OF_TEXT.numpy(), whitelist=KEPT.numpy())
    settings = {"dtype": torch.float64}
    named, ours = (suite(model, **settings).only(CHOSEN) for model in (NAMED, tmp_path / "ours"))
    assert named.published_by == "Redwood Research 2022, on this model"
    assert ours.published_by == "Redwood Research 2022, on another model and other text"
    assert named.about["heads"] == ours.about["heads"] == "induction 1.5 1.6, previous 0.0, self 0.1 0.2 0.5"
    assert named.about["evaluated"] == "whitelisted input tokens (13 of 20)"
    assert "model_final.pth" in named.about["model"]
    assert any("no tokenizer.json" in note for note in named.notes)
    scores = [{name: score.scrubbed for name, score in one.score().items()} for one in (named, ours)]
    assert scores[0] == pytest.approx(scores[1])
    assert len(set(scores[0].values())) == len(scores[0]) == 5


def test_a_folder_of_it_and_other_rows_will_do(repository, tmp_path):
    torch.save(ROWS_OF_TEXT[:3], tmp_path / "few.pt")
    assert suite(repository, tmp_path / "few.pt").about["rows"].startswith("3 of 13 tokens")


@pytest.mark.parametrize(
    ("file", "spoilt", "message"),
    [
        ("validation_data.pt", [1, 2], "validation_data.pt is damaged or no file of one tensor (it holds list"),
        ("validation_data.pt", torch.rand(3, 5), "'tokens' is of type float32; it must hold token numbers"),
        ("validation_data.pt", ROWS_OF_TEXT + 1, "'tokens' holds token 20 in row"),
        ("good_induction_candidates.pt", KEPT[1:], "'whitelist' has the shape [19]"),
    ],
)
def test_what_does_not_fit_is_named(file, spoilt, message, repository):
    torch.save(spoilt, repository / file)
    with pytest.raises(DataError) as error:
        suite(NAMED)
    assert message in str(error.value)
