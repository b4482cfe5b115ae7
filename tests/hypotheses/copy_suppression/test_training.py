"""The training: its optimiser, its forward pass against the graph, and runs that go on where they were."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import save_file

from hypotheses.copy_suppression.training import (
    Recipe,
    advance,
    batch,
    configuration,
    measure,
    row_losses,
    start,
    weights,
)
from hypotheses.runs import resumed, train
from scrubbing import ModelError, next_token_data
from scrubbing.lens import load_transformer, transformer

pytestmark = pytest.mark.usefixtures("unchecked")

SMALL = replace(Recipe(), steps=6, batch=4, d_model=16, d_head=16, d_mlp=16, n_ctx=12, warmup=2)


def test_the_plain_forward_pass_is_that_of_the_graph(tmp_path):
    run = start(SMALL)
    for _ in range(3):
        advance(run, SMALL)
    save_file(weights(run, SMALL), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(configuration(SMALL)))
    model = load_transformer(tmp_path)
    rows = batch(SMALL, 0)
    found = transformer(model)(next_token_data(rows, model=model))
    torch.testing.assert_close(found, row_losses(run.parameters, rows, SMALL).mean(1).detach(), atol=1e-5, rtol=0)
    assert not model.weights["blocks.1.mlp.W_out"].any()


def test_a_run_goes_on_where_it_was(tmp_path):
    rows, path = batch(SMALL, 99), tmp_path / "checkpoint.pt"
    parts = SMALL.steps, partial(advance, recipe=SMALL), partial(measure, rows=rows, recipe=SMALL)
    whole = start(SMALL)
    steps = [step for step, _ in train(whole, *parts, checkpoint=path, every=2)]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert [point["step"] for point in whole.curve] == [2, 4, 6]
    part = start(SMALL)
    for step, _ in train(part, *parts, checkpoint=path, every=2):
        if step == 4:
            break
    again = resumed(start(SMALL), path)
    assert again.step == 4
    list(train(again, *parts, checkpoint=path, every=2))
    for name, value in whole.parameters.items():
        torch.testing.assert_close(again.parameters[name], value)
    assert measure(again, rows, SMALL) == pytest.approx(measure(whole, rows, SMALL))
    with pytest.raises(ModelError, match="a checkpoint of another recipe"):
        resumed(start(replace(SMALL, d_model=20)), path)
