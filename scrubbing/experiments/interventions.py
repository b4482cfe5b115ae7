"""Interchange interventions: the explanation and the network are given the same donor at a node, and must agree.

Source: Geiger, Lu, Icard and Potts, "Causal Abstractions of Neural Networks" (NeurIPS 2021).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scrubbing.engine.sampling.randomness import keyed_uniforms
from scrubbing.errors import DataError, HypothesisError
from scrubbing.errors.arguments import checked
from scrubbing.experiments.accuracy import Decide, agreement_by_row, wilson
from scrubbing.experiments.explanation import at_rows, in_chunks
from scrubbing.graph import Graph
from scrubbing.graph.data import Data, as_array, as_columns, at_least_one, of_any_device, seed_number
from scrubbing.graph.hypothesis import Hypothesis

Pairs = int | np.integer | Sequence[Any] | np.ndarray | Tensor


@dataclass(frozen=True, eq=False)
class InterchangeResult:
    """Whether network and explanation agree, for each pair of a reference and a donor.

    `agreed` is the share of the output's entries that agree; `moved` says whether the donor changed what the
    explanation computes. Agreement where nothing moved is no evidence about the node.
    """

    node: str
    of: str
    pairs: Int[np.ndarray, "pair 2"]
    agreed: Float[np.ndarray, "pair"]
    moved: Bool[np.ndarray, "pair"]

    @property
    def share(self) -> float:
        """The interchange intervention accuracy, between 0 and 1."""
        return float(self.agreed.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the share (Wilson), with pairs as the units."""
        return wilson(self.share, len(self.agreed))

    @property
    def share_moved(self) -> float | None:
        """The accuracy where the donor made a difference to the explanation; None if it never did."""
        return float(self.agreed[self.moved].mean()) if self.moved.any() else None

    @property
    def failures(self) -> Int[np.ndarray, "failure 2"]:
        """The pairs (reference, donor) on which network and explanation disagree."""
        return self.pairs[self.agreed < 1]

    def __str__(self) -> str:
        low, high = self.interval
        agree = f"{100 * self.share:.1f}% agree [{100 * low:.1f}, {100 * high:.1f}]"
        moved = "none of which changes what the explanation says: nothing was tested"
        if self.share_moved is not None:
            moved = (
                f"{self.moved.sum()} change what the explanation says ({100 * self.share_moved:.1f}% of these agree)"
            )
        return f"interchange of {self.node} at {self.of}: {agree}   {len(self.agreed)} pairs, {moved}"

    __repr__ = __str__


@checked
@torch.no_grad()
def interchange(
    hypothesis: Hypothesis,
    data: Data,
    *,
    node: str,
    of: str | None = None,
    pairs: Pairs | None = None,
    seed: int | np.integer = 0,
    decide: Decide | None = None,
    tolerance: float | None = None,
) -> InterchangeResult:
    """Run G and I on references with the value at a claimed node replaced by a donor's, and compare them at `of`.

    This is the positive control that causal scrubbing lacks. Scrubbing replaces only what the explanation calls
    unimportant, so an explanation that predicts *no* change passes. Here it must predict the change. The node is
    replaced for all of its readers, in G and in I. Nodes of I that run on the same node of G are one variable, and are
    replaced together.

    `of` is a node of I downstream of `node`: by default the output. (Where that is a loss, I usually has "right or
    wrong" where G has a number: compare at the prediction, or with `decide=lambda loss: loss < 0.5`.) `pairs` are row
    numbers `[pair, 2]` of a reference and a donor (`torch.cartesian_prod(rows, rows)` for all), a number of pairs to
    draw, or None: each row with one donor, drawn uniformly. `decide` and `tolerance` compare a network's numbers with
    an explanation's decisions, as in `explanation_accuracy`. The result's `share` is the interchange intervention
    accuracy, between 0 and 1.

    >>> from hypotheses import toy
    >>> case = toy.case("a threshold too high")
    >>> interchange(case.hypothesis, case.data, node="A", of="D", decide=lambda D: D > 0.5).share
    0.924

    Raises `HypothesisError` where the node does not reach `of`, and `DataError` for what cannot be compared.

    Source: Geiger, Lu, Icard and Potts, "Causal Abstractions of Neural Networks" (2021).
    """
    columns, h, of = as_columns(data), hypothesis, of or hypothesis.I.output
    replaced = _replaced(h, node, of)
    I, G = _cut(h.I, replaced, of), _cut(h.G, [h.image(node)], h.image(of))
    chosen = _pairs(pairs, len(next(iter(columns.values()))), seed_number(seed))
    agreed, moved = [], []
    for chunk in in_chunks(chosen):
        base, donor = at_rows(columns, chunk[:, 0]), at_rows(columns, chunk[:, 1])
        explained = I({**base, **dict(zip(replaced, h.I.activations(donor, *replaced), strict=True))})
        computed = G({**base, h.image(node): h.G.activations(donor, h.image(node))[0]})
        mine = (f"I's {of!r}", explained)
        before = (f"I's {of!r}", h.I.activations(base, of)[0])
        how = {"decide": decide, "tolerance": tolerance}
        agreed.append(agreement_by_row(mine, (f"G's {h.image(of)!r}", computed), len(chunk), **how))
        moved.append(agreement_by_row(mine, before, len(chunk), **how) < 1)
    return InterchangeResult(node, of, chosen, np.concatenate(agreed), np.concatenate(moved))


def _replaced(h: Hypothesis, node: str, of: str) -> list[str]:
    """The nodes of I that run where `node` runs."""
    _ = h.I[node], h.I[of]  # a wrong name is said before the work
    if h.image(node) == h.image(of):
        raise HypothesisError(
            f"the value of {node!r} is both replaced and compared, so both sides would be the donor's; "
            f"compare further on with of=..., or use explanation_accuracy"
        )
    return [name for name in h.I if h.image(name) == h.image(node)]


def _cut(graph: Graph, columns: Sequence[str], of: str) -> Graph:
    """What computes `of`, with some nodes taken out, so that their values are read from the data."""
    kept, open_ = {}, [of]
    while open_:
        name = open_.pop()
        if name in graph and name not in columns and name not in kept:
            kept[name] = graph[name]
            open_ += graph[name].inputs
    cut = Graph(kept)
    if not set(columns) & set(cut.columns):
        raise HypothesisError(
            f"{columns[0]!r} does not reach {of!r}, so that replacing it changes nothing there; "
            f"compare at a node downstream of it with of=..."
        )
    return cut


def _pairs(pairs: Pairs | None, rows: int, seed: int) -> Int[np.ndarray, "pair 2"]:
    if pairs is None or isinstance(pairs, int | np.integer) or not np.ndim(as_array("pairs", pairs)):
        counter = np.arange(rows if pairs is None else at_least_one("pairs", pairs))
        bases, donors = ((rows * keyed_uniforms(seed, ("interchange", role), counter)) for role in ("base", "donor"))
        return np.stack([counter if pairs is None else bases, donors], axis=1).astype(np.int64)
    array = of_any_device(pairs)
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != 2 or not len(array):
        raise DataError(
            f"pairs must be row numbers [pair, 2], reference and donor; these are of type {array.dtype}, "
            f"shape {list(array.shape)}"
        )
    wrong = array[(array < 0) | (array >= rows)]
    if wrong.size:
        raise DataError(f"pairs names row {wrong[0]}, but the data have the rows 0 to {rows - 1}")
    return array.astype(np.int64)
