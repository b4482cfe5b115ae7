"""Make the shipped model again from nothing: `python -m hypotheses.induction.retrain --out DIR`.

Text, tokenizer, weights, head roles, whitelist and model card. An interrupted run goes on from its last checkpoint.
"""

import json
import platform
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from safetensors.torch import save

from hypotheses.induction.card import Card, write_card
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
from hypotheses.induction.roles import find_roles, save_roles
from hypotheses.induction.suite import suite
from hypotheses.induction.training import Recipe, Run, load_checkpoint, start, train, weights
from hypotheses.induction.whitelist import whitelist
from scrubbing.cli.running import run_command
from scrubbing.experiments.progress import showing_progress
from scrubbing.lens import load_transformer
from scrubbing.store.files import write_whole, writing

HELD_OUT_ROWS = 2048
CURVE_ROWS = 32
HEAD_ROWS = 256

say = Console(stderr=True, highlight=False).print
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def retrain(
    out: Annotated[Path, typer.Option(help="Folder to write the model to.")] = Path("induction-model"),
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = Recipe.steps,
    seed: Annotated[int, typer.Option(help="What the initial weights and the batches are derived from.")] = Recipe.seed,
    threads: Annotated[int, typer.Option(min=1, help="Processor cores to use.")] = 2,
) -> None:
    """Train the two-layer model on the source of Python's standard library and write everything that is shipped."""
    torch.set_num_threads(threads)
    recipe = replace(Recipe(), steps=steps, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    root = Path(sysconfig.get_paths()["stdlib"])
    training_files, held_out_files = split_files(source_files(root), root)
    say(f"{len(training_files)} source files of Python {platform.python_version()}, {len(held_out_files)} held out")
    tokenizer = train_tokenizer(training_files, recipe.d_vocab)
    write_whole(tokenizer.to_str(pretty=True), out / "tokenizer.json")
    begin, end = special_tokens(tokenizer)
    stream = token_stream(training_files, tokenizer)
    rows = held_out_rows(token_stream(held_out_files, tokenizer), HELD_OUT_ROWS, recipe.n_ctx, begin)
    say(f"{len(stream):,} tokens to train on")

    run = _trained(recipe, stream, rows, begin, out / "checkpoint.pt")

    write_whole(save(weights(run, recipe)), out / "model.safetensors")
    write_whole(json.dumps(configuration(recipe), indent=2), out / "config.json")
    every = rows_at(stream, np.arange(0, len(stream) - recipe.n_ctx, recipe.n_ctx), recipe.n_ctx, begin)
    # Chosen on the text that the model learnt from, so that no token is chosen by the rows that it is then scored on.
    chosen = whitelist(every, recipe.d_vocab, exclude=[begin, end])
    with writing(out / "data.npz") as file:
        np.savez_compressed(file, tokens=rows, whitelist=chosen)
    describe(out, run, recipe, begin)
    (out / "checkpoint.pt").unlink(missing_ok=True)


def _trained(recipe: Recipe, stream: np.ndarray, rows: np.ndarray, begin: int, checkpoint: Path) -> Run:
    """A finished run: from the checkpoint if there is one."""
    run = load_checkpoint(checkpoint, recipe) if checkpoint.exists() else start(recipe)
    few = torch.from_numpy(rows[:: len(rows) // CURVE_ROWS].astype(np.int64))
    with showing_progress(True, recipe.steps, unit="steps") as advance:
        for step, _ in train(run, stream, few, recipe, begin, checkpoint=checkpoint):
            advance(step)
    return run


def describe(out: Path, run: Run, recipe: Recipe, begin: int) -> None:
    """Measure the heads of a finished model, name their roles, score the ladder, and write it all to the model card."""
    tokens = torch.from_numpy(np.load(out / "data.npz")["tokens"].astype(np.int64))
    model = load_transformer(out)
    layers = measure_heads(model, tokens[:: len(tokens) // HEAD_ROWS, :-1], begin)
    roles = find_roles(*layers)
    save_roles(roles, out / "roles.json")
    ladder = suite(out)
    say("scoring the 26 experiments")
    scores = ladder.score(progress=True)
    write_card(out / "README.md", Card(recipe, run, layers, ladder, scores))
    say(f"wrote {out}")


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
    run_command(app)
