"""Make the shipped network again from nothing: `python -m hypotheses.copy_suppression.retrain --out DIR`.

Rows, tokenizer, weights and model card. An interrupted run goes on from its last checkpoint.
"""

from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import Int
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from hypotheses import shipped
from hypotheses.copy_suppression.places import ROWS
from hypotheses.copy_suppression.suite import suite
from hypotheses.copy_suppression.text import BEGIN, VOCABULARY
from hypotheses.copy_suppression.training import Recipe, advance, configuration, measure, start, weights
from hypotheses.corpus import TOKENIZER
from hypotheses.retraining import Out, Seed, Steps, Threads, run, say, write_network, writing_to
from hypotheses.runs import Run, completed
from scrubbing.store.files import write_whole

SCORED = 400
CURVE = 128
OF_CURVE, OF_ROWS = 1000, 2000  # what the seeds of rows begin with, where those of batches have the recipe's seed


def retrain(
    out: Out = Path("copy-suppression-model"),
    steps: Steps = Recipe.steps,
    seed: Seed = Recipe.seed,
    threads: Threads = 1,
    rows: Annotated[int, typer.Option(min=10, help="Rows to write, and to score on.")] = SCORED,
) -> None:
    """Train the two-layer network on text that does not repeat words, and write everything that is shipped."""
    recipe = replace(Recipe(), steps=steps, seed=seed)
    with writing_to(out, threads) as checkpoint:
        at = partial(measure, rows=rows_of(recipe, CURVE, OF_CURVE), recipe=recipe)
        trained = completed(start(recipe), recipe.steps, partial(advance, recipe=recipe), at, checkpoint=checkpoint)
        stored = {name: value.half() for name, value in weights(trained, recipe).items()}
        write_network(out, stored, configuration(recipe))
        write_whole(tokenizer().to_str(pretty=True), out / TOKENIZER)
        buffer = BytesIO()
        np.savez_compressed(buffer, tokens=rows_of(recipe, rows, OF_ROWS).numpy().astype(np.uint8))
        write_whole(buffer.getvalue(), out / ROWS)
        describe(out, trained, recipe)


def rows_of(recipe: Recipe, rows: int, what: int) -> Int[Tensor, "row position_plus_1"]:
    """Rows that no step of the training has seen."""
    return torch.from_numpy(recipe.text.rows(rows, recipe.n_ctx + 1, [what, recipe.seed]))


def tokenizer() -> Tokenizer:
    """The words of the text, each with the space before it."""
    made = Tokenizer(models.WordLevel({text: token for token, text in enumerate(VOCABULARY)}, VOCABULARY[BEGIN]))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"<begin>|\.| ?[a-z]+"), "removed", invert=True)
    made.decoder = decoders.Fuse()
    return made


def describe(out: Path, trained: Run, recipe: Recipe) -> None:
    """Measure a finished network, ablate its head, and write it all to the model card."""
    rows = rows_of(recipe, CURVE, OF_CURVE)
    study = suite(out)
    say("ablating the head")
    scores = study.score(progress=True)
    shipped.write_card(
        out,
        Path(__file__).with_name("card.md.j2"),
        recipe,
        trained,
        losses={**measure(trained, rows, recipe), "least": recipe.text.least_loss(rows.numpy())},
        suite=study,
        scores=scores,
        tables=study.only([]).tabulated(scores),
    )


if __name__ == "__main__":
    run(retrain)
