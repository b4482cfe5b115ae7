"""The optimisation: parameters, a plain forward pass with head dropout, a step, and a point of the training curve."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor

from hypotheses import small_transformer
from hypotheses.ioi.text import END, repeated, task, texts, tokenizer
from hypotheses.muon import Muon
from hypotheses.runs import Parameters, Run, begun, by_head, share_of_rate, step
from hypotheses.small_transformer import final_stream, random_parameters, unembedded


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    steps: int = 2000
    batch: int = 64  # texts
    repeated: int = 12  # rows of random tokens that repeat
    seed: int = 0
    n_layers: int = 4
    n_heads: int = 6
    d_model: int = 96
    d_head: int = 16
    d_mlp: int = 192
    n_ctx: int = 40
    matrix_rate: float = 0.01
    other_rate: float = 3e-3
    warmup: int = 100
    decay_share: float = 0.5
    random_share: float = 0.3  # of the loss on random tokens
    head_dropout: float = 0.1  # whole heads, so that others learn to stand in for them


WORDS = tokenizer()
D_VOCAB = WORDS.get_vocab_size()


def start(recipe: Recipe, device: str = "cpu") -> Run:
    """A run at step 0. The initial weights are the same on every device; the heads that are dropped are not."""
    return begun(
        {name: value.to(device) for name, value in random_parameters(recipe, D_VOCAB, D_VOCAB).items()},
        partial(Muon, lr=recipe.matrix_rate),
        partial(torch.optim.AdamW, lr=recipe.other_rate, betas=(0.9, 0.98), weight_decay=0.0),
    )


def logits(
    parameters: Parameters,
    tokens: Int[Tensor, "row position"],
    recipe: Recipe,
    dropped: torch.Generator | None = None,
) -> Float[Tensor, "row position token"]:
    """The logits, by the shortest path through PyTorch (no graph); heads are dropped where a generator is given."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        if dropped is None:
            return z
        keep = torch.rand(len(tokens), recipe.n_heads, 1, 1, generator=dropped, device=z.device) >= recipe.head_dropout
        return z * keep / (1 - recipe.head_dropout)

    return unembedded(parameters, final_stream(parameters, tokens, recipe, attend))


def device_of(parameters: Parameters) -> torch.device:
    """Where a network is computed."""
    return parameters["unembed.W_U"].device


def text_rows(words: Tokenizer, lines: list[str]) -> Int[Tensor, "row position"]:
    """Each text in a row of its own, and its end."""
    encoded = [encoding.ids for encoding in words.encode_batch(lines)]
    rows = np.full((len(encoded), 1 + max(map(len, encoded))), words.token_to_id(END))
    for row, ids in zip(rows, encoded, strict=True):
        row[: len(ids)] = ids
    return torch.from_numpy(rows)


def losses(
    parameters: Parameters, rows: Int[Tensor, "row position"], recipe: Recipe, dropped: torch.Generator | None = None
) -> Float[Tensor, " token"]:
    """The cross-entropy in nats of each token but the first of its row, and none behind the end of a text."""
    rows = rows.to(device_of(parameters))
    counted = rows[:, :-1] != WORDS.token_to_id(END)
    found = logits(parameters, rows[:, :-1], recipe, dropped)
    return F.cross_entropy(found[counted], rows[:, 1:][counted], reduction="none")


def text_loss(
    parameters: Parameters, rows: Int[Tensor, "row position"], recipe: Recipe, dropped: torch.Generator | None = None
) -> Float[Tensor, ""]:
    """The mean loss of texts, in which the last word of each counts for half: most others no one can predict."""
    found = losses(parameters, rows, recipe, dropped)
    lengths = (rows != WORDS.token_to_id(END)).sum(1)
    last = (lengths.cumsum(0) - 2).to(found.device)  # the end of each text is behind it
    return found.mean() + found[last].mean()


def advance(run: Run, recipe: Recipe) -> float:
    """One optimiser step on fresh rows, which depend on (seed, step) alone; returns the loss in nats."""
    seed = [recipe.seed, run.step]
    dropped = torch.Generator(device_of(run.parameters)).manual_seed(recipe.seed * 1_000_003 + run.step)
    text = text_loss(run.parameters, text_rows(WORDS, texts(recipe.batch, seed)), recipe, dropped)
    again = torch.from_numpy(repeated(recipe.repeated, recipe.n_ctx, D_VOCAB, seed))
    random = losses(run.parameters, again, recipe, dropped)
    rate = share_of_rate(recipe, run.step)
    # Random tokens count less: half of their loss is what no one can predict.
    return step(run, text + recipe.random_share * random.mean(), [recipe.matrix_rate * rate, recipe.other_rate * rate])


@torch.no_grad()
def measure(run: Run, recipe: Recipe) -> dict[str, float]:
    """A point of the training curve: the loss on fresh text, on repeated tokens, and how often the task is done."""
    seed = [recipe.seed, 10**9]
    text = losses(run.parameters, text_rows(WORDS, texts(500, seed)), recipe).mean().item()
    again = torch.from_numpy(repeated(64, recipe.n_ctx, D_VOCAB, seed)).to(device_of(run.parameters))
    second = logits(run.parameters, again[:, :-1], recipe)[:, recipe.n_ctx // 2 :]
    random = F.cross_entropy(second.flatten(0, 1), again[:, recipe.n_ctx // 2 + 1 :].flatten()).item()
    return {"step": float(run.step), "loss": text, "repeated": random, "right": task_accuracy(run, recipe)}


def task_accuracy(run: Run, recipe: Recipe) -> float:
    """How often the answer to a fresh prompt of the task is the most probable token."""
    draw = np.random.default_rng([recipe.seed, 10**9 + 1])
    rows = text_rows(WORDS, [task(draw) for _ in range(300)]).to(device_of(run.parameters))
    row, answer = torch.arange(len(rows)), (rows != WORDS.token_to_id(END)).sum(1) - 1
    found = logits(run.parameters, rows[:, :-1], recipe)[row, answer - 1].argmax(-1)
    return float((found == rows[row, answer]).double().mean())


def weights(run: Run, recipe: Recipe) -> Parameters:
    """The run's parameters in the file format: one matrix per head."""
    return by_head({name: value.cpu() for name, value in run.parameters.items()}, recipe.n_heads)


def configuration(recipe: Recipe) -> dict[str, Any]:
    """The model's config.json."""
    return small_transformer.configuration(recipe, d_vocab=D_VOCAB)
