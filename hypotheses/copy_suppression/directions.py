"""Tokens as directions of the final stream: their unembeddings, seen through the final norm."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.lens.components.readout import Readout, precise

Tokens = Int[Tensor, "batch position"]
Table = Int[Tensor, "token related"]  # a token's own number first; -1 for none


@dataclass(frozen=True, eq=False)
class Unembeddings(Component):
    """The direction of a token: a vector of the stream along it, times the norm's scale, is the token's logit.

    The norm's gain is folded in, and centring is. With `centred` the mean over all tokens is taken off, which adds the
    same to each logit and changes no prediction; but it does change what a projection onto a direction keeps.
    """

    readout: Readout
    centred: bool = True

    def __call__(self, tokens: Tokens) -> Float[Tensor, "batch position d_model"]:
        found = precise(self.readout.W_U.T[tokens])
        return self._folded(found - self._mean if self.centred else found)

    @cached_property
    def all(self) -> Float[Tensor, "token d_model"]:
        """Those of all tokens."""
        return self(torch.arange(self.readout.W_U.shape[1], device=self.readout.W_U.device)[None])[0]

    @cached_property
    def _mean(self) -> Float[Tensor, " d_model"]:
        return precise(self.readout.W_U).mean(1)

    def _folded(self, vectors: Tensor) -> Tensor:
        norm = self.readout.reader.norm
        return norm.centred(vectors if norm.w is None else vectors * precise(norm.w))


def span(vectors: Float[Tensor, "*batch vector d_model"]) -> Float[Tensor, "*batch vector d_model"]:
    """An orthonormal basis of what some vectors span, by Gram and Schmidt: zero for those that add nothing.

    >>> span(torch.tensor([[2.0, 0.0], [1.0, 1.0], [5.0, 3.0]]))
    tensor([[1., 0.],
            [0., 1.],
            [0., 0.]])
    """
    basis: list[Tensor] = []
    for vector in vectors.unbind(-2):
        left = vector
        for _ in range(2):  # the second time for what rounding left
            for known in basis:
                left = left - (left * known).sum(-1, keepdim=True) * known
        size, whole = (x.norm(dim=-1, keepdim=True) for x in (left, vector))
        new = size > 1e-5 * whole.clamp(min=1e-30)
        basis.append(torch.where(new, left / size.clamp(min=1e-30), 0.0))
    return torch.stack(basis, dim=-2)
