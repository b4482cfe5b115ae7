"""The contract of a node's function: rows in, rows out, and no side effects. Checked on a few rows.

A function that mixes rows, or writes into its inputs, returns other values in another batch. The score would then
depend on batch size, memory bounds and the sharing of equal values.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.interpreter import called
from scrubbing.engine.memory import is_out_of_memory
from scrubbing.engine.sampling.values import flat, take
from scrubbing.errors import DataError, GraphError
from scrubbing.graph import Graph, Node, Reads
from scrubbing.graph.data import Columns, is_plain

LOOKED_AT = 4  # rows
TOLERANCE = 1e-3  # relative: far above the rounding of sums in another order, far below another row's value
ROUNDINGS = 32  # of a coarse type: sums may be added up in another order
SMALL = 0.01  # of coarse types

Values = dict[str, Any]


def check_network(G: Graph, columns: Columns) -> None:
    """Raise unless every function of a network keeps the contract.

    Random functions are left to `check_networks`. Raises `DataError` that names the node, and `NodeError` for
    what a function raises itself.
    """
    try:
        _check(G, [name for name in G.order if _is_opaque(G[name])], columns)
    except Exception as error:
        if not is_out_of_memory(error):  # then the run will say so, or go on one row at a time
            raise


def refuse_training_mode(G: Graph) -> None:
    """Raise `GraphError` for a module that behaves as in training (dropout, statistics of the batch)."""
    for name, node in G.items():
        module = getattr(node.fn, "__self__", node.fn)  # a module, or a method of one
        if isinstance(module, torch.nn.Module) and module.training:
            raise GraphError(f"{name!r} is a module in training mode; call .eval() on it first")


def check_features(I: Graph, columns: Columns) -> None:
    """Raise unless every feature of an explanation keeps the contract, and returns the same when it is called again."""
    for name in _check(I, [name for name in I.order if name != I.output and _is_opaque(I[name])], columns):
        raise DataError(
            f"the feature of {name!r} has other values when it is called again on the same rows; take the "
            f"randomness out of it, or make it a column of the data"
        )


def _is_opaque(node: Node) -> bool:
    """Whether a node's function is the user's own: neither a component nor `reads`."""
    return not isinstance(node.fn, Reads | Component)


def _check(graph: Graph, names: list[str], columns: Columns) -> list[str]:
    """Raise unless some nodes are by row; those that are random are returned instead."""
    if not names:
        return []
    order = graph.upstream(*names)
    dataset_rows = len(next(iter(columns.values())))
    rows = np.linspace(0, dataset_rows - 1, LOOKED_AT).round().astype(np.int64)  # a short dataset's more than once

    def values(*at: int, watched: bool = False) -> Values:
        return _computed(graph, order, columns, rows[list(at)], watched=watched)

    everything = tuple(range(LOOKED_AT))
    together, again = values(*everything, watched=True), values(*everything)
    for name in names:
        _refuse_other_lengths(name, graph[name], together[name], LOOKED_AT)
    random = [name for name in names if not _same(together[name], again[name])]
    names = [name for name in names if name not in random]
    first, last = 0, LOOKED_AT - 1
    for at in (everything[::-1], (first,) * LOOKED_AT, (last,) * LOOKED_AT):  # as many rows, to be rounded alike
        other = values(*at)
        for name in names:
            if not _agree(graph[name], together[name], other[name], at, _same):
                raise _mixes(name, graph[name])
    alone = {at: values(at) for at in (first, last)}
    for name in names:
        value, node = together[name], graph[name]
        shaped = all(_agree(node, value, other[name], (at,), _same_shapes) for at, other in alone.items())
        # In smaller batches sums are rounded differently, which may flip a near tie (argmax, a threshold): not in both.
        if not shaped or not any(_agree(node, value, other[name], (at,), _same) for at, other in alone.items()):
            raise _mixes(name, node)
    return random


def _agree(node: Node, value: Any, other: Any, at: tuple[int, ...], same: Callable[[Any, Any], bool]) -> bool:
    """Whether `other`, a value for some of the rows, equals those rows of `value`."""
    parts = _arrays(value)
    by_row = all(part.shape[:1] == (LOOKED_AT,) for part in parts)
    taken = by_row and same(tuple(take(part, np.array(at)) for part in parts), other)
    return taken or (node.constant and same(value, other))


def _mixes(name: str, node: Node) -> DataError:
    if node.constant:
        return DataError(
            f"{name!r} is declared to be constant, and has another value for other rows; make it a function of each "
            f"row, without constant=True"
        )
    return DataError(
        f"{name!r} gives a row another value when other rows stand beside it: its function mixes rows "
        f"(x.sum() for x.sum(dim=-1), a sort along rows, statistics of a batch); make it a function of each row"
    )


@torch.no_grad()
def _computed(graph: Graph, order: Sequence[str], columns: Columns, rows: np.ndarray, *, watched: bool) -> Values:
    """The values of nodes on some rows; if they are watched, raises where a function writes into what it reads."""
    values: Values = {}
    for step in order:
        node = graph[step]
        for i in node.inputs:
            if i not in values:
                if i not in columns:
                    raise DataError(f"the data have no column {i!r}")
                values[i] = take(columns[i], rows)
        arguments = [values[i] for i in node.inputs]
        trusted = not (watched and _is_opaque(node))
        before = [] if trusted else [_snapshot(argument) for argument in arguments]
        values[step] = called(step, node.fn, arguments)
        _refuse_other_tensors(step, values[step])
        for i, argument, was in zip(node.inputs, arguments, before, strict=not trusted):
            if not _is_as_it_was(argument, was):
                raise DataError(
                    f"{step!r} writes into its input {i!r}, which other nodes read too; compute a new value "
                    f"(torch.relu(x), not x.relu_())"
                )
    return values


def _refuse_other_tensors(name: str, value: Any) -> None:
    for part in _arrays(value):
        if isinstance(part, Tensor) and not is_plain(part):
            raise DataError(
                f"{name!r} returns a tensor without plain entries; return one that has, such as x.to_dense()"
            )


def _snapshot(value: Any) -> list[Any]:
    """What is needed to see whether a value was written into: a copy, and a tensor's count of writes."""
    return [
        (part.clone(), None if part.is_inference() else part._version) if isinstance(part, Tensor) else part.copy()
        for part in _arrays(value)
    ]


def _is_as_it_was(value: Any, snapshot: list[Any]) -> bool:
    for part, was in zip(_arrays(value), snapshot, strict=True):
        copy, writes = was if isinstance(part, Tensor) else (was, None)
        if writes is not None and part._version != writes:
            return False
        if not _equal(part, copy):
            return False
    return True


def _refuse_other_lengths(name: str, node: Node, value: Any, rows: int) -> None:
    for part in _arrays(value):
        if part.shape[:1] != (rows,) and not node.constant:
            raise DataError(
                f"{name!r} returns shape {list(part.shape)} for {rows} rows; a node returns one entry for each row "
                f"(or say that it is the same for all rows: Node(fn, inputs, constant=True))"
            )


def _same(a: Any, b: Any) -> bool:
    """Whether two values are equal but for rounding, in every array that they hold."""
    return _same_shapes(a, b) and all(map(_close, _arrays(a), _arrays(b)))


def _same_shapes(a: Any, b: Any) -> bool:
    return [part.shape for part in _arrays(a)] == [part.shape for part in _arrays(b)]


def _close(a: Any, b: Any) -> bool:
    a, b = _as_tensor(a), _as_tensor(b)
    if isinstance(a, Tensor) and isinstance(b, Tensor) and torch.equal(a, b):
        return True
    if not isinstance(a, Tensor) or not isinstance(b, Tensor) or not (a.is_floating_point() or a.is_complex()):
        return _equal(a, b)
    rounding = ROUNDINGS * torch.finfo(a.dtype).eps
    a, b = (x.float() if x.element_size() < 4 else x for x in (a, b))  # the smallest types cannot be compared
    scale = float(a.abs().nan_to_num(0, 0, 0).max()) if a.numel() else 0.0
    # What is smaller than the rounding of ones may be a difference of such: the loss of a network that is right.
    atol = max(TOLERANCE, rounding) * scale + min(rounding, SMALL)
    return torch.allclose(a, b, rtol=0.0, atol=atol, equal_nan=True)


def _equal(a: Any, b: Any) -> bool:
    """Whether two arrays are equal to the last digit; NaN equals itself."""
    if isinstance(a, Tensor) != isinstance(b, Tensor):
        return False
    if isinstance(a, Tensor) and torch.equal(a, b):
        return True
    return bool(((a == b) | ((a != a) & (b != b))).all())


def _as_tensor(part: Any) -> Any:
    """Numbers as a tensor, of their own since an array may be read-only; text stays as it is."""
    numbers = isinstance(part, np.ndarray) and part.dtype.kind in "biufc" and part.itemsize <= 8
    return torch.from_numpy(part.copy()) if numbers else part


def _arrays(value: Any) -> list[Any]:
    # numpy makes a number of an array that is indexed with a tensor of one row.
    parts = (np.atleast_1d(part) if isinstance(part, np.generic) else part for part in flat(value))
    return [part for part in parts if isinstance(part, Tensor | np.ndarray)]
