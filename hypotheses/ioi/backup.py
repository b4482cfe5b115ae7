"""Backup heads: what each head adds to the logit difference, before and after the top name mover is knocked out.

Source: the text's section on backup name movers; McGrath et al. 2023 call it the Hydra effect.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hypotheses.heads import Head, all_heads, head_name
from hypotheses.ioi.network import Means, of_logit_difference, with_knockouts
from scrubbing import Graph, direct_effects
from scrubbing.lens import TransformerConfig

PerHead = Float[np.ndarray, "layer head"]


@dataclass(frozen=True, eq=False)
class Backup:
    """A head knocked out at the end: logit differences, direct effects of all heads, and the final norm's sizes.

    Direct effects of the run without it are by that run's own norm.
    """

    head: Head
    original: Float[np.ndarray, " row"]
    ablated: Float[np.ndarray, " row"]
    clean_effects: Float[np.ndarray, "layer head row"]
    ablated_effects: Float[np.ndarray, "layer head row"]
    clean_size: Float[np.ndarray, " row"]
    ablated_size: Float[np.ndarray, " row"]

    @property
    def naive_prediction(self) -> float:
        """What would be left if all others did what they did before."""
        return float((self.original - self.clean_effects[self.head]).mean())

    @property
    def norm_ratio(self) -> float:
        """The final norm's size, before over after."""
        return float((self.clean_size / self.ablated_size).mean())

    @property
    def repaired(self) -> float:
        """How much of what the head added others make up for: 0 none, 1 all."""
        added = self.clean_effects[self.head].mean()
        return float((self.ablated.mean() - self.naive_prediction) / added)

    @cached_property
    def logit_difference(self) -> list[dict[str, Any]]:
        """One row: before, after, and what was to be expected."""
        found = {"original": self.original.mean(), "ablated": self.ablated.mean()}
        return [{**{name: float(v) for name, v in found.items()}, "naive_prediction": self.naive_prediction}]

    @cached_property
    def direct_effects(self) -> list[dict[str, Any]]:
        """A row for each head."""
        clean, ablated = self.clean_effects.mean(-1), self.ablated_effects.mean(-1)
        return [
            {"layer": layer, "head": head, "clean": float(clean[layer, head]), "ablated": float(ablated[layer, head])}
            for layer, head in np.ndindex(clean.shape)
        ]

    @cached_property
    def norm_sizes(self) -> list[dict[str, Any]]:
        """A row for each prompt: the final norm's size at the end."""
        both = zip(self.clean_size, self.ablated_size, strict=True)
        return [{"row": row, "clean": float(a), "ablated": float(b)} for row, (a, b) in enumerate(both)]


def effects_of_heads(
    G: Graph, columns: Mapping[str, Tensor], config: TransformerConfig
) -> Float[np.ndarray, "layer head row"]:
    """What each head adds to the logit of the object less that of the subject at the end, by the run's own norm."""
    heads = [head_name(head) for head in all_heads(config)]
    found = direct_effects(G, columns, terms=heads, on=("io", "s"), scale="own", check=False)
    return np.stack([found.values[name] for name in heads]).reshape(config.n_layers, config.n_heads, -1)


@torch.no_grad()
def sizes(G: Graph, columns: Mapping[str, Tensor]) -> Float[np.ndarray, " row"]:
    """The size that the final norm divides by at the end, the square root of the variance; 1 without a norm."""
    (logits,) = G.activations(columns, "logits")
    norm = logits.readout.reader.norm
    if norm.kind is None:
        return np.ones(len(columns["END"]))
    final = logits.resid[torch.arange(len(columns["END"])), columns["END"]]
    return (1 / norm.scale(norm.centred(final)))[:, 0].double().cpu().numpy()


@torch.no_grad()
def without_head(
    G: Graph, columns: Mapping[str, Tensor], config: TransformerConfig, head: Head, means: Means
) -> Backup:
    """Knock a head out at the end, by its mean by template, and measure all heads again.

    `G` is the network with its own loss; `columns` are those of `Rows`.
    """
    name = head_name(head)
    kept = torch.ones(
        len(columns["END"]), 1, columns["tokens"].shape[1], dtype=torch.bool, device=columns["END"].device
    )
    kept[torch.arange(len(kept)), 0, columns["END"]] = False
    without, given = with_knockouts(G, {name: means[name]}), {**columns, "kept": kept}
    runs = ((G, columns), (without, given))
    differences = [of_logit_difference(graph)(some).double().cpu().numpy() for graph, some in runs]
    effects = [effects_of_heads(graph, some, config) for graph, some in runs]
    norms = [sizes(graph, some) for graph, some in runs]
    return Backup(head, *differences, *effects, *norms)
