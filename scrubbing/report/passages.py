"""The references that a hypothesis is worst at, token by token: losses and predictions, original and scrubbed.

A loss stands under the token that was to be predicted. Only language models have passages: networks whose output is a
weighted cross-entropy of logits.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from scrubbing.experiments.activations import scrubbed_activations
from scrubbing.experiments.scoring import Case
from scrubbing.graph.data import as_columns
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.lens.components.loss import WeightedCrossEntropy
from scrubbing.lens.components.readout import Logits as LazyLogits
from scrubbing.report.text import visible_token

TOP = 3  # predictions that are listed
DONOR = 160  # tokens of a row that stood in

Logits = Float[Tensor, "position d_vocab"]


def is_language_model(h: Hypothesis) -> bool:
    """Whether the network predicts tokens."""
    return isinstance(h.G[h.G.output].fn, WeightedCrossEntropy)


def drawn_alike(case: Case, seed: int, rows: Sequence[int]) -> dict[str, Any]:
    """The settings by which these rows get the donors that the case was scored with."""
    kept = {name: value for name, value in case.settings.items() if name not in ("exact", "until", "store", "progress")}
    return {**kept, "seed": seed, "draws": 1, "references": list(rows)}


@torch.no_grad()
def passages(case: Case, rows: Sequence[int], *, seed: int, name_of: "Names") -> list[dict[str, Any]]:
    """What a page shows of these rows: the words, with losses and predictions where they are evaluated."""
    h, columns = case.hypothesis, as_columns(case.data)
    logits, labels, weights = h.G[h.G.output].inputs
    children, scrubbed = h.claimed_inputs(h.I.output), {}
    if logits in children:
        path, once = f"{h.I.output}/{children[logits]}", list(dict.fromkeys(rows))  # a row again draws other donors
        values = scrubbed_activations(h, case.data, path, **drawn_alike(case, seed, once))[path]
        scrubbed = dict(zip(once, values.float().cpu(), strict=True))
    found = []
    for row in rows:
        label, weight = (torch.as_tensor(columns[name])[row].cpu() for name in (labels, weights))
        own = _all_logits(h, columns, logits, row)
        words = compared(label, weight, own, scrubbed.get(row), name_of)
        found.append({"row": int(row), "words": words, "scrubbed": row in scrubbed})
    return found


def _all_logits(h: Hypothesis, columns: Mapping[str, Any], name: str, row: int) -> Tensor:
    (value,) = h.G.activations({n: column[row : row + 1] for n, column in columns.items()}, name)
    return (value.all() if isinstance(value, LazyLogits) else value)[0].float().cpu()


def compared(
    labels: Int[Tensor, " position"],
    weights: Real[Tensor, " position"],
    own: Logits,
    other: Logits | None,
    name_of: "Names",
    top: int = TOP,
) -> list[list[Any]]:
    """Each word with its loss and the likeliest tokens of a run or two: `[text, [loss, loss], [[text, p], ...], ...]`.

    Words that are not evaluated are their text alone.
    """
    runs = [run for run in (own, other) if run is not None]
    losses = [_losses(run, labels) for run in runs]
    tops = [run.log_softmax(-1).topk(min(top, run.shape[-1]), dim=-1) for run in runs]
    words = []
    for i, label in enumerate(labels.tolist()):
        word: list[Any] = [name_of(label)]
        if weights[i] != 0:
            word += [[round(float(loss[i]), 3) for loss in losses]]
            word += [
                [
                    [name_of(t), round(float(np.exp(p)), 3)]
                    for t, p in zip(found.indices[i].tolist(), found.values[i].tolist(), strict=True)
                ]
                for found in tops
            ]
        words.append(word)
    return words


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    return -logits.log_softmax(-1).gather(-1, labels[:, None].long())[:, 0]


class Names:
    """The text of each token, harmless; its number where there is no tokenizer."""

    def __init__(self, vocabulary: Sequence[str] = ()) -> None:
        self._vocabulary = vocabulary

    def __call__(self, token: int) -> str:
        known = 0 <= token < len(self._vocabulary)
        return visible_token(self._vocabulary[token]) or "∅" if known else str(token)

    def text(self, tokens: Sequence[int]) -> str:
        """The beginning of a row."""
        between = "" if self._vocabulary else " "
        shown = between.join(map(self, tokens[:DONOR]))
        return shown.replace("·", " ").replace("↵", "\n").replace("→", "    ") + ("..." if len(tokens) > DONOR else "")
