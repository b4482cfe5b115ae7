"""What a head's ablation does to the logit of the next token, and which parts of the network make up for it.

Source: Rushing and Nanda 2024, Explorations of Self-Repair in Language Models, equations 1 and 2, appendix B. All
streams here are without the unembedding's bias: the closed form of the norm's part holds for the logit less that bias.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from hypotheses.heads import Head
from hypotheses.self_repair.network import ByToken, Network, Reading, Run, Step, Tokens
from scrubbing.lens.components.residual import Resid

Ablation = Literal["resample", "mean", "zero"]
ABLATIONS: tuple[Ablation, ...] = ("resample", "mean", "zero")
Scale = Literal["clean", "own"]  # of which run the norm's scale is in the ablated run's direct effects

# Of a token and an ablation, in logits but for the two ratios.
FIELDS = (
    "direct_effect",
    "ablated_direct_effect",
    "change_in_logit",
    "from_heads",
    "from_mlps",
    "from_norm",
    "norm_ratio",  # the size that the norm divides by, clean over ablated
    "stream_ratio",  # the final stream's length, ablated over clean
)

Records = Float[Tensor, "ablation field *rows"]


@dataclass(frozen=True, eq=False)
class Clean:
    """A plain run of some rows, and how its next tokens' logits are made of what was written."""

    network: Network
    run: Run
    reading: Reading

    @classmethod
    def of(cls, network: Network, tokens: Tokens, labels: Tokens, mean: Tensor | None) -> "Clean":
        """Of tokens and those that come next; `mean` is taken off unembeddings (see `Reading`)."""
        return cls(network, network.run(tokens), Reading.of(network, labels, mean))

    @cached_property
    def whole(self) -> Resid:
        """The final stream with its biases."""
        return self.reading.whole(self.run.final)

    @cached_property
    def along(self) -> ByToken:
        """The final stream towards the token: the logit less its constant, before the norm's scale."""
        return self.reading.along(self.whole)

    @cached_property
    def scale(self) -> ByToken:
        """One over the size that the final norm divides by."""
        return self.reading.scale(self.whole)

    @cached_property
    def size(self) -> ByToken:
        """The length of the final stream."""
        return self.whole.norm(dim=-1)

    @property
    def logit(self) -> ByToken:
        """The logit of the next token (less that of the mean token, where unembeddings are centred)."""
        return self.along * self.scale + self.reading.constant

    @cached_property
    def attended(self) -> list[ByToken]:
        """What each layer's heads write, towards the token."""
        return [self.reading.along(step.attended) for step in self.run.steps if step.attended is not None]

    @cached_property
    def written(self) -> list[ByToken]:
        """What each layer's MLP writes, towards the token; its output bias is not in it."""
        return [self.reading.along(step.written) for step in self.run.steps if step.written is not None]

    def of_heads(self, layer: int) -> Float[Tensor, "row position head"]:
        """The direct effects of a layer's heads, without their layer's output bias."""
        z, W = self.run.z(layer), self.network.W_O(layer)
        pulled = (self.reading.towards @ W.flatten(0, 1).T).unflatten(-1, W.shape[:2])  # so that no head is written
        return torch.linalg.vecdot(z, pulled) * self.scale[..., None]

    def of_mlps(self) -> list[ByToken]:
        """The direct effects of MLPs, with their output biases."""
        return [(of + self._of_bias(layer)) * self.scale for layer, of in enumerate(self.written)]

    def _of_bias(self, layer: int) -> ByToken | float:
        bias = self.network.blocks[layer].mlp_bias
        return 0.0 if bias is None else self.reading.towards @ bias

    @cached_property
    def mlp_biases(self) -> ByToken:
        """All MLPs' output biases towards the token."""
        found = [block.mlp_bias for block in self.network.blocks if block.mlp_bias is not None]
        return self.reading.towards @ sum(found) if found else torch.zeros_like(self.along)  # pyright: ignore


def replaced(
    clean: Clean, donors: Run, layer: int, ablations: tuple[Ablation, ...] = ABLATIONS
) -> Float[Tensor, "ablation row position head d_head"]:
    """What stands in for the heads' `z` of a layer: another row's at the same position, the mean, or zero.

    The mean is that over all rows and positions of the batch (three studies know three different means).
    """
    z, other = clean.run.z(layer), donors.z(layer)
    instead = {
        "resample": lambda: other,
        "mean": lambda: z.mean(dim=(0, 1), keepdim=True).expand_as(z),
        "zero": lambda: torch.zeros_like(z),
    }
    return torch.stack([instead[ablation]() for ablation in ablations])


def ablated(clean: Clean, head: Head, instead: Float[Tensor, "ablation row position d_head"], scale: Scale) -> Records:
    """What follows where a head's `z` is replaced: `[ablation, field, row, position]`.

    With `scale="own"`, the direct effects in the ablated run are in its own norm's scale, so that those of parts
    upstream of the head change too.
    """
    return followed(clean, head, instead, scale)[0]


def followed(
    clean: Clean, head: Head, instead: Float[Tensor, "ablation row position d_head"], scale: Scale
) -> tuple[Records, Step]:
    """The same, with the last layer of the ablated run, `[ablation * row, ...]`."""
    layer, number = head
    z = clean.run.z(layer)
    W = clean.network.W_O(layer)[number]
    pulled = clean.reading.towards @ W.T
    change = (instead - z[:, :, number]) @ W
    own, own_ablated = torch.linalg.vecdot(z[:, :, number], pulled), torch.linalg.vecdot(instead, pulled)
    later, mlps, last = _later(clean, layer, change)
    final = clean.reading.whole(last.end.unflatten(0, change.shape[:2]))
    along, scaled = clean.reading.along(final), clean.reading.scale(final)
    used = clean.scale if scale == "clean" else scaled
    others, all_mlps = sum(clean.attended) - own, sum(clean.written) + clean.mlp_biases
    # What the norm does beyond the direct effects: to all of the new stream, or to what was written by no head or MLP.
    by_norm = along if scale == "clean" else clean.along - sum(clean.attended) - all_mlps
    found = [
        own * clean.scale,
        own_ablated * used,
        along * scaled - clean.along * clean.scale,
        used * (others + later) - clean.scale * others,
        used * (all_mlps + mlps) - clean.scale * all_mlps,
        (scaled - clean.scale) * by_norm,
        scaled / clean.scale,
        final.norm(dim=-1) / clean.size,
    ]
    return torch.stack([part.expand_as(along) for part in found], dim=1), last


def _later(clean: Clean, layer: int, change: Tensor) -> tuple[ByToken | float, ByToken | float, Step]:
    """How much more the later heads and MLPs write towards the token than in the plain run; the last layer."""
    later, mlps, last = 0.0, 0.0, None
    for number, last in enumerate(clean.network.after(layer, clean.run, change), layer):
        if last.attended is not None:
            later = later + _along(clean, last.attended, change) - clean.attended[number]
        if last.written is not None and not (last.attended is None and last.neurons is None):
            mlps = mlps + _along(clean, last.written, change) - clean.written[number]
    assert last is not None
    return later, mlps, last


def _along(clean: Clean, written: Tensor, change: Tensor) -> ByToken:
    return clean.reading.along(written.unflatten(0, change.shape[:2]))
