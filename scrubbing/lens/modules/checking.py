"""A graph against the module that it was made of, on different rows: only this finds what a trace does not show."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from scrubbing.engine.contract import check_network
from scrubbing.errors import DataError, ModelError, NodeError
from scrubbing.graph import Graph, Node, reads
from scrubbing.lens.modules.columns import OfColumns

ROWS = 4  # looked at
TOLERANCE = 1e-4  # of the largest value: far above float32's rounding, far below a wrong sign
ROUNDINGS = 32  # of a coarse type
CAUSES = (
    "the module looks at the number of rows (if x.shape[0] > 1, squeeze()), keeps a state (self.n += 1), or mixes rows"
)

Columns = Mapping[str, Tensor]


def some_rows(columns: Columns) -> dict[str, Tensor]:
    """A few rows of an example, from all over it."""
    rows = len(next(iter(columns.values())))
    chosen = torch.linspace(0, rows - 1, min(rows, ROWS)).round().long()
    return {name: column[chosen.to(column.device)] for name, column in columns.items()}


def run(module: OfColumns, columns: Columns) -> dict[str, Tensor]:
    """What the module returns. Raises `ModelError` with what it raises itself."""
    try:
        with torch.no_grad():
            return module(dict(columns))
    except Exception as error:  # whatever a module raises
        given = ", ".join(f"{name} {list(column.shape)}" for name, column in columns.items())
        raise ModelError(f"the module cannot be called on the example ({given}): {error}") from error


def check_module(module: OfColumns, columns: Columns) -> dict[str, Tensor]:
    """What a module returns.

    Raises `ModelError` unless it returns the same when it is called again, and changes no buffer and no column.
    """
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        given = {name: column.clone() for name, column in columns.items()}
        first = run(module, given)
        for name, column in columns.items():
            if not torch.equal(given[name].nan_to_num(), column.nan_to_num()):
                raise ModelError(
                    f"a call writes into the column {name!r}: not a pure function; let it write into a copy"
                )
        _refuse_changes(module, buffers)
        torch.manual_seed(0)
        if not _same(first, run(module, columns)):
            raise ModelError(
                "the module returns other values when it is called again: it keeps a state (self.n += 1); "
                "a node is a pure function, so make what changes a column of the data"
            )
        torch.manual_seed(1)
        if not _same(first, run(module, columns)):
            raise ModelError("the module is random; make what is drawn a column of the data")
    if not first:
        raise ModelError("the module returns no tensors")
    return first


def _refuse_changes(module: OfColumns, before: Columns) -> None:
    for name, buffer in module.named_buffers():
        if name in before and not torch.equal(buffer.nan_to_num(), before[name].nan_to_num()):
            buffer.copy_(before[name])
            name = name.removeprefix("module.")
            raise ModelError(f"a call changes the buffer {name!r}: not a pure function; keep it from doing so")


def check_graph(G: Graph, outputs: Mapping[str, str], module: OfColumns, columns: Columns) -> None:
    """Raise `ModelError` unless a graph has the module's outputs, each under the name given, on any rows.

    All rows, all but one, reversed, and each alone are compared. And every node is a function of each row.
    """
    rows = len(next(iter(columns.values())))
    for at in (range(rows), range(rows - 1), range(rows)[::-1], *([row] for row in range(rows))):
        some = {name: column[list(at)] for name, column in columns.items()}
        expected = run(module, some)
        found = dict(zip(outputs, _values(G, list(outputs.values()), some), strict=True))
        for name in outputs:
            if not _close(found[name], expected[name]):
                what = "on a single row" if len(at) == 1 else f"on {len(at)} rows"
                raise ModelError(
                    f"{what} the graph and the module differ in {name!r}{_by(found[name], expected[name])}: {CAUSES}"
                )
    opaque = Graph({name: Node(_function(node.fn), node.inputs, constant=node.constant) for name, node in G.items()})
    missing = [name for name in G.columns if name not in columns]
    if missing:  # of the loss, which is then not looked at
        opaque = opaque | {G.output: reads(*(name for name in G[G.output].inputs if name in G))}
    try:
        check_network(opaque, columns)
        with contextlib.suppress(NodeError):  # far from the example, a function may not be defined
            check_network(opaque, dict(_elsewhere(columns)))
    except DataError as error:
        raise ModelError(str(error)) from error
    loss = _values(G, [G.output], columns)[0] if G.output == "loss" and not missing else None
    if isinstance(loss, Tensor) and loss.shape != (rows,):
        raise ModelError(
            f"the loss has shape {list(loss.shape)} for {rows} rows; return one value for each row, for example "
            f'cross_entropy(..., reduction="none"), summed over all axes but the first'
        )


def _function(fn: Any) -> Any:
    """A component as any function: one that the engine does not trust, and looks at."""
    return lambda *values: fn(*values)


@torch.no_grad()
def _values(G: Graph, names: list[str], columns: Columns) -> tuple[Any, ...]:
    return G.activations(columns, *names)


def _elsewhere(columns: Columns) -> Iterator[tuple[str, Tensor]]:
    """The rows with other signs and sizes, so that some pass a threshold on a sum over rows, and others do not."""
    for name, column in columns.items():
        scale = torch.tensor([1.0, -1.0, 100.0, -100.0])[: len(column)].to(column.device)
        scale = scale.view(-1, *[1] * (column.ndim - 1))
        yield name, (column * scale).to(column.dtype) if column.is_floating_point() else column


def _same(one: Columns, other: Columns) -> bool:
    return one.keys() == other.keys() and all(_close(one[name], other[name]) for name in one)


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not (one.is_floating_point() or one.is_complex()):
        return torch.equal(one, other)
    scale = float(other.abs().nan_to_num(0, 0, 0).max()) if other.numel() else 0.0
    tolerance = max(TOLERANCE, ROUNDINGS * torch.finfo(one.dtype).eps) * scale
    return torch.allclose(one, other, rtol=0.0, atol=tolerance, equal_nan=True)


def _by(one: Tensor, other: Tensor) -> str:
    if one.shape != other.shape:
        return f" (shapes {list(one.shape)} and {list(other.shape)})"
    return f" by up to {float((one.double() - other.double()).abs().nan_to_num().max()):.3g}"
