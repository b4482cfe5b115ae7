"""Make the shipped network again from nothing: `python -m hypotheses.ioi.retrain --out DIR`.

Weights, tokenizer, the parts of its heads and the model card. An interrupted run goes on from its last checkpoint.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from hypotheses import shipped
from hypotheses.heads import in_words
from hypotheses.ioi.roles import FILE
from hypotheses.ioi.suite import study_of, suite
from hypotheses.ioi.text import KINDS
from hypotheses.ioi.training import D_VOCAB, WORDS, Recipe, advance, configuration, measure, start, weights
from hypotheses.retraining import Device, Out, Seed, Steps, Threads, run, say, write_network, writing_to
from hypotheses.runs import Run, completed
from scrubbing.store.files import write_whole


def retrain(
    out: Out = Path("ioi-model"),
    steps: Steps = Recipe.steps,
    seed: Seed = Recipe.seed,
    threads: Threads = 1,
    device: Device = "cpu",
) -> None:
    """Train the four-layer network on prompts mixed with other text and write everything that is shipped."""
    recipe = replace(Recipe(), steps=steps, seed=seed)
    parts = partial(advance, recipe=recipe), partial(measure, recipe=recipe)
    with writing_to(out, threads) as checkpoint:
        trained = completed(start(recipe, device), recipe.steps, *parts, checkpoint=checkpoint)
        write_network(out, weights(trained, recipe), configuration(recipe))
        write_whole(WORDS.to_str(pretty=True), out / "tokenizer.json")
        describe(out, trained, recipe)


def describe(out: Path, trained: Run, recipe: Recipe) -> None:
    """Measure a finished network, name the parts of its heads, make all tables, and write it all to the model card."""
    (out / FILE).unlink(missing_ok=True)
    say("measuring heads")
    study, _ = study_of(out)
    write_whole(study.roles.model_dump_json(), out / FILE)
    say("making the tables")
    made = suite(out)
    scores = made.score(progress=True)
    shipped.write_card(
        out,
        Path(__file__).with_name("card.md.j2"),
        recipe,
        trained,
        d_vocab=D_VOCAB,
        kinds={kind.__name__.replace("_", " "): (share, _first_line(kind.__doc__)) for kind, share in KINDS.items()},
        study=study,
        roles={name.replace("_", " "): in_words(head for head, _ in of) for name, of in study.roles.classes.items()},
        backup=study.backup,
        scores=scores,
        tables=made.only([]).tabulated(scores, True),
    )


def _first_line(text: str | None) -> str:
    return (text or "").splitlines()[0]


if __name__ == "__main__":
    run(retrain)
