"""The optimisation: parameters, a plain forward pass, a step, and a point of the training curve."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from hypotheses import small_transformer
from hypotheses.copy_suppression.text import VOCABULARY, Text
from hypotheses.muon import Muon
from hypotheses.runs import Parameters, Run, begun, by_head, share_of_rate, step

DEFAULT = Text()


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    steps: int = 3000
    batch: int = 48
    seed: int = 0
    text: Text = DEFAULT
    n_layers: int = 2
    d_model: int = 128
    d_head: int = 128
    d_mlp: int = 512
    d_vocab: int = len(VOCABULARY)
    n_ctx: int = 64
    matrix_rate: float = 0.02
    other_rate: float = 3e-3
    weight_decay: float = 0.1
    warmup: int = 100
    decay_share: float = 0.5


def start(recipe: Recipe) -> Run:
    """A run at step 0."""
    return begun(
        initial_parameters(recipe),
        partial(Muon, lr=recipe.matrix_rate, weight_decay=recipe.weight_decay),
        partial(torch.optim.AdamW, lr=recipe.other_rate, betas=(0.9, 0.95), weight_decay=recipe.weight_decay),
    )


def initial_parameters(recipe: Recipe) -> Parameters:
    """Random parameters: one head a layer, and an MLP in the first layer alone."""
    generator = torch.Generator().manual_seed(recipe.seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * shape[0] ** -0.5

    d = recipe.d_model
    parameters = {
        "embed.W_E": torch.randn(recipe.d_vocab, d, generator=generator) * 0.5,
        "pos_embed.W_pos": torch.randn(recipe.n_ctx, d, generator=generator) * 0.5,
        "unembed.W_U": normal(d, recipe.d_vocab),
        "unembed.b_U": torch.zeros(recipe.d_vocab),
        "ln_final.w": torch.ones(d),
        "ln_final.b": torch.zeros(d),
    }
    for layer in range(recipe.n_layers):
        block = f"blocks.{layer}"
        parameters |= {f"{block}.ln1.w": torch.ones(d), f"{block}.ln1.b": torch.zeros(d)}
        parameters |= {f"{block}.attn.W_{m}": normal(d, recipe.d_head) for m in "QKV"}
        parameters[f"{block}.attn.W_O"] = normal(recipe.d_head, d)
    parameters |= {"blocks.0.ln2.w": torch.ones(d), "blocks.0.ln2.b": torch.zeros(d)}
    parameters |= {"blocks.0.mlp.W_in": normal(d, recipe.d_mlp), "blocks.0.mlp.b_in": torch.zeros(recipe.d_mlp)}
    parameters |= {"blocks.0.mlp.W_out": normal(recipe.d_mlp, d), "blocks.0.mlp.b_out": torch.zeros(d)}
    return parameters


def row_losses(
    parameters: Parameters, rows: Int[Tensor, "row position_plus_1"], recipe: Recipe
) -> Float[Tensor, "row position"]:
    """The loss in nats at every position, by the shortest path through PyTorch (no graph, nothing scrubbed)."""
    inputs, labels = rows[:, :-1], rows[:, 1:]
    resid = parameters["embed.W_E"][inputs] + parameters["pos_embed.W_pos"][: inputs.shape[1]]
    for layer in range(recipe.n_layers):
        block = {name.split(".", 2)[2]: v for name, v in parameters.items() if name.startswith(f"blocks.{layer}.")}
        x = F.layer_norm(resid, resid.shape[-1:], block["ln1.w"], block["ln1.b"])
        q, k, v = (x @ block[f"attn.W_{m}"] for m in "QKV")
        resid = resid + F.scaled_dot_product_attention(q, k, v, is_causal=True) @ block["attn.W_O"]
        if "mlp.W_in" in block:
            x = F.layer_norm(resid, resid.shape[-1:], block["ln2.w"], block["ln2.b"])
            hidden = torch.relu(x @ block["mlp.W_in"] + block["mlp.b_in"])
            resid = resid + hidden @ block["mlp.W_out"] + block["mlp.b_out"]
    x = F.layer_norm(resid, resid.shape[-1:], parameters["ln_final.w"], parameters["ln_final.b"])
    logits = x @ parameters["unembed.W_U"] + parameters["unembed.b_U"]
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)


def weights(run: Run, recipe: Recipe) -> Parameters:
    """The run's parameters in the file format: one matrix per head, and zeros for the MLPs that are not there."""
    found = by_head(run.parameters, 1)
    for layer in range(1, recipe.n_layers):
        block, first = f"blocks.{layer}", "blocks.0"
        for name in ("mlp.W_in", "mlp.b_in", "mlp.W_out", "mlp.b_out", "ln2.b"):
            found[f"{block}.{name}"] = torch.zeros_like(found[f"{first}.{name}"])
        found[f"{block}.ln2.w"] = torch.ones_like(found[f"{first}.ln2.w"])
    return found


def configuration(recipe: Recipe) -> dict[str, Any]:
    """The model's config.json."""
    return small_transformer.configuration(recipe, n_heads=1)


def batch(recipe: Recipe, step: int) -> Int[Tensor, "row position_plus_1"]:
    """The rows of one step, which depend on (seed, step) alone."""
    return torch.from_numpy(recipe.text.rows(recipe.batch, recipe.n_ctx + 1, [recipe.seed, step]))


def advance(run: Run, recipe: Recipe) -> float:
    """One optimiser step on fresh rows; returns their mean loss in nats."""
    loss = row_losses(run.parameters, batch(recipe, run.step), recipe).mean()
    rate = share_of_rate(recipe, run.step)
    return step(run, loss, [recipe.matrix_rate * rate, recipe.other_rate * rate])


@torch.no_grad()
def measure(run: Run, rows: Int[Tensor, "row position_plus_1"], recipe: Recipe) -> dict[str, float]:
    """A point of the training curve: the loss where a word comes next, on rows of its own."""
    found = row_losses(run.parameters, rows, recipe)
    return {"step": float(run.step), "loss": found.mean().item(), "words": found[:, 2::2].mean().item()}
