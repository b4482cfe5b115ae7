"""The loss of a language model, and how hypotheses about it compare."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.expressions import Call, Caller, Expression
from scrubbing.lens.components.comparing import Chosen, Final, Labels, compared
from scrubbing.lens.components.positions import At, EvaluatedPositions, Index, Take, Weights, restricted
from scrubbing.lens.components.readout import Logits, Readout
from scrubbing.lens.components.residual import terms_of, written


@dataclass(frozen=True, eq=False)
class WeightedCrossEntropy(Component):
    """The loss of each row: the sum over positions of weight times cross-entropy, in nats.

    Positions of weight zero are never unembedded.
    """

    def __call__(self, logits: Logits, labels: Labels, weights: Weights) -> Float[Tensor, " batch"]:
        where = weights != 0
        losses = logits.losses(labels, where)
        weighted = losses.new_zeros(where.shape)
        weighted[where] = losses * weights[where].to(losses)
        return weighted.sum(dim=1)

    def lower(self, arguments: tuple[Expression, ...], call: Caller) -> Expression | None:
        """What only the loss reads is computed at the evaluated positions alone."""
        logits, labels, weights = arguments
        if not (isinstance(logits, Call) and isinstance(logits.fn, Readout)) or logits.fn.reader.scale_apart:
            return None
        terms = written(terms_of(logits.arguments), call)
        if not terms:
            return None  # all of them cancel
        index = call(EvaluatedPositions(), (weights,))
        at = At(index, Take(weights))
        return call(LossAt(logits.fn), (index, labels, weights, *(restricted(term, at, call) for term in terms)))


@dataclass(frozen=True, eq=False)
class LossesByPosition(Component):
    """The cross-entropy in nats of each position, unweighted; 0 where the weight is."""

    def __call__(self, logits: Logits, labels: Labels, weights: Weights) -> Float[Tensor, "batch position"]:
        where = weights != 0
        losses = logits.losses(labels, where)
        return losses.new_zeros(where.shape).masked_scatter(where, losses)


@dataclass(frozen=True, eq=False)
class LossAt(Component):
    """The weighted cross-entropy, of the terms of the final stream at the evaluated positions."""

    readout: Readout

    @property
    def logits_per_position(self) -> int:
        """One."""
        return 1

    def __call__(self, at: Index, labels: Labels, weights: Weights, *terms: Final) -> Float[Tensor, " batch"]:
        chosen = Chosen.of(at, labels, weights)
        losses = self.readout.cross_entropy(chosen(self.readout.reader.stream(*terms)), chosen.labels)
        return chosen.per_row(losses[None])[0]

    def compared(
        self, network: Call, others: Sequence[Expression], rows: int, call: Caller
    ) -> dict[Expression, Mapping[str, Expression]]:
        """The readings of the network, and of those others that are losses at its positions, of its labels."""
        return compared(self.readout, network, [o for o in others if _alike(network, o)], rows=rows, call=call)


def _alike(network: Call, other: Expression) -> bool:
    return isinstance(other, Call) and other.fn == network.fn and other.arguments[:3] == network.arguments[:3]
