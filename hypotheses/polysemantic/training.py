"""A four-layer network grown from the shipped induction network: its two layers, and two that begin by adding nothing.

Grown rather than trained from nothing because it costs a tenth, and loses nothing that the two layers know.
"""

from functools import partial
from pathlib import Path

import torch
from einops import rearrange
from safetensors.torch import load

from hypotheses.induction.training import Recipe, initial_parameters
from hypotheses.runs import Run, begun
from scrubbing.graph.reading import read_file

RECIPE = Recipe(
    steps=600,
    seed=2,
    n_layers=4,
    attention_rate=1e-3,
    other_rate=1e-3,
    warmup=30,
    repeated_share=0.0,  # induction is there already
)


def grown(smaller: Path, recipe: Recipe) -> Run:
    """A run at step 0, whose network computes what the smaller one in that file does.

    AdamW throughout: the layers below are trained, and Muon's bfloat16 products are slow where a processor has none.
    """
    parameters = initial_parameters(recipe)
    for layer in range(recipe.n_layers):
        parameters[f"blocks.{layer}.attn.W_O"] = torch.zeros_like(parameters[f"blocks.{layer}.attn.W_O"])
    for name, value in load(read_file(smaller)).items():
        if name.endswith(("W_Q", "W_K", "W_V")):
            value = rearrange(value, "h d e -> d (h e)")
        elif name.endswith("W_O"):
            value = rearrange(value, "h e d -> (h e) d")
        if name in parameters:
            parameters[name] = value.float().contiguous()
    adam = partial(torch.optim.AdamW, betas=(0.9, 0.95), weight_decay=0.0)
    return begun(parameters, partial(adam, lr=recipe.attention_rate), partial(adam, lr=recipe.other_rate))
