"""Make the shipped model again from nothing: `python -m hypotheses.induction.retrain --out DIR`.

Text, tokenizer, weights, head roles, whitelist and model card. An interrupted run goes on from its last checkpoint.
"""

import platform
import sysconfig
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from hypotheses.induction.card import write_card
from hypotheses.induction.corpus import (
    held_out_files,
    held_out_rows,
    rows_at,
    source_files,
    special_tokens,
    split_files,
    token_stream,
    train_tokenizer,
)
from hypotheses.induction.measuring import measure_heads
from hypotheses.induction.roles import find_roles, save_roles
from hypotheses.induction.suite import suite
from hypotheses.induction.training import Recipe, advance, measure, start, weights
from hypotheses.induction.whitelist import whitelist
from hypotheses.retraining import Out, Seed, Steps, Threads, run, say, write_network, writing_to
from hypotheses.runs import Run, completed
from scrubbing.lens import load_transformer
from scrubbing.store.files import write_whole, writing

HELD_OUT_ROWS = 2048
CURVE_ROWS = 32
HEAD_ROWS = 256


def retrain(
    out: Out = Path("induction-model"), steps: Steps = Recipe.steps, seed: Seed = Recipe.seed, threads: Threads = 2
) -> None:
    """Train the two-layer model on the source of Python's standard library and write everything that is shipped."""
    recipe = replace(Recipe(), steps=steps, seed=seed)
    with writing_to(out, threads) as checkpoint:
        root = Path(sysconfig.get_paths()["stdlib"])
        training_files, other_files = split_files(source_files(root), root)
        say(f"{len(training_files)} source files of Python {platform.python_version()}, {len(other_files)} held out")
        tokenizer = train_tokenizer(training_files, recipe.d_vocab)
        write_whole(tokenizer.to_str(pretty=True), out / "tokenizer.json")
        begin, end = special_tokens(tokenizer)
        stream = token_stream(training_files, tokenizer)
        held_out = token_stream(other_files, tokenizer)
        rows = held_out_rows(held_out, HELD_OUT_ROWS, recipe.n_ctx, begin)
        groups = held_out_files(held_out, HELD_OUT_ROWS, recipe.n_ctx, end).astype(np.uint8)
        say(f"{len(stream):,} tokens to train on")

        trained = completed(start(recipe), recipe.steps, *training(recipe, stream, rows, begin), checkpoint=checkpoint)

        write_network(out, weights(trained, recipe), configuration(recipe))
        every = rows_at(stream, np.arange(0, len(stream) - recipe.n_ctx, recipe.n_ctx), recipe.n_ctx, begin)
        # Chosen on the text that the model learnt from, so that no token is chosen by the rows that it is scored on.
        chosen = whitelist(every, recipe.d_vocab, exclude=[begin, end])
        with writing(out / "data.npz") as file:
            np.savez_compressed(file, tokens=rows, whitelist=chosen, groups=groups)
        describe(out, trained, recipe, begin)


def training(recipe: Recipe, stream: np.ndarray, rows: np.ndarray, begin: int) -> tuple[partial, partial]:
    """A step of the training, and a point of its curve: the loss on some of the held-out rows."""
    few = torch.from_numpy(rows[:: len(rows) // CURVE_ROWS].astype(np.int64))
    at = partial(measure, held_out=few, recipe=recipe, begin=begin)
    return partial(advance, stream=stream, recipe=recipe, begin=begin), at


def describe(out: Path, trained: Run, recipe: Recipe, begin: int) -> None:
    """Measure the heads of a finished model, name their roles, score the ladder, and write it all to the model card."""
    tokens = torch.from_numpy(np.load(out / "data.npz")["tokens"].astype(np.int64))
    layers = measure_heads(load_transformer(out), tokens[:: len(tokens) // HEAD_ROWS, :-1], begin)
    save_roles(find_roles(*layers), out / "roles.json")
    ladder = suite(out)
    say("scoring the 26 experiments")
    write_card(out, recipe, trained, layers, ladder, ladder.score(progress=True))


def configuration(recipe: Recipe) -> dict[str, object]:
    """The model's config.json."""
    return {
        "n_layers": recipe.n_layers,
        "n_heads": recipe.n_heads,
        "d_model": recipe.d_model,
        "d_head": recipe.d_head,
        "d_vocab": recipe.d_vocab,
        "n_ctx": recipe.n_ctx,
        "attn_only": True,
        "positional_embedding_type": "shortformer",
        "normalization_type": "LN",
        "eps": 1e-5,
        "act_fn": None,
    }


if __name__ == "__main__":
    run(retrain)
