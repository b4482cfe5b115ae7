"""Make the shipped network again from nothing: `python -m hypotheses.brackets.retrain --out DIR`.

Strings, weights, head roles and model card. An interrupted run goes on from its last checkpoint.
"""

import gzip
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hypotheses import shipped
from hypotheses.brackets.data import columns
from hypotheses.brackets.measuring import find_roles, head_effects
from hypotheses.brackets.network import network
from hypotheses.brackets.places import STRINGS
from hypotheses.brackets.roles import FILE
from hypotheses.brackets.strings import random_strings
from hypotheses.brackets.suite import suite
from hypotheses.brackets.training import Recipe, advance, configuration, measure, start, weights
from hypotheses.retraining import Out, Seed, Steps, Threads, run, say, write_network, writing_to
from hypotheses.runs import Run, completed
from scrubbing.lens import load_transformer
from scrubbing.store.files import write_whole, writing

ROWS = 100_000
CURVE_ROWS = 4000
SEED_OF_STRINGS = 0


def retrain(
    out: Out = Path("brackets-model"),
    steps: Steps = Recipe.steps,
    seed: Seed = Recipe.seed,
    threads: Threads = 1,
    rows: Annotated[int, typer.Option(min=100, help="Strings to write, and to score on.")] = ROWS,
) -> None:
    """Train the three-layer network on random strings of brackets and write everything that is shipped."""
    recipe = replace(Recipe(), steps=steps, seed=seed)
    with writing_to(out, threads) as checkpoint:
        strings = random_strings(rows, SEED_OF_STRINGS)
        with writing(out / STRINGS) as file, gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
            packed.write("".join(f"{string}\n" for string in strings).encode())
        at = partial(measure, strings=strings[:CURVE_ROWS], recipe=recipe)
        trained = completed(start(recipe), recipe.steps, partial(advance, recipe=recipe), at, checkpoint=checkpoint)
        write_network(out, weights(trained, recipe), configuration(recipe))
        describe(out, trained, recipe, strings)


def describe(out: Path, trained: Run, recipe: Recipe, strings: Sequence[str]) -> None:
    """Measure a finished network, name the roles of its heads, score the claims, and write it all to the model card."""
    effects = head_effects(network(load_transformer(out)), columns(strings), recipe.n_layers, recipe.n_heads)
    write_whole(find_roles(effects).model_dump_json(), out / FILE)
    claims = suite(out)
    say("scoring the nine hypotheses")
    scores = claims.score(progress=True)
    shipped.write_card(
        out,
        Path(__file__).with_name("card.md.j2"),
        recipe,
        trained,
        accuracy=measure(trained, strings, recipe),
        effects=effects,
        suite=claims,
        scores=scores,
        **{name: make(scores) for name, make in claims.tables.items()},
    )


if __name__ == "__main__":
    run(retrain)
