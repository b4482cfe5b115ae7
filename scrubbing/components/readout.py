"""From the residual stream to a loss, without ever holding logits for all positions and tokens at once."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scrubbing.components.base import Component
from scrubbing.components.residual import Resid, ResidualReader

TILE = 2**21  # logits held at a time


@dataclass(frozen=True)
class Logits:
    """Logits not yet computed: the final residual stream, and how to read it."""

    resid: Resid
    readout: "Readout"

    @property
    def nbytes(self) -> int:
        """What is held now."""
        return self.resid.nbytes

    def all(self) -> Float[Tensor, "batch position d_vocab"]:
        """Every logit at once."""
        return self.readout.unembed(self.readout.reader.norm(self.resid))

    def losses(
        self, labels: Int[Tensor, "batch position"], where: Bool[Tensor, "batch position"]
    ) -> Float[Tensor, " evaluated"]:
        """The cross-entropy in nats of the labels at the positions marked in `where`, in order."""
        x = self.readout.reader.norm(self.resid[where])
        tile = max(1, TILE // self.readout.W_U.shape[1])
        pieces = zip(x.split(tile), labels[where].split(tile), strict=True)
        return torch.cat([_cross_entropy(self.readout.unembed(rows), wanted) for rows, wanted in pieces])


@dataclass(frozen=True, eq=False)
class Readout(Component):
    """The final norm and the unembedding; its value is lazy (see `Logits`)."""

    reader: ResidualReader
    W_U: Float[Tensor, "d_model d_vocab"]
    b_U: Float[Tensor, " d_vocab"] | None = None

    sums_inputs: ClassVar[bool] = True

    def __call__(self, *terms: Resid) -> Logits:
        return Logits(self.reader.stream(*terms), self)

    def unembed(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab"]:
        """Logits of a normalised stream."""
        logits = x @ self.W_U
        return logits if self.b_U is None else logits + self.b_U


@dataclass(frozen=True, eq=False)
class WeightedCrossEntropy(Component):
    """The loss of each row: the sum over positions of weight times cross-entropy, in nats.

    Positions of weight zero are never unembedded.
    """

    def __call__(
        self, logits: Logits, labels: Int[Tensor, "batch position"], weights: Float[Tensor, "batch position"]
    ) -> Float[Tensor, " batch"]:
        where = weights != 0
        losses = logits.losses(labels, where)
        row = where.nonzero()[:, 0]
        return losses.new_zeros(len(labels)).index_add_(0, row, losses * weights[where].to(losses))


def _cross_entropy(logits: Float[Tensor, "row d_vocab"], labels: Int[Tensor, " row"]) -> Float[Tensor, " row"]:
    return logits.logsumexp(dim=-1) - logits.gather(1, labels[:, None])[:, 0]
