"""The explanation is a program: what it computes on the data, and how often that is what the network computes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scrubbing.errors import DataError, nearest
from scrubbing.errors.arguments import checked
from scrubbing.experiments.accuracy import Accuracy, Decide, agreement_by_row
from scrubbing.graph.data import Columns, Data, as_columns
from scrubbing.graph.hypothesis import Hypothesis

CHUNK = 1024  # rows in one forward pass


@checked
def run_explanation(hypothesis: Hypothesis, data: Data) -> Any:
    """The value `[row, ...]` of I's output on the data; `hypothesis.I.activations(data, name)` gives any other value.

    >>> from scrubbing import Graph
    >>> G = Graph(loss=lambda x, y: (2 * x - y).abs())
    >>> run_explanation(Hypothesis(G, Graph(loss=lambda x, y: 2 * x == y)), {"x": [1, 2], "y": [2, 5]})
    tensor([ True, False])
    """
    return hypothesis.I(as_columns(data))


@checked
@torch.no_grad()
def explanation_accuracy(
    hypothesis: Hypothesis,
    data: Data,
    *,
    of: str,
    against: str = "model",
    decide: Decide | None = None,
    tolerance: float | None = None,
) -> Accuracy:
    """How often I's own value at the node `of` equals G's value at the corresponding node, or a column (labels).

    `against` is "model" or a column of the data. An explanation speaks in decisions ("the first digit is large"), and a
    network in numbers. `decide` turns numbers into decisions (`lambda D: D > 0.5`, `lambda logits: logits.argmax(-1)`);
    it is applied to every value that is not integer or boolean. Or `tolerance` says how near is equal.

    High accuracy says that I computes the right answers, not that G computes them as I does. For that, see
    `interchange` and `scrub`.

    >>> from hypotheses import toy
    >>> case = toy.case("a threshold too high")
    >>> explanation_accuracy(case.hypothesis, case.data, of="D", decide=lambda D: D > 0.5)
    I's 'D' agrees with G's 'D' in 92.0% [90.2, 93.5] of 1000 rows

    Raises `DataError` for values that cannot be compared and for an unknown `against`, `GraphError` for an unknown
    node.
    """
    columns, h = as_columns(data), hypothesis
    _ = h.I[of]  # a wrong name is said before the work
    if against != "model" and against not in columns:
        known = nearest(against, ["model", *columns])
        raise DataError(f'against={against!r} is neither "model" nor a column of the data{known}')
    other = f"G's {h.image(of)!r}" if against == "model" else f"the column {against!r}"
    by_row = []
    for rows in in_chunks(np.arange(len(next(iter(columns.values()))))):
        chunk = at_rows(columns, rows)
        theirs = h.G.activations(chunk, h.image(of))[0] if against == "model" else chunk[against]
        mine = (f"I's {of!r}", h.I.activations(chunk, of)[0])
        by_row.append(agreement_by_row(mine, (other, theirs), len(rows), decide=decide, tolerance=tolerance))
    return Accuracy(f"I's {of!r}", other, np.concatenate(by_row))


def in_chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Pieces of at most `CHUNK` entries, in order."""
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]


def at_rows(columns: Columns, rows: np.ndarray) -> dict[str, Tensor | np.ndarray]:
    """The data at some rows."""
    index = torch.from_numpy(rows)
    return {n: c[index.to(c.device)] if isinstance(c, Tensor) else c[rows] for n, c in columns.items()}
