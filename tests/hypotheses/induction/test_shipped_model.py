"""The model that ships with the project really has induction heads, on rows that it never saw."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from hypotheses import induction
from hypotheses.induction.measuring import measure_heads
from hypotheses.induction.suite import SHIPPED
from scrubbing.lens import load_transformer, transformer

FEW = 48


@pytest.fixture(scope="module")
def rows():
    tokens = np.load(SHIPPED / "data.npz")["tokens"]
    return torch.from_numpy(tokens[:: len(tokens) // FEW].astype(np.int64))


def test_it_ships_whole_and_small():
    files = {path.name: path.stat().st_size for path in SHIPPED.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "roles.json", "data.npz", "README.md"} <= files.keys()
    assert sum(files.values()) < 30e6
    with np.load(SHIPPED / "data.npz") as data:
        assert data["tokens"].shape[0] >= 2000
        assert data["tokens"].shape[1] == 301
        assert 0.15 < data["whitelist"].mean() < 0.25


def test_its_tokens_are_source_code(rows):
    text = Tokenizer.from_file(str(SHIPPED / "tokenizer.json")).decode(rows[0].tolist())
    assert "self" in text or "def " in text or "import" in text


def test_its_heads_play_the_roles_it_names(rows):
    roles = json.loads((SHIPPED / "roles.json").read_text())
    layers = measure_heads(load_transformer(SHIPPED), rows[:, :-1], 0)
    assert all(layers[1].induction[head] > 1 / 3 for _, head in roles["induction"])
    assert all(layers[0].previous[head] > 1 / 2 for _, head in roles["previous"])


def test_it_predicts_random_tokens_the_second_time():
    G = transformer(load_transformer(SHIPPED))
    half = torch.randint(2, 4096, (8, 150), generator=torch.Generator().manual_seed(0))
    tokens = torch.cat([torch.zeros(8, 1, dtype=torch.int64), half, half], dim=1)
    first = torch.zeros(8, 300)
    first[:, :150] = 1 / 150
    columns = {"tokens": tokens[:, :-1], "labels": tokens[:, 1:]}
    losses = {name: G(columns | {"weights": w}).mean() for name, w in (("once", first), ("again", first.flip(1)))}
    assert losses["again"] < losses["once"] - 2


def test_without_its_induction_heads_it_loses():
    score = induction.case("naive").score(references=np.arange(0, 2000, 40))
    gaps = score.losses["baseline"] - score.losses["original"]
    assert gaps.mean() > 5 * gaps.sem()
    assert 0 < score.recovered < 0.5


def test_refinements_recover_more():
    rows = np.arange(0, 2000, 40)
    suite = induction.suite().only(["naive/All", "refined 1/All", "refined 3/All"])
    naive, refined1, refined3 = suite.score(references=rows).values()
    assert refined1 > naive
    assert refined3 > refined1
    assert not naive > refined1
