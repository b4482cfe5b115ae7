"""The recipe of the shipped model: its text, its batches, and a run that can be stopped and taken up again."""

import math
import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from hypotheses.induction.corpus import (
    held_out_rows,
    rows_at,
    source_files,
    special_tokens,
    split_files,
    token_stream,
    train_tokenizer,
)
from hypotheses.induction.measuring import measure_heads
from hypotheses.induction.retrain import configuration
from hypotheses.induction.training import (
    Recipe,
    advance,
    batch,
    measure,
    row_losses,
    start,
    weights,
)
from hypotheses.runs import resumed, save_checkpoint, share_of_rate, train
from scrubbing import DataError
from scrubbing.errors import ModelError
from scrubbing.lens import Transformer, TransformerConfig, transformer

TINY = Recipe(steps=6, batch=2, n_heads=2, d_model=32, d_head=8, d_vocab=300, n_ctx=24, warmup=2, shortest_repeated=4)
TEXT = (
    "def add(a, b):\n    return a + b\n\n\nclass Pair:\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n"
)


@pytest.fixture
def source(tmp_path):
    """A folder of a few source files."""
    for i in range(40):
        (tmp_path / f"module_{i}.py").write_text(TEXT + f"value_{i} = {i}\n")
    (tmp_path / "encodings").mkdir()
    (tmp_path / "encodings" / "table.py").write_text("TABLE = '...'\n")
    return tmp_path


@pytest.fixture
def stream(source):
    tokenizer = train_tokenizer(source_files(source), TINY.d_vocab)
    return token_stream(source_files(source), tokenizer)


def test_whole_files_are_held_out_and_tables_left_out(source):
    files = source_files(source)
    training, held_out = split_files(files, source)
    assert sorted(training + held_out) == files
    assert held_out
    assert not any("encodings" in path.parts for path in files)
    assert split_files(files[:20], source)[1] == [path for path in held_out if path in files[:20]]


def test_the_tokens_are_the_text(source):
    files = source_files(source)
    tokenizer = train_tokenizer(files, TINY.d_vocab)
    begin, end = special_tokens(tokenizer)
    tokens = token_stream(files[:2], tokenizer)
    first, second, rest = "".join(tokenizer.id_to_token(t) for t in tokens).split("<|end|>")
    assert (begin, end, rest) == (0, 1, "")
    assert tokenizer.decode(tokens.tolist()) == "".join(path.read_text() for path in files[:2])
    assert first != second


def test_rows_begin_with_begin_and_may_repeat():
    stream = np.arange(100, 200, dtype=np.uint16)
    assert rows_at(stream, np.array([0, 5]), 4, 7).tolist() == [[7, 100, 101, 102, 103], [7, 105, 106, 107, 108]]
    assert rows_at(stream, np.array([5]), 5, 7, np.array([2])).tolist() == [[7, 105, 106, 105, 106, 105]]


def test_held_out_rows_do_not_overlap():
    rows = held_out_rows(np.arange(1000, dtype=np.uint16), 30, 20, 0)
    assert len(np.unique(rows[:, 1:])) == 600
    with pytest.raises(DataError, match="60 held-out rows of 20 tokens were asked for, but the held-out files give 50"):
        held_out_rows(np.arange(1000, dtype=np.uint16), 60, 20, 0)


def test_a_batch_depends_on_seed_and_step_alone(stream):
    recipe = replace(TINY, repeated_share=0.5, batch=64)
    rows = batch(stream, recipe, 3, 0)
    assert np.array_equal(rows, batch(stream, recipe, 3, 0))
    assert not np.array_equal(rows, batch(stream, recipe, 2, 0))
    assert not np.array_equal(rows, batch(stream, replace(recipe, seed=5), 3, 0))


def test_passages_repeat_until_the_rate_falls(stream):
    recipe = replace(TINY, repeated_share=1.0)
    before, after = batch(stream, recipe, 0, 0), batch(stream, recipe, recipe.steps - 1, 0)
    periods = range(recipe.shortest_repeated, recipe.n_ctx // 2 + 1)
    assert all(any(np.array_equal(row[1 + p :], row[1:-p]) for p in periods) for row in before)
    assert not all(any(np.array_equal(row[1 + p :], row[1:-p]) for p in periods) for row in after)


def test_the_rate_warms_up_stays_and_falls_to_nothing():
    recipe = Recipe(steps=1000, warmup=100, decay_share=0.4)
    rates = [share_of_rate(recipe, step) for step in (0, 49, 99, 500, 600, 800, 999)]
    assert rates == pytest.approx([0.01, 0.5, 1, 1, 1, 0.5, 0.0025])


def test_a_run_taken_up_again_ends_where_an_unbroken_one_does(stream, tmp_path):
    held_out = torch.from_numpy(held_out_rows(stream, 4, TINY.n_ctx, 0).astype(np.int64))

    parts = (
        partial(advance, stream=stream, recipe=TINY, begin=0),
        partial(measure, held_out=held_out, recipe=TINY, begin=0),
    )

    def finish(run, path):
        return [loss for _, loss in train(run, TINY.steps, *parts, checkpoint=path, every=3)]

    unbroken = start(TINY)
    losses = finish(unbroken, tmp_path / "unbroken.pt")
    broken = start(TINY)
    steps = train(broken, TINY.steps, *parts, checkpoint=tmp_path / "broken.pt", every=3)
    first = [next(steps)[1] for _ in range(4)]  # a step further than the checkpoint
    again = resumed(start(TINY), tmp_path / "broken.pt")
    assert again.step == 3
    assert first[:3] + finish(again, tmp_path / "broken.pt") == losses
    assert all(torch.equal(again.parameters[name], value) for name, value in unbroken.parameters.items())
    assert again.curve == unbroken.curve
    assert [point["step"] for point in again.curve] == [3, 6]


def test_a_checkpoint_replaces_the_one_before_it_whole(stream, tmp_path):
    run = start(TINY)
    save_checkpoint(run, tmp_path / "checkpoint.pt")
    run.step = 2
    save_checkpoint(run, tmp_path / "checkpoint.pt")
    assert resumed(start(TINY), tmp_path / "checkpoint.pt").step == 2
    assert [path.name for path in tmp_path.glob("checkpoint*")] == ["checkpoint.pt"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b"cos\nsystem\n(S'touch unpickled'\ntR."),
        lambda path: torch.save([1], path),
        lambda path: save_checkpoint(start(replace(TINY, d_vocab=301)), path),
        lambda path: (path.unlink(), os.mkfifo(path)),
    ],
)
def test_a_checkpoint_of_something_else_is_said(spoil, tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(start(TINY), path)
    spoil(path)
    with pytest.raises(ModelError, match=r"checkpoint.pt is damaged, or a checkpoint of another recipe \("):
        resumed(start(TINY), path)


def test_training_computes_the_losses_that_the_graph_does():
    run = start(TINY)
    rows = torch.randint(2, TINY.d_vocab, (3, TINY.n_ctx + 1), generator=torch.Generator().manual_seed(0))
    model = Transformer(TransformerConfig.model_validate(configuration(TINY)), weights(run, TINY))
    ones = torch.ones(3, TINY.n_ctx)
    by_graph = transformer(model)({"tokens": rows[:, :-1], "labels": rows[:, 1:], "weights": ones})
    torch.testing.assert_close(by_graph, row_losses(run.parameters, rows, TINY).sum(1), rtol=1e-5, atol=1e-4)


def test_head_0_0_begins_by_looking_one_token_back():
    recipe = replace(Recipe(), d_vocab=300)
    model = Transformer(TransformerConfig.model_validate(configuration(recipe)), weights(start(recipe), recipe))
    rows = torch.randint(2, 300, (2, 100), generator=torch.Generator().manual_seed(0))
    layer0, layer1 = measure_heads(model, rows, None)
    assert layer0.previous[0] > 0.6
    assert layer0.previous[1:].max() < 0.1
    assert max(layer1.previous.max(), layer1.induction.max()) < 0.1


def test_an_untrained_model_expects_every_token_alike():
    rows = torch.randint(2, TINY.d_vocab, (4, TINY.n_ctx + 1), generator=torch.Generator().manual_seed(0))
    assert row_losses(start(TINY).parameters, rows, TINY).mean().item() == pytest.approx(math.log(300), abs=1.0)
