"""The contract of a node's function: rows in, rows out, and no side effects. Checked on a few rows.

A function that mixes rows, or writes into its inputs, returns other values in another batch. The score would then
depend on batch size, memory bounds and the sharing of equal values.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.interpreter import called
from scrubbing.engine.sampling.values import flat, take
from scrubbing.errors import DataError
from scrubbing.graph import Graph, Node, Reads
from scrubbing.graph.data import Columns

LOOKED_AT = 4  # rows
TOLERANCE = 1e-3  # relative: far above the rounding of sums in another order, far below another row's value

Values = dict[str, Any]


def check_network(G: Graph, columns: Columns) -> None:
    """Raise unless every function of a network keeps the contract.

    Raises `DataError` that names the node, and `NodeError` for what a function raises itself.
    """
    _check(G, [name for name in G.order if _is_opaque(G[name])], columns)


def check_features(I: Graph, columns: Columns) -> None:
    """Raise unless every feature of an explanation keeps the contract, and returns the same when it is called again."""
    features = [name for name in I.order if name != I.output and _is_opaque(I[name])]
    first, again = (_check(I, features, columns) for _ in range(2))
    for name in features:
        if not _same(first[name], again[name], tolerance=0.0):
            raise DataError(
                f"the feature of {name!r} has other values when it is called again on the same rows; take the "
                f"randomness out of it, or make it a column of the data"
            )


def _is_opaque(node: Node) -> bool:
    """Whether a node's function is the user's own: neither a component nor `reads`."""
    return not isinstance(node.fn, Reads | Component)


def _check(graph: Graph, names: list[str], columns: Columns) -> Values:
    """The values of some nodes on a few rows, after the check that they have one entry per row."""
    if not names:
        return {}
    rows = np.arange(min(LOOKED_AT, len(next(iter(columns.values())))))
    steps = {step for name in names for step in graph.upstream(name)}
    order = [step for step in graph.order if step in steps]
    together = _computed(graph, order, columns, rows)
    for name in names:
        _refuse_other_lengths(name, graph[name], together[name], len(rows))
    for some in (rows[::-1][: max(1, len(rows) - 1)].copy(), rows[-1:]):  # in another order and number, and alone
        values = _computed(graph, order, columns, some)
        for name in names:
            if not graph[name].constant and not _same(_taken(together[name], some), values[name], TOLERANCE):
                raise DataError(
                    f"{name!r} gives a row another value when it gets other rows with it: its function mixes rows "
                    f"(x.sum() for x.sum(dim=-1), a sort along rows, statistics of a batch); make it a function of "
                    f"each row"
                )
    return together


@torch.no_grad()
def _computed(graph: Graph, order: list[str], columns: Columns, rows: np.ndarray) -> Values:
    """The values of nodes on some rows; raises where a function writes into what it reads."""
    values: Values = {}
    for step in order:
        node = graph[step]
        for i in node.inputs:
            if i not in values:
                if i not in columns:
                    raise DataError(f"the data have no column {i!r}")
                values[i] = take(columns[i], rows)
        arguments = [values[i] for i in node.inputs]
        before = [_snapshot(argument) for argument in arguments]
        values[step] = called(step, node.fn, arguments)
        for i, argument, was in zip(node.inputs, arguments, before, strict=True):
            if not _same(argument, was, tolerance=0.0):
                raise DataError(
                    f"{step!r} writes into its input {i!r}, which other nodes read too; compute a new value "
                    f"(torch.relu(x), not x.relu_())"
                )
    return values


def _snapshot(value: Any) -> Any:
    parts = flat(value)
    copies = [p.clone() if isinstance(p, Tensor) else p.copy() if isinstance(p, np.ndarray) else None for p in parts]
    return tuple(copies)


def _refuse_other_lengths(name: str, node: Node, value: Any, rows: int) -> None:
    for part in _arrays(value):
        if part.shape[:1] != (rows,) and not node.constant:
            raise DataError(
                f"{name!r} returns shape {list(part.shape)} for {rows} rows; a node returns one entry for each row "
                f"(or say that it is the same for all rows: Node(fn, inputs, constant=True))"
            )


def _taken(value: Any, rows: np.ndarray) -> Any:
    return tuple(take(part, rows) for part in _arrays(value))


def _same(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two values are equal in every array that they hold; other parts are ignored."""
    return all(_close(x, y, tolerance) for x, y in zip(_arrays(a), _arrays(b), strict=False))


def _close(a: Any, b: Any, tolerance: float) -> bool:
    if a.shape != b.shape:
        return False
    x, y = (torch.as_tensor(part) if not _is_text(part) else part for part in (a, b))
    if isinstance(x, Tensor) and isinstance(y, Tensor) and (x.is_floating_point() or x.is_complex()):
        scale = float(x.abs().nan_to_num(0, 0, 0).max()) if x.numel() else 0.0
        return torch.allclose(x, y, rtol=0.0, atol=tolerance * scale, equal_nan=True)
    return bool((x == y).all())


def _arrays(value: Any) -> list[Any]:
    return [part for part in flat(value) if isinstance(part, Tensor | np.ndarray)]


def _is_text(part: Any) -> bool:
    return isinstance(part, np.ndarray) and part.dtype.kind in "US"
