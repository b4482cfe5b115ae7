"""Make the shipped network again: `python -m hypotheses.polysemantic.retrain --out DIR`.

Weights, the head that is studied, and the model card. The text, its tokenizer and its held-out rows are those of the
induction network, of which it is grown. An interrupted run goes on from its last checkpoint.
"""

import json
import platform
import sysconfig
from dataclasses import replace
from pathlib import Path

import numpy as np

from hypotheses import shipped
from hypotheses.induction import places as induction
from hypotheses.induction.corpus import source_files, special_tokens, split_files, token_stream
from hypotheses.induction.retrain import configuration, training
from hypotheses.induction.training import Recipe, weights
from hypotheses.polysemantic.measuring import HAS
from hypotheses.polysemantic.places import ROLES, corpus_file, tokenizer_file
from hypotheses.polysemantic.suite import suite
from hypotheses.polysemantic.tokens import Vocabulary
from hypotheses.polysemantic.training import RECIPE, grown
from hypotheses.retraining import Out, Seed, Steps, Threads, run, say, write_network, writing_to
from hypotheses.runs import Run, completed
from scrubbing.store.files import write_whole

EVERY = 50
HEADS = 10  # of the card


def retrain(
    out: Out = Path("polysemantic-model"), steps: Steps = RECIPE.steps, seed: Seed = RECIPE.seed, threads: Threads = 1
) -> None:
    """Grow the induction network by two layers on the source of Python's library, and write all that is shipped."""
    recipe = replace(RECIPE, steps=steps, seed=seed)
    with writing_to(out, threads) as checkpoint:
        tokenizer = Vocabulary.read(tokenizer_file(None, None)).tokenizer
        begin, _ = special_tokens(tokenizer)
        root = Path(sysconfig.get_paths()["stdlib"])
        training_files, _ = split_files(source_files(root), root)
        stream = token_stream(training_files, tokenizer)
        say(f"{len(stream):,} tokens of Python {platform.python_version()} to train on")
        parts = training(recipe, stream, np.load(corpus_file(None, None))["tokens"], begin)
        begun = grown(induction.SHIPPED / "model.safetensors", recipe)
        finish(out, completed(begun, recipe.steps, *parts, checkpoint=checkpoint, every=EVERY), recipe)


def finish(out: Path, trained: Run, recipe: Recipe) -> None:
    """Write a finished network in bfloat16, choose the head that is studied, measure it, and write the card."""
    # In half the bytes; it is measured as it is written.
    narrow = {name: value.bfloat16() for name, value in weights(trained, recipe).items()}
    write_network(out, narrow, configuration(recipe))
    (out / ROLES).unlink(missing_ok=True)
    corpus, tokenizer = corpus_file(None, None), tokenizer_file(None, None)
    say("classifying the rows of all heads")
    head = _needed_most(out, corpus, tokenizer)
    write_whole(json.dumps({"head": [int(part) for part in head.split(".")]}), out / ROLES)
    study = suite(out, corpus, tokenizer=tokenizer)
    say("scoring the hypotheses")
    scores = study.score(progress=True)
    tables = study.tabulated(scores)
    having = [row for row in tables["heads"] if row["behaviours"] > 0]
    shipped.write_card(
        out,
        Path(__file__).with_name("card.md.j2"),
        recipe,
        trained,
        curve=[point for point in trained.curve if point["step"] % 100 == 0 or point["step"] == recipe.steps],
        about=study.about,
        scores=scores,
        heads=tables["heads"][:HEADS],
        some=len(having),
        new=sum(int(row["head"].partition(".")[0]) > 1 for row in having),
        several=sum(row["behaviours"] > 1 for row in having),
        excess=[row for row in tables["excess"] if row["destination"] in ("all", "⏎ and any indent")],
        override=tables["override"],
        has=HAS,
    )


def _needed_most(out: Path, corpus: Path, tokenizer: Path) -> str:
    """Of the heads with most behaviours the one whose last row most costs a second family of prompts."""
    ranked = suite(out, corpus, tokenizer=tokenizer).measurements["heads"].make(None)
    first = [row["head"] for row in ranked if row["behaviours"] == ranked[0]["behaviours"]]

    def second_cost(head: str) -> float:
        rows = suite(out, corpus, tokenizer=tokenizer, head=head).measurements["override"].make(None)
        return sorted(row["clean_probability"] - row["ablated_probability"] for row in rows)[-2]

    return max(first, key=second_cost)


if __name__ == "__main__":
    run(retrain)
