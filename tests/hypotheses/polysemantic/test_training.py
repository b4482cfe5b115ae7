"""The network that ships: grown from the induction network, which it first computes, and written with a card."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from hypotheses import polysemantic
from hypotheses.induction import places as induction
from hypotheses.induction.retrain import training
from hypotheses.induction.training import Recipe, row_losses
from hypotheses.polysemantic.places import SHIPPED
from hypotheses.polysemantic.retrain import finish
from hypotheses.polysemantic.training import RECIPE, grown
from hypotheses.runs import resumed, train
from scrubbing.lens import load_transformer, next_token_data, transformer

WEIGHTS = induction.SHIPPED / "model.safetensors"
TINY = replace(RECIPE, steps=2, batch=1, warmup=1)


@pytest.fixture(scope="module")
def rows():
    return torch.from_numpy(np.load(induction.SHIPPED / "data.npz")["tokens"][:2, :41].astype(np.int64))


def test_at_step_0_it_computes_what_the_smaller_network_does(rows):
    losses = row_losses(grown(WEIGHTS, RECIPE).parameters, rows, RECIPE)
    smaller = transformer(load_transformer(induction.SHIPPED))(next_token_data(rows))
    torch.testing.assert_close(losses.mean(), smaller.mean(), atol=1e-4, rtol=0)


def test_new_layers_are_trained_too_and_a_run_goes_on(rows, tmp_path):
    stream = rows.flatten().numpy().astype(np.uint16).repeat(8)
    recipe = replace(TINY, n_ctx=300)
    parts = training(recipe, stream, rows.numpy().repeat(32, 0), 0)
    run = grown(WEIGHTS, recipe)
    before = {name: value.detach().clone() for name, value in run.parameters.items()}
    steps = train(run, recipe.steps, *parts, checkpoint=tmp_path / "checkpoint.pt", every=1)
    next(steps)
    new = "blocks.3.attn.W_O"
    assert not torch.equal(run.parameters[new], before[new])
    again = resumed(grown(WEIGHTS, recipe), tmp_path / "checkpoint.pt")
    next(steps)
    next(train(again, recipe.steps, *parts, checkpoint=tmp_path / "other.pt", every=10))
    assert again.step == run.step == 2
    assert all(torch.equal(again.parameters[name], value) for name, value in run.parameters.items())


def test_what_ships_is_small_and_described():
    config = json.loads((SHIPPED / "config.json").read_text())
    assert (config["n_layers"], config["n_heads"], config["d_model"]) == (4, 8, 256)
    assert (SHIPPED / "model.safetensors").stat().st_size < 8e6
    card, head = (SHIPPED / "README.md").read_text(), json.loads((SHIPPED / "roles.json").read_text())["head"]
    assert f"head {head[0]}.{head[1]} is not its head 1.4" in card
    assert f"{RECIPE.steps} steps of {RECIPE.batch} rows" in card
    assert isinstance(RECIPE, Recipe)


def test_what_ships_overrides_as_its_card_says():
    suite = polysemantic.suite(rows=2)
    card = (SHIPPED / "README.md").read_text()
    for row in suite.measurements["override"].make(None):
        said = f"| {row['family']} | {row['prompts']} | {100 * row['clean_top1']:.0f}%, "
        assert said in card
        found = re.search(rf"\| {re.escape(row['family'])} \|.*?, (\d\.\d+) \|.*?, (\d\.\d+) \|", card)
        assert found is not None
        assert float(found[1]) == pytest.approx(row["clean_probability"], abs=2e-3)
        assert float(found[2]) == pytest.approx(row["ablated_probability"], abs=2e-3)


def test_a_case_by_name_is_of_what_ships():
    case = polysemantic.case("induction")
    layer, head = json.loads((SHIPPED / "roles.json").read_text())["head"]
    assert f"a{layer}_h{head}_induction" in case.hypothesis.G["logits"].inputs


@pytest.mark.slow
def test_a_run_is_written_with_its_head_and_card(tmp_path):
    run = grown(WEIGHTS, TINY)
    run.curve.append({"step": 0.0, "held_out": 2.8, "random": 11.0, "repeated": 7.0})
    finish(tmp_path, run, TINY)
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "config.json", "model.safetensors", "roles.json"}
    losses = [
        transformer(load_transformer(folder))(
            next_token_data(np.load(induction.SHIPPED / "data.npz")["tokens"][:2])
        ).mean()
        for folder in (tmp_path, induction.SHIPPED)
    ]
    assert losses[0] == pytest.approx(float(losses[1]), abs=0.02)  # bfloat16
