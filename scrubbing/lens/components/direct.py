"""Direct effects: what each term of the final stream adds to a logit, with the norm's scale held fixed."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.expressions import Call, Caller, Expression
from scrubbing.lens.components.positions import Index, Weights
from scrubbing.lens.components.readout import Readout, precise
from scrubbing.lens.components.residual import OutputProjection, Resid

Directions = Float[Tensor, "batch evaluated d_model"]
Tokens = Int[Tensor, " batch"] | Int[Tensor, "batch position"]  # of a row, or of each position
ByPosition = Float[Tensor, "batch evaluated"]
Size = Float[Tensor, "batch evaluated 1"]  # what the norm multiplies by


@dataclass(frozen=True, eq=False)
class Unembedded(Component):
    """The unembedding of a token at each evaluated position, less that of a second token if there is one."""

    readout: Readout

    def __call__(self, at: Index, token: Tokens, *less: Tokens) -> Directions:
        found = self._of(at, token)
        return found - self._of(at, less[0]) if less else found

    def _of(self, at: Index, token: Tokens) -> Directions:
        here = token.long().gather(1, at.clamp(min=0)) if token.ndim > 1 else token.long()[:, None].expand_as(at)
        return precise(self.readout.W_U.T[here.where(at >= 0, 0)])


@dataclass(frozen=True, eq=False)
class Pulled(Component):
    """Directions seen through the final norm: the stream along these, times its scale, is the logit but for biases."""

    readout: Readout

    def __call__(self, unembedded: Directions) -> Directions:
        norm = self.readout.reader.norm
        return norm.centred(unembedded if norm.w is None else unembedded * precise(norm.w))


@dataclass(frozen=True, eq=False)
class Along(Component):
    """A term of the stream along directions."""

    def __call__(self, directions: Directions, term: Resid) -> ByPosition:
        return torch.linalg.vecdot(precise(term), directions)

    def lower(self, arguments: tuple[Expression, ...], call: Caller) -> Expression | None:
        """What heads write is read at their `z`, so that nobody needs to hold what all of them write."""
        directions, term = arguments
        if isinstance(term, Call) and isinstance(term.fn, OutputProjection) and term.fn.of_heads:
            return call(AlongWritten(term.fn), (directions, *term.arguments))
        return None


@dataclass(frozen=True, eq=False)
class AlongWritten(Component):
    """What is written of `z`, along directions: `<z, W u>`."""

    write: OutputProjection

    def __call__(self, directions: Directions, z: Float[Tensor, "batch evaluated *written"]) -> ByPosition:
        return torch.linalg.vecdot(precise(z).flatten(2), directions @ precise(self.write.matrix).T)


@dataclass(frozen=True, eq=False)
class Constant(Component):
    """A vector of the stream that every row has, along directions."""

    vector: Float[Tensor, " d_model"]

    def __call__(self, directions: Directions) -> ByPosition:
        return directions @ precise(self.vector)


@dataclass(frozen=True, eq=False)
class Weighted(Component):
    """The sum over evaluated positions of weight times effect times scale, if the norm has part in it."""

    def __call__(self, at: Index, weights: Weights, effect: ByPosition, *scale: Size) -> Float[Tensor, " batch"]:
        w = (weights.gather(1, at.clamp(min=0)) * (at >= 0)).to(effect)
        scaled = effect * precise(scale[0])[..., 0] if scale else effect
        return (w * scaled).sum(dim=1)


@dataclass(frozen=True, eq=False)
class Terms(Component):
    """Stands in the place of a readout, so that a plan shows what it would have read."""

    readout: Readout

    def __call__(self, *terms: Tensor) -> Tensor:
        raise NotImplementedError("terms are planned and never computed as one value")
