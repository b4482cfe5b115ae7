"""Training: what is learnt is what the graph computes, and an interrupted run goes on as if it had not been."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from hypotheses.brackets.data import columns
from hypotheses.brackets.network import network
from hypotheses.brackets.strings import random_strings
from hypotheses.brackets.training import (
    Recipe,
    advance,
    configuration,
    losses,
    measure,
    start,
    weights,
)
from hypotheses.runs import resumed, save_checkpoint, train
from scrubbing import ModelError
from scrubbing.lens import Transformer, TransformerConfig

RECIPE = replace(Recipe(), steps=6, batch=32, d_model=8, d_head=4, d_mlp=8)
STRINGS = random_strings(40, 9)


def test_the_graph_computes_what_is_trained():
    run = start(RECIPE)
    for _ in range(3):
        advance(run, RECIPE)
    config = TransformerConfig.model_validate(configuration(RECIPE))
    ordered = sorted(STRINGS, key=len)
    found = network(Transformer(config, weights(run, RECIPE)))(columns(ordered))
    assert torch.allclose(found, losses(run.parameters, STRINGS, RECIPE).detach(), atol=1e-5)


def test_training_lowers_the_loss():
    recipe = replace(RECIPE, steps=60, batch=64, warmup=5)
    run = start(recipe)
    found = [advance(run, recipe) for _ in range(recipe.steps)]
    assert np.mean(found[-10:]) < np.mean(found[:10]) - 0.05


def test_an_interrupted_run_goes_on(tmp_path):
    path = tmp_path / "checkpoint.pt"
    parts = partial(advance, recipe=RECIPE), partial(measure, strings=STRINGS, recipe=RECIPE)
    whole = start(RECIPE)
    list(train(whole, RECIPE.steps, *parts, checkpoint=path, every=100))
    run = start(RECIPE)
    for _ in range(3):
        advance(run, RECIPE)
    save_checkpoint(run, path)
    again = resumed(start(RECIPE), path)
    assert [step for step, _ in train(again, RECIPE.steps, *parts, checkpoint=path)] == [4, 5, 6]
    assert all(torch.equal(value, whole.parameters[name]) for name, value in again.parameters.items())
    assert again.curve[-1] == whole.curve[-1]


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    save_checkpoint(start(RECIPE), tmp_path / "checkpoint.pt")
    with pytest.raises(ModelError, match="a checkpoint of another recipe"):
        resumed(start(replace(RECIPE, d_model=16)), tmp_path / "checkpoint.pt")
