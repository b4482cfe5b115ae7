"""The optimisation: parameters, a plain forward pass, a step, and a point of the training curve."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from hypotheses import small_transformer
from hypotheses.brackets.strings import PAD, balanced, random_strings, tokens_of
from hypotheses.runs import Parameters, Run, begun, by_head, share_of_rate, step
from hypotheses.small_transformer import final_stream, random_parameters, unembedded

CLASSES = 2


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    steps: int = 2500
    batch: int = 256
    seed: int = 0
    n_layers: int = 3
    n_heads: int = 2
    d_model: int = 56
    d_head: int = 28
    d_mlp: int = 56
    d_vocab: int = 5
    n_ctx: int = 42
    matrix_rate: float = 0.01
    other_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 200
    decay_share: float = 0.5


def start(recipe: Recipe) -> Run:
    """A run at step 0."""
    return begun(
        random_parameters(recipe, recipe.d_vocab, CLASSES),
        partial(torch.optim.Muon, lr=recipe.matrix_rate, weight_decay=recipe.weight_decay),
        partial(torch.optim.AdamW, lr=recipe.other_rate, betas=(0.9, 0.98), weight_decay=0.0),
    )


def class_logits(
    parameters: Parameters, tokens: Int[Tensor, "row position"], recipe: Recipe
) -> Float[Tensor, "row class"]:
    """The two logits at position 0, by the shortest path through PyTorch (no graph, nothing scrubbed)."""
    real = (tokens != PAD)[:, None, None, :]
    resid = final_stream(parameters, tokens, recipe, partial(F.scaled_dot_product_attention, attn_mask=real))
    return unembedded(parameters, resid[:, 0])


def losses(parameters: Parameters, strings: Sequence[str], recipe: Recipe) -> Float[Tensor, " string"]:
    """The cross-entropy in nats of whether each string is balanced, the shortest strings first."""
    found: list[Tensor] = []
    ordered = sorted(strings, key=len)
    size = max(1, len(ordered) // 4)  # strings of about one length need little padding
    for some in (ordered[i : i + size] for i in range(0, len(ordered), size)):
        tokens = torch.from_numpy(tokens_of(some))
        labels = torch.tensor([int(balanced(string)) for string in some])
        found.append(F.cross_entropy(class_logits(parameters, tokens, recipe), labels, reduction="none"))
    return torch.cat(found)


def weights(run: Run, recipe: Recipe) -> Parameters:
    """The run's parameters in the file format: one matrix per head."""
    return by_head(run.parameters, recipe.n_heads)


def configuration(recipe: Recipe) -> dict[str, Any]:
    """The model's config.json."""
    return small_transformer.configuration(recipe, d_vocab_out=CLASSES, attention_dir="bidirectional")


def advance(run: Run, recipe: Recipe) -> float:
    """One optimiser step on fresh strings, which depend on (seed, step) alone; returns their mean loss in nats."""
    loss = losses(run.parameters, random_strings(recipe.batch, [recipe.seed, run.step]), recipe).mean()
    rate = share_of_rate(recipe, run.step)
    return step(run, loss, [recipe.matrix_rate * rate, recipe.other_rate * rate])


@torch.no_grad()
def measure(run: Run, strings: Sequence[str], recipe: Recipe) -> dict[str, float]:
    """A point of the training curve: the loss on strings, and the share of them that is told wrong."""
    found = losses(run.parameters, strings, recipe)
    wrong = found > np.log(2)  # of two classes, the less probable one
    return {"step": float(run.step), "loss": found.mean().item(), "wrong": wrong.double().mean().item()}
