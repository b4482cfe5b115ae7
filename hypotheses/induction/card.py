"""The model card: what the shipped model is, how it came to be, and how it fares, as found."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from hypotheses.induction.roles import HeadScores
from hypotheses.induction.training import Recipe, Run
from scrubbing import Score
from scrubbing.suite import Suite

_CARD = """# The shipped model

A two-layer attention-only transformer ({n_heads} heads a layer, d_model {d_model}, d_head {d_head}, context {n_ctx},
shortformer positions, {d_vocab} byte-level BPE tokens), trained by this project so that the induction experiments run on a
real network without a download.

| file | what it is |
|---|---|
| `config.json`, `model.safetensors` | configuration and weights (transformer_lens' names, float32) |
| `tokenizer.json` | byte-level BPE, trained on the same text |
| `roles.json` | which heads play which part, measured (below) |
| `data.npz` | `tokens`: held-out rows, BEGIN and {n_ctx} tokens each; `whitelist`: the tokens at which loss is measured |

## Text

The source of the standard library of Python {python}, its tests included; machine-made tables (`encodings`,
`pydoc_data`) left out. One file in ten, by a hash of its name, is held out whole: `data.npz` is made of those. Python and
its library are under the PSF License Version 2 (docs.python.org/3/license.html), copyright Python Software Foundation.
The whitelist is the fifth of the vocabulary that a perfect induction heuristic helps most, counted on the training text.

## Training

`python -m hypotheses.induction.retrain --out DIR` makes the folder again ({minutes:.0f} minutes here, on {threads} core(s) of a
busy machine; the bytes depend on the Python version). {steps} steps of {batch} rows; Muon at {attention_rate} for the attention
matrices, AdamW at {other_rate} for the rest; the rate falls linearly to zero over the last {decay_share:.0%}. The second layer
joins after {layer_every} steps, and until the rate falls {repeated_share:.0%} of the rows repeat one passage of the text.
Seed {seed}, torch {torch}.

Losses in nats: on held-out rows; on random tokens; on the same random tokens a second time, which only induction predicts.

| step | held out | random | repeated |
|---|---|---|---|
{curve}

## Heads

Mean attention, on held-out rows: to the previous token; to the token itself; to BEGIN; and where the token stood before
in the row: to tokens that followed it there (induction), to the token here and there (same), there alone (copies).

{heads}

Roles: {roles}.

## The ladder, as found

Percent of the loss recovered with 95% intervals (Fieller), {references} rows, seed {ladder_seed}; original loss {original:.4f}, baseline
{baseline:.4f}, a difference of {gap:.4f} +- {gap_error:.4f} (standard error) nats at whitelisted tokens.

| hypothesis | Q | K | V | All |
|---|---|---|---|---|
{ladder}

What orderings the network shows are its own: where it contradicts a hypothesis, that is a result.
"""


_CURVE = ("step", "held_out", "random", "repeated")


@dataclass(frozen=True)
class Card:
    """Everything that the card reports."""

    recipe: Recipe
    run: Run
    minutes: float
    layers: tuple[HeadScores, HeadScores]
    suite: Suite
    scores: Mapping[str, Score]


def write_card(path: Path, card: Card) -> None:
    """Write the card as Markdown."""
    first = next(iter(card.scores.values()))
    table = first.losses
    gaps = table["baseline"] - table["original"]
    curve = card.run.curve[1::2]
    text = _CARD.format(
        **vars(card.recipe),
        python=platform.python_version(),
        torch=torch.__version__.split("+")[0],
        threads=torch.get_num_threads(),
        minutes=card.minutes,
        curve="\n".join(
            _row([f"{point[k]:.0f}" if k == "step" else f"{point[k]:.2f}" for k in _CURVE]) for point in curve
        ),
        heads="\n\n".join(f"Layer {layer}:\n\n```\n{scores}\n```" for layer, scores in enumerate(card.layers)),
        roles=card.suite.about["heads"],
        references=first.references,
        ladder_seed=first.seed,
        original=first.original,
        baseline=first.baseline,
        gap=gaps.mean(),
        gap_error=gaps.sem(),
        ladder=_ladder(card.scores),
    )
    path.write_text(text, encoding="utf8")


def _ladder(scores: Mapping[str, Score]) -> str:
    rungs = dict.fromkeys(name.partition("/")[0] for name in scores)
    return "\n".join(
        _row([rung, *(_cell(scores.get(f"{rung}/{inputs}")) for inputs in ("Q", "K", "V", "All"))]) for rung in rungs
    )


def _cell(score: Score | None) -> str:
    if score is None or score.recovered is None:
        return ""
    interval = f" ({100 * score.interval[0]:.1f} to {100 * score.interval[1]:.1f})" if score.interval else ""
    return f"{100 * score.recovered:.1f}{interval}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
