"""Plain runs of a network, a few rows at a time, with what the tables are made of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hypotheses.copy_suppression.divergence import Logits
from hypotheses.copy_suppression.network import Final, Parts, SizeOf
from hypotheses.copy_suppression.preserving import moved_parts
from hypotheses.heads import Head, head_name
from scrubbing.lens.components.readout import precise
from scrubbing.lens.components.residual import Resid, SizeOfStream

ROWS = 8  # run at once

Tokens = Int[Tensor, "batch position"]


@dataclass(frozen=True, eq=False)
class Pass:
    """What the plain run computes on some rows."""

    parts: Parts
    tokens: Tokens
    labels: Tokens
    weights: Float[Tensor, "batch position"]
    values: Mapping[str, Tensor] = field(repr=False)  # all terms of the final stream, and what readers of it read

    @cached_property
    def final(self) -> Resid:
        """The final stream before its norm."""
        return Final(self.parts.readout)(self.values[before(self.parts.stream)])

    @cached_property
    def size(self) -> SizeOfStream:
        """The scale of the final norm."""
        return SizeOf(self.parts.readout)(self.final)

    def inputs(self, layer: int) -> list[Tensor]:
        """What the heads of a layer read: their stream, as one term."""
        return [self.values[before(self.parts.inputs(layer))]]

    def lens(self, layer: int) -> Resid:
        """The stream before a layer's heads, scaled as the final one is."""
        attention = self.parts.attention(layer, [0])
        return precise(attention.q.reader.stream(*self.inputs(layer))) * precise(self.size)

    def written(self, head: Head) -> Resid:
        """What a head writes."""
        return self.values[head_name(head)]

    def pairs(self, head: Head) -> tuple[Float[Tensor, "batch query key"], Resid]:
        """A head's pattern, and what it would write of each source alone."""
        return moved_parts(self.parts.attention(head[0], [head[1]]), *self.inputs(head[0]))

    def logits(self, final: Resid, size: SizeOfStream | None = None) -> Logits:
        """All logits of a final stream, under the clean scale ("frozen") or another."""
        readout = self.parts.readout
        return precise(readout.unembed(readout.reader.norm.of_scale(final, self.size if size is None else size)))

    def own_logits(self, final: Resid) -> Logits:
        """All logits of a final stream, normalised by its own size."""
        return self.logits(final, SizeOf(self.parts.readout)(final))


@torch.no_grad()
def passes(parts: Parts, data: Mapping[str, Tensor], rows: int = ROWS) -> Iterator[Pass]:
    """The plain run on all rows, a few at a time."""
    columns = [data[name] for name in ("tokens", "labels", "weights")]
    for tokens, labels, weights in zip(*(column.split(rows) for column in columns), strict=True):
        yield Pass(parts, tokens, labels, weights, run(parts, tokens))


def run(parts: Parts, tokens: Tokens, **instead: Tensor) -> dict[str, Tensor]:
    """All terms of the final stream on some rows, when some of them are given other values.

    Every reader reads the first so many of the terms: their sums, which are made once, are values too (`before`).
    """
    values: dict[str, Tensor] = {}
    resid: Tensor | None = None
    for i, name in enumerate(parts.stream):
        node = parts.G[name]
        read = tokens if resid is None else values[before(node.inputs)]
        values[name] = instead[name] if name in instead else node.fn(read)
        resid = values[name] if resid is None else resid + values[name]
        values[before(parts.stream[: i + 1])] = resid
    return values


def before(terms: Sequence[str]) -> str:
    """The name of the sum of the first terms of the stream."""
    return f"stream of {len(terms)}"


@torch.no_grad()
def mean_output(parts: Parts, head: Head, tokens: Tokens, rows: int) -> Float[Tensor, "position d_model"]:
    """The mean over the first rows of what a head writes at each position."""
    some = tokens[:rows]
    total = torch.zeros((), dtype=torch.float64, device=tokens.device)
    for chunk in some.split(ROWS):
        total = total + run(parts, chunk)[head_name(head)].double().sum(0)
    return (total / len(some)).to(parts.readout.W_U.dtype)
