"""Readings of the network and of several hypotheses in one call: what they change is unembedded, the rest shared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.expressions import Call, Caller, Expression, Item
from scrubbing.lens.components.low_rank import Change, fold, read
from scrubbing.lens.components.positions import Index, Weights
from scrubbing.lens.components.readings import READINGS, Reading
from scrubbing.lens.components.readout import Readout
from scrubbing.lens.components.residual import (
    OutputProjection,
    Resid,
    ResidualReader,
    before_writing,
    by_matrix,
    difference,
    summed,
    terms_of,
    written,
)

Labels = Int[Tensor, "batch position"]
Final = Float[Tensor, "batch evaluated d_model"]

# The matrices whose part of the final stream hypotheses change (none: the stream as a whole), and each one's changes.
Group = tuple[tuple[OutputProjection, ...], dict[Expression, tuple[Expression, ...]]]


def compared(
    readout: Readout, network: Call, others: Sequence[Expression], *, rows: int, call: Caller
) -> dict[Expression, Mapping[str, Expression]]:
    """The readings, by name, of a network and of hypotheses about it, each a call of `LossAt`.

    What hypotheses change in the final stream is unembedded as it was before it was written, where that is narrower
    than the stream, and they and the `rows` are so many that folding the two matrices pays.
    """
    stream = call(FinalStream(readout.reader), network.arguments[3:])
    arguments = [*network.arguments[:3], stream, call(Folded(readout), ())]
    order: list[Expression] = [network]
    groups = _groups(readout, network, others, rows, call)
    for writes, members in groups:
        arguments += [call(Folded(readout, writes), ())] if writes else []
        arguments += [change for changes in members.values() for change in changes]
        order += members
    spec = tuple((writes, len(members)) for writes, members in groups)
    together = call(ReadingsAt(readout, spec, tuple(READINGS.items())), tuple(arguments))
    found = {root: {name: call(Item((name, h)), (together,)) for name in READINGS} for h, root in enumerate(order)}
    return {root: found.get(root, found[network]) for root in (network, *others)}  # the rest change nothing


def _groups(readout: Readout, network: Call, others: Sequence[Expression], rows: int, call: Caller) -> list[Group]:
    own = terms_of(network.arguments[3:])
    changed = {o: difference(terms_of(o.arguments[3:]), own) for o in dict.fromkeys(others) if o is not network}
    by_writes: dict[frozenset[OutputProjection | None], list[Expression]] = {}
    by_write = {other: by_matrix(terms) for other, terms in changed.items() if terms}
    for other, written_by in by_write.items():
        by_writes.setdefault(frozenset(written_by), []).append(other)
    groups: list[Group] = []
    whole: dict[Expression, tuple[Expression, ...]] = {}
    for key, members in by_writes.items():
        writes = tuple(write for write in by_write[members[0]] if write is not None)
        if len(writes) == len(key) and _folding_pays(readout, writes, len(members) * rows):
            zs = {o: tuple(before_writing(by_write[o][write], changed[o], call) for write in writes) for o in members}
            groups.append((writes, zs))
        else:
            whole |= {o: (summed(written(changed[o], call), call),) for o in members}
    return [*groups, ((), whole)] if whole else groups


def _folding_pays(readout: Readout, writes: Sequence[OutputProjection], rows: int) -> bool:
    """Whether making the product of two matrices costs less than it saves, with a position or more in each row."""
    d_model, width = len(readout.W_U), sum(write.width for write in writes)
    return width < d_model and rows * (d_model - width) > width * d_model


@dataclass(frozen=True, eq=False)
class FinalStream(Component):
    """The final stream before its norm."""

    reader: ResidualReader

    def __call__(self, *terms: Resid) -> Resid:
        return self.reader.stream(*terms)


@dataclass(frozen=True, eq=False)
class Folded(Component):
    """The unembedding of what some heads write, or of the stream as a whole: a constant."""

    readout: Readout
    writes: tuple[OutputProjection, ...] = ()

    def __call__(self) -> Float[Tensor, "rows d_vocab"]:
        return fold(self.readout, _matrix(self.writes))


@dataclass(frozen=True, eq=False)
class ReadingsAt(Component):
    """Readings of the network and of hypotheses, by name, a row for each: weighted sums over the evaluated positions.

    After the network's own inputs come those of each group of hypotheses: `Folded` where there are matrices, and the
    changes of each of its members.
    """

    readout: Readout
    groups: tuple[tuple[tuple[OutputProjection, ...], int], ...]
    readings: tuple[tuple[str, Reading], ...]

    @property
    def logits_per_position(self) -> int:
        """One of the network, and one of each hypothesis."""
        return 1 + sum(members for _, members in self.groups)

    def __call__(
        self, at: Index, labels: Labels, weights: Weights, stream: Final, unembedding: Tensor, *rest: Tensor
    ) -> dict[str, Float[Tensor, "hypothesis batch"]]:
        chosen = Chosen.of(at, labels, weights)
        norm, inputs = self.readout.reader.norm, iter(rest)
        changes: list[Change] = []
        for writes, members in self.groups:
            folded = next(inputs) if writes else unembedding
            parts = [[chosen(next(inputs)) for _ in writes or (None,)] for _ in range(members)]
            changes.append(Change(torch.stack([torch.cat(z, dim=1) for z in parts]), _matrix(writes), folded))
        tokens = {"labels": chosen.labels}
        found = read(norm, unembedding, chosen(stream), changes, tokens, dict(self.readings), self.readout.soft_cap)
        return {name: chosen.per_row(values) for name, values in found.items()}


@dataclass(frozen=True)
class Chosen:
    """The evaluated positions of a batch as one list, with their labels and weights."""

    shape: torch.Size  # `[batch, evaluated]`
    entries: Int[Tensor, " entry"]  # of that shape, as one list
    labels: Int[Tensor, " entry"]
    weights: Shaped[Tensor, " entry"]

    @classmethod
    def of(cls, at: Index, labels: Labels, weights: Weights) -> "Chosen":
        """The positions that are none of the -1 that fill up rows."""
        row, place = (at >= 0).nonzero(as_tuple=True)
        position = at[row, place]
        return cls(at.shape, row * at.shape[1] + place, labels[row, position], weights[row, position])

    def __call__(self, value: Float[Tensor, "batch evaluated *vector"]) -> Float[Tensor, "entry width"]:
        """A value at these positions, a vector for each."""
        return value.flatten(2).flatten(0, 1)[self.entries]

    def per_row(self, values: Float[Tensor, "hypothesis entry"]) -> Float[Tensor, "hypothesis batch"]:
        """The weighted sum of each row, added up in an order that is the same in every run on every device."""
        weighted = values.new_zeros(len(values), self.shape.numel())
        weighted[:, self.entries] = values * self.weights.to(values)
        return weighted.unflatten(1, self.shape).sum(dim=-1)


def _matrix(writes: Sequence[OutputProjection]) -> Float[Tensor, "width d_model"] | None:
    return torch.cat([write.matrix for write in writes]) if writes else None
