"""From the residual stream to logits, which are never held for all positions and tokens at once."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scrubbing.lens.components.norm import NO_NORM
from scrubbing.lens.components.residual import ReadsStream, Resid, ResidualReader

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
        return self.readout.cross_entropy(self.resid[where], labels[where])


@dataclass(frozen=True, eq=False)
class Readout(ReadsStream):
    """The final norm and the unembedding; its value is lazy (see `Logits`), and may be capped (see `Scores`)."""

    W_U: Float[Tensor, "d_model d_vocab"]
    b_U: Float[Tensor, " d_vocab"] | None = None
    soft_cap: float | None = None

    def __call__(self, *terms: Tensor) -> Logits:
        if self.reader.scale_apart:
            return Logits(self.reader(*terms), replace(self, reader=ResidualReader(NO_NORM)))
        return Logits(self.reader.stream(*terms), self)

    def unembed(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab"]:
        """Logits of a normalised stream."""
        logits = x @ self.W_U
        logits = logits if self.b_U is None else logits + self.b_U
        return logits if self.soft_cap is None else self.soft_cap * (logits / self.soft_cap).tanh()

    def cross_entropy(self, resid: Float[Tensor, "row d_model"], labels: Int[Tensor, " row"]) -> Float[Tensor, " row"]:
        """The cross-entropy in nats of a label for each vector of the final stream."""
        tile = max(1, TILE // self.W_U.shape[1])
        pieces = zip(self.reader.norm(resid).split(tile), labels.split(tile), strict=True)
        return torch.cat([_cross_entropy(self.unembed(rows), wanted) for rows, wanted in pieces])


def _cross_entropy(logits: Float[Tensor, "row d_vocab"], labels: Int[Tensor, " row"]) -> Float[Tensor, " row"]:
    logits = precise(logits)
    return logits.logsumexp(dim=-1) - logits.gather(1, labels[:, None])[:, 0]


def precise(x: Tensor) -> Tensor:
    """The same in 32 bits at least: sums over a vocabulary are too long for fewer."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()
