"""What is written to and read from the residual stream, which is a sum of terms."""

from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scrubbing.components.base import Component

Resid = Float[Tensor, "batch position d_model"]


@dataclass(frozen=True, eq=False)
class Sum(Component):
    """The sum of its inputs."""

    sums_inputs: ClassVar[bool] = True

    def __call__(self, *terms: Tensor) -> Tensor:
        return reduce(torch.add, terms)


@dataclass(frozen=True, eq=False)
class Difference(Component):
    """The first input less the second: the error of a guess."""

    def __call__(self, value: Tensor, guess: Tensor) -> Tensor:
        return value - guess


@dataclass(frozen=True, eq=False)
class Embedding(Component):
    """Token embeddings, and where the model has a table of them, position embeddings added."""

    W_E: Float[Tensor, "d_vocab d_model"]
    W_pos: Float[Tensor, "n_ctx d_model"] | None = None

    def __call__(self, tokens: Int[Tensor, "batch position"]) -> Resid:
        embedded = self.W_E[tokens]
        return embedded if self.W_pos is None else embedded + self.W_pos[: tokens.shape[1]]


@dataclass(frozen=True, eq=False)
class Norm(Component):
    """LayerNorm ("LN"), root-mean-square norm ("RMS") or none; without gain and bias where they are folded away."""

    kind: Literal["LN", "RMS"] | None
    eps: float = 1e-5
    w: Float[Tensor, " d_model"] | None = None
    b: Float[Tensor, " d_model"] | None = None

    def __call__(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        match self.kind:
            case "LN":
                return torch.nn.functional.layer_norm(x, x.shape[-1:], self.w, self.b, self.eps)
            case "RMS":
                return torch.nn.functional.rms_norm(x, x.shape[-1:], self.w, self.eps)
            case None:
                return x


@dataclass(frozen=True, eq=False)
class ResidualReader(Component):
    """How a component reads the stream: the sum of its terms and of the biases written so far, normalised.

    The biases are constants; they belong to the readers, so that no claim about a head is one about its layer's bias.
    """

    norm: Norm
    bias: Float[Tensor, " d_model"] | None = None

    sums_inputs: ClassVar[bool] = True

    def __call__(self, *terms: Resid) -> Resid:
        return self.norm(self.stream(*terms))

    def stream(self, *terms: Resid) -> Resid:
        """The sum before the norm."""
        total = reduce(torch.add, terms)
        return total if self.bias is None else total + self.bias
