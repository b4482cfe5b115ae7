"""What each head writes towards the decision, by what is wrong with a string; and which head writes shares."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from rich.console import RenderableType
from rich.table import Table
from torch import Tensor

from hypotheses.brackets.features import FIRST, count, horizon, shares
from hypotheses.brackets.roles import Roles
from hypotheses.heads import Head, head_name
from scrubbing import Graph

ROWS = 2000

Means = Float[Tensor, "layer head"]


@dataclass(frozen=True, eq=False)
class HeadEffects:
    """What heads write at position 0 towards "balanced", in logits, on average over balanced strings.

    `count` and `horizon` say how much less it is where that test alone fails. `share` is the part of the variance of
    what a head writes at the first bracket that is linear in the share of "(".
    """

    count: Means
    horizon: Means
    share: Means
    strings: int

    def __rich__(self) -> RenderableType:
        table = Table(caption=f"means over {self.strings} strings", caption_justify="left")
        for column in ("head", "count", "horizon", "share"):
            table.add_column(column, justify="right")
        for layer, head in self.heads:
            values = (f"{getattr(self, name)[layer, head]:.2f}" for name in ("count", "horizon", "share"))
            table.add_row(f"{layer}.{head}", *values)
        return table

    @property
    def heads(self) -> list[Head]:
        """All heads, in order."""
        return [(layer, head) for layer in range(self.count.shape[0]) for head in range(self.count.shape[1])]


@torch.no_grad()
def head_effects(G: Graph, data: Mapping[str, Tensor], n_layers: int, n_heads: int) -> HeadEffects:
    """Measure all heads of a bracket checker on the first strings of its data.

    A head's effect is the change that it makes to the difference of the two logits if the final norm's scale is held
    fixed (direct logit attribution).
    """
    some = {name: column[:ROWS] for name, column in data.items()}
    heads = [(layer, head) for layer in range(n_layers) for head in range(n_heads)]
    *written, logits = G.activations(some, *map(head_name, heads), "logits")
    readout, tokens = logits.readout, some["tokens"]
    norm, towards = readout.reader.norm, readout.W_U[:, 1] - readout.W_U[:, 0]
    scale = norm.scale(norm.centred(logits.resid[:, 0]))
    gain = torch.ones_like(towards) if norm.w is None else norm.w
    effects = torch.stack([(norm.centred(value[:, 0]) * scale * gain) @ towards for value in written])
    counted, passed = count(tokens), horizon(tokens)
    right = effects[:, counted & passed].mean(1)
    share = torch.stack([_linear(value[:, FIRST].double(), shares(tokens)[:, FIRST]) for value in written])
    found = right - effects[:, ~counted & passed].mean(1), right - effects[:, counted & ~passed].mean(1), share
    return HeadEffects(*(means.view(n_layers, n_heads) for means in found), strings=len(tokens))


def _linear(y: Float[Tensor, "row d_model"], x: Float[Tensor, " row"]) -> Float[Tensor, ""]:
    """The part of a vector's variance that is linear in a number."""
    x, y = x - x.mean(), y - y.mean(0)
    slope = (x @ y) / x.square().sum()
    return 1 - (y - x[:, None] * slope).square().sum() / y.square().sum()


def find_roles(effects: HeadEffects) -> Roles:
    """The roles that come nearest to what heads were measured to write.

    Of the heads after the first layer, the one that writes most about the horizon, and of the others those that write
    at least half as much about the count as the first of them. The share is made by the head of the first layer whose
    output is most linear in it.
    """
    judge, *others = sorted((h for h in effects.heads if h[0] > 0), key=lambda h: -effects.horizon[h])
    least = max(effects.count[head] for head in others) / 2
    counting = tuple(head for head in sorted(others) if effects.count[head] >= least)
    return Roles(count=counting, horizon=(judge,), share=(0, int(effects.share[0].argmax())))
