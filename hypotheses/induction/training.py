"""The optimisation: parameters, a plain forward pass, a step, and a point of the training curve."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int, UInt16
from torch import Tensor

from hypotheses.induction.corpus import rows_at
from hypotheses.runs import Parameters, Run, begun, by_head, share_of_rate, step


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, apart from the text."""

    steps: int = 4000
    batch: int = 8
    seed: int = 1
    n_layers: int = 2
    n_heads: int = 8
    d_model: int = 256
    d_head: int = 32
    d_vocab: int = 4096
    n_ctx: int = 300
    attention_rate: float = 0.02
    other_rate: float = 3e-3
    warmup: int = 100
    decay_share: float = 0.4
    repeated_share: float = 0.25
    shortest_repeated: int = 16

    @property
    def decay_from(self) -> float:
        """The step at which the learning rate begins to fall."""
        return self.steps * (1 - self.decay_share)


def start(recipe: Recipe) -> Run:
    """A run at step 0."""
    # Muon orthogonalises the update; the attention matrices learn the induction circuit far sooner with it.
    return begun(
        initial_parameters(recipe),
        partial(torch.optim.Muon, lr=recipe.attention_rate, weight_decay=0.0),
        partial(torch.optim.AdamW, lr=recipe.other_rate, betas=(0.9, 0.95), weight_decay=0.0),
    )


def initial_parameters(recipe: Recipe) -> Parameters:
    """Random parameters; a head's query, key and value columns lie side by side: `[d_model, heads * d_head]`."""
    generator = torch.Generator().manual_seed(recipe.seed)

    def normal(*shape: int, std: float) -> Tensor:
        return torch.randn(*shape, generator=generator) * std

    d, inner, std = recipe.d_model, recipe.n_heads * recipe.d_head, recipe.d_model**-0.5
    parameters = {
        "embed.W_E": normal(recipe.d_vocab, d, std=0.5),
        "pos_embed.W_pos": sinusoids(recipe.n_ctx, d),
        "unembed.W_U": normal(d, recipe.d_vocab, std=std),
        "ln_final.w": torch.ones(d),
        "ln_final.b": torch.zeros(d),
    }
    for layer in range(recipe.n_layers):
        parameters |= {f"blocks.{layer}.ln1.w": torch.ones(d), f"blocks.{layer}.ln1.b": torch.zeros(d)}
        parameters |= {f"blocks.{layer}.attn.W_{m}": normal(d, inner, std=std) for m in "QKV"}
        parameters[f"blocks.{layer}.attn.W_O"] = normal(inner, d, std=std)
    look_back(parameters, recipe)
    return parameters


def angles(positions: int, waves: int) -> Float[Tensor, "position wave"]:
    """The phase of each wave at each position; wavelengths go from 2.5 tokens to all positions, in geometric steps."""
    wavelengths = 2.5 * (positions / 2.5) ** (torch.arange(waves) / (waves - 1))
    return 2 * math.pi * torch.arange(positions)[:, None] / wavelengths


def sinusoids(positions: int, d_model: int) -> Float[Tensor, "position d_model"]:
    """Sines and cosines of amplitude 2 in a quarter of the dimensions: first all sines, then all cosines.

    Vaswani et al. 2017, section 3.5, with shorter waves in fewer dimensions: neighbours are easily told apart, and most
    dimensions are left to content, which induction heads compare.
    """
    phase = angles(positions, d_model // 8)
    table = torch.zeros(positions, d_model)
    table[:, : 2 * phase.shape[1]] = 2 * torch.cat([phase.sin(), phase.cos()], dim=1)
    return table


def look_back(parameters: Parameters, recipe: Recipe) -> None:
    """Let head 0.0 begin by attending one token back; what becomes of that is left to training.

    Left to chance, a previous-token head may form in the second layer first, and then no induction head forms at all.
    The head compares its short waves, the query's turned by one token.
    """
    waves, used = recipe.d_model // 8, recipe.d_head // 2
    turn = angles(recipe.n_ctx, waves)[1, :used]
    sines, cosines = torch.arange(used), waves + torch.arange(used)
    W_Q, W_K = (parameters[f"blocks.0.attn.{name}"] for name in ("W_Q", "W_K"))
    W_Q[:, : 2 * used] = W_K[:, : 2 * used] = 0
    W_K[sines, sines] = W_K[cosines, used + sines] = 1
    # sin(a - t) = sin(a) cos(t) - cos(a) sin(t), and cos(a - t) = cos(a) cos(t) + sin(a) sin(t)
    W_Q[sines, sines] = W_Q[cosines, used + sines] = turn.cos()
    W_Q[cosines, sines] = -turn.sin()
    W_Q[sines, used + sines] = turn.sin()


def row_losses(
    parameters: Parameters, rows: Int[Tensor, "row position_plus_1"], recipe: Recipe
) -> Float[Tensor, "row position"]:
    """The loss in nats at every position, by the shortest path through PyTorch (no graph, nothing scrubbed)."""
    inputs, labels = rows[:, :-1], rows[:, 1:]
    resid = parameters["embed.W_E"][inputs]
    position = parameters["pos_embed.W_pos"][: inputs.shape[1]]
    for layer in range(recipe.n_layers):
        block = {name.split(".")[-1]: v for name, v in parameters.items() if name.startswith(f"blocks.{layer}.")}
        x = F.layer_norm(resid, resid.shape[-1:], block["w"], block["b"])
        placed = x + position
        projected = placed @ block["W_Q"], placed @ block["W_K"], x @ block["W_V"]
        q, k, v = (rearrange(y, "b s (h e) -> b h s e", h=recipe.n_heads) for y in projected)
        z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        resid = resid + rearrange(z, "b h s e -> b s (h e)") @ block["W_O"]
    x = F.layer_norm(resid, resid.shape[-1:], parameters["ln_final.w"], parameters["ln_final.b"])
    logits = x @ parameters["unembed.W_U"]
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)


def weights(run: Run, recipe: Recipe) -> Parameters:
    """The run's parameters in the file format: one matrix per head."""
    return by_head(run.parameters, recipe.n_heads)


def batch(
    stream: UInt16[np.ndarray, "tokens"], recipe: Recipe, step: int, begin: int
) -> UInt16[np.ndarray, "row position_plus_1"]:
    """The rows of one step: passages of the text; some rows, until the rate begins to fall, one passage over and over.

    Repetition, at a period that differs from row to row, makes induction worth learning early. The rows depend on
    (seed, step) alone, so that a run taken up again sees what it would have seen.
    """
    rng = np.random.default_rng([recipe.seed, step])
    starts = rng.integers(0, len(stream) - recipe.n_ctx, recipe.batch)
    periods = rng.integers(recipe.shortest_repeated, recipe.n_ctx // 2 + 1, recipe.batch)
    repeated = (rng.random(recipe.batch) < recipe.repeated_share) & (step < recipe.decay_from)
    return rows_at(stream, starts, recipe.n_ctx, begin, np.where(repeated, periods, recipe.n_ctx))


def advance(run: Run, stream: UInt16[np.ndarray, "tokens"], recipe: Recipe, begin: int) -> float:
    """One optimiser step on a fresh batch; returns its mean loss in nats."""
    rows = torch.from_numpy(batch(stream, recipe, run.step, begin).astype(np.int64))
    loss = row_losses(run.parameters, rows, recipe).mean()
    rate = share_of_rate(recipe, run.step)
    return step(run, loss, [recipe.attention_rate * rate, recipe.other_rate * rate])


@torch.no_grad()
def measure(run: Run, held_out: Int[Tensor, "row position_plus_1"], recipe: Recipe, begin: int) -> dict[str, float]:
    """A point of the training curve: the held-out loss, and the loss on each half of repeated random tokens."""
    first, second = halves(run, recipe, begin)
    return {
        "step": float(run.step),
        "held_out": row_losses(run.parameters, held_out, recipe).mean().item(),
        "random": first,
        "repeated": second,
    }


@torch.no_grad()
def halves(run: Run, recipe: Recipe, begin: int, *, rows: int = 16) -> tuple[float, float]:
    """The mean loss on random tokens, and on the same tokens again: only induction can predict the second half."""
    generator = torch.Generator().manual_seed(recipe.seed)
    half = torch.randint(2, recipe.d_vocab, (rows, recipe.n_ctx // 2), generator=generator)
    repeated = torch.cat([torch.full((rows, 1), begin), half, half], dim=1)
    losses = row_losses(run.parameters, repeated, recipe)
    return losses[:, : half.shape[1]].mean().item(), losses[:, half.shape[1] :].mean().item()
