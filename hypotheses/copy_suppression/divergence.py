"""How far predictions move when the final stream changes and the norm's scale does not."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.lens.components.readout import TILE, Readout, precise
from scrubbing.lens.components.residual import Resid, SizeOfStream

Logits = Float[Tensor, "row d_vocab"]
ByPosition = Float[Tensor, "batch position"]
LARGE = 20.0  # above which exponentials of a difference are added up as logarithms


def divergence(clean: Logits, other: Logits) -> Float[Tensor, " row"]:
    """KL(clean || other) of the predictions of logits, in nats.

    Written in differences from their mean, which lose nothing where they are small.

    >>> divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0]])).item()
    0.0
    """
    log_p, moved = clean.log_softmax(-1), other - clean
    p = log_p.exp()
    moved = moved - (p * moved).sum(-1, keepdim=True)
    small = torch.log1p((p * moved.clamp(max=LARGE).expm1()).sum(-1))
    return torch.where(moved.amax(-1) > LARGE, (log_p + moved).logsumexp(-1), small)


def frozen_logits(
    readout: Readout, final: Resid, size: SizeOfStream, change: Resid, where: Tensor
) -> Iterator[tuple[Logits, Logits]]:
    """Logits of the final stream and of the changed one under the same scale, at some positions, a few at a time."""
    norm, rows = readout.reader.norm, max(1, TILE // readout.W_U.shape[1])
    parts = (precise(x)[where].split(rows) for x in (final, size, change))
    for stream, scale, moved in zip(*parts, strict=True):
        yield (
            precise(readout.unembed(norm.of_scale(stream, scale).to(readout.W_U.dtype))),
            precise(readout.unembed(norm.of_scale(stream + moved, scale).to(readout.W_U.dtype))),
        )


@dataclass(frozen=True, eq=False)
class DivergenceByPosition(Component):
    """KL(clean || intervened) at each position of weight, in nats: what a head writes is replaced on the direct path.

    What later blocks make of the head stays as it is, and so does the scale of the final norm.
    """

    readout: Readout

    def __call__(
        self, final: Resid, size: SizeOfStream, head: Resid, written: Resid, weights: ByPosition
    ) -> ByPosition:
        where = weights != 0
        pairs = frozen_logits(self.readout, final, size, written - head, where)
        found = torch.cat([divergence(clean, other) for clean, other in pairs])
        return found.new_zeros(where.shape).masked_scatter(where, found)


@dataclass(frozen=True, eq=False)
class Divergence(Component):
    """The sum over positions of weight times KL(clean || intervened), in nats: the loss of a row."""

    readout: Readout

    def __call__(
        self, final: Resid, size: SizeOfStream, head: Resid, written: Resid, weights: ByPosition
    ) -> Float[Tensor, " batch"]:
        found = DivergenceByPosition(self.readout)(final, size, head, written, weights)
        return (found * weights.to(found)).sum(dim=1)
