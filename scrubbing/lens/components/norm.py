"""Norms of the residual stream."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from scrubbing.engine.component import Component

Vectors = Float[Tensor, "*batch d_model"]


@dataclass(frozen=True, eq=False)
class Norm(Component):
    """LayerNorm ("LN"), root-mean-square norm ("RMS") or none; without gain and bias where they are folded away."""

    kind: Literal["LN", "RMS"] | None
    eps: float = 1e-5
    w: Float[Tensor, " d_model"] | None = None
    b: Float[Tensor, " d_model"] | None = None

    def __call__(self, x: Vectors) -> Vectors:
        match self.kind:
            case "LN":
                return torch.nn.functional.layer_norm(x, x.shape[-1:], self.w, self.b, self.eps)
            case "RMS":
                return torch.nn.functional.rms_norm(x, x.shape[-1:], self.w, self.eps)
            case None:
                return x

    def centred(self, x: Vectors) -> Vectors:
        """The linear part that comes first; the norm is `centred(x) * scale(centred(x)) * w + b`."""
        return x - x.mean(dim=-1, keepdim=True) if self.kind == "LN" else x

    def of_scale(self, x: Vectors, scale: Float[Tensor, "*batch 1"]) -> Vectors:
        """The norm with a scale that was computed elsewhere."""
        y = self.centred(x) * scale
        y = y if self.w is None else y * self.w
        return y if self.b is None else y + self.b

    def scale(self, centred: Vectors) -> Float[Tensor, "*batch 1"]:
        """One over the size of a centred vector."""
        if self.kind is None:
            return torch.ones_like(centred[..., :1])
        return (centred.square().mean(dim=-1, keepdim=True) + self.eps).rsqrt()


NO_NORM = Norm(None)
