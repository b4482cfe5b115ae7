"""Training: what is learnt from, that it can be taken up again, and that its forward pass is the network's."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from ioi_cases import WORDS

from hypotheses.ioi.text import END
from hypotheses.ioi.training import (
    Recipe,
    advance,
    configuration,
    logits,
    losses,
    measure,
    start,
    text_loss,
    text_rows,
    weights,
)
from hypotheses.runs import resumed, train
from scrubbing import ModelError
from scrubbing.lens import Transformer, TransformerConfig, next_token_data, transformer

pytestmark = pytest.mark.usefixtures("unchecked")

SMALL = Recipe(steps=4, batch=6, repeated=2, n_layers=2, n_heads=2, d_model=8, d_head=4, d_mlp=12)


def test_the_plain_pass_is_the_network():
    run = start(SMALL)
    config = TransformerConfig(**configuration(SMALL))  # pyright: ignore[reportArgumentType]
    G = transformer(Transformer(config, weights(run, SMALL)))
    tokens = torch.randint(1, config.d_vocab, (3, 12), generator=torch.Generator().manual_seed(0))
    (found,) = G.activations(next_token_data(tokens), "logits")
    with torch.no_grad():
        torch.testing.assert_close(found.all(), logits(run.parameters, tokens[:, :-1], SMALL), rtol=0, atol=1e-5)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    parts = SMALL.steps, partial(advance, recipe=SMALL), partial(measure, recipe=SMALL)
    whole = start(SMALL)
    list(train(whole, *parts, checkpoint=tmp_path / "whole", every=2))
    stopped = train(start(SMALL), *parts, checkpoint=tmp_path / "stopped", every=2)
    for _ in range(2):
        next(stopped)
    again = resumed(start(SMALL), tmp_path / "stopped")
    assert again.step == 2
    list(train(again, *parts, checkpoint=tmp_path / "stopped", every=2))
    assert all(value.equal(again.parameters[name]) for name, value in whole.parameters.items())
    assert [point["step"] for point in again.curve] == [2.0, 4.0]
    assert again.curve == whole.curve
    with pytest.raises(ModelError, match="damaged, or a checkpoint of another recipe"):
        resumed(start(replace(SMALL, d_model=16)), tmp_path / "stopped")


def test_steps_make_the_loss_smaller():
    recipe = replace(SMALL, steps=60, warmup=5, batch=16, head_dropout=0.0)
    run = start(recipe)
    found = [advance(run, recipe) for _ in range(30)]
    assert sum(found[-5:]) < 0.92 * sum(found[:5])
    assert measure(run, recipe).keys() == {"step", "loss", "repeated", "right"}


def test_the_last_word_of_a_text_counts_for_half():
    lines = ["Then, Mary and John went to the store. John gave a drink to Mary", "The guests at the park were Tom"]
    rows = text_rows(WORDS, lines)
    assert WORDS.id_to_token(int(rows[0, -1])) == END
    run = start(SMALL)
    with torch.no_grad():
        each = losses(run.parameters, rows, SMALL)
        (short,) = (losses(run.parameters, text_rows(WORDS, lines[1:]), SMALL)[-2:-1],)
        (long,) = (losses(run.parameters, text_rows(WORDS, lines[:1]), SMALL)[-2:-1],)
        expected = each.mean() + torch.stack([long[0], short[0]]).mean()
        torch.testing.assert_close(text_loss(run.parameters, rows, SMALL), expected)
    assert len(each) == sum(len(encoding.ids) for encoding in WORDS.encode_batch(lines))


def test_dropped_heads_write_nothing():
    recipe, tokens = replace(SMALL, head_dropout=0.999999), torch.tensor([[3, 4, 5, 6]])
    run = start(recipe)
    with torch.no_grad():
        dropped = logits(run.parameters, tokens, recipe, torch.Generator().manual_seed(0))
        for name in run.parameters:
            if name.endswith("W_O"):
                run.parameters[name].zero_()
        torch.testing.assert_close(dropped, logits(run.parameters, tokens, recipe))
