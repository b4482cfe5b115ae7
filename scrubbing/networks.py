"""What is asked of a network before it is scrubbed: is it deterministic, and the one that it was rewritten from?"""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from scrubbing.dataset import Columns
from scrubbing.errors import GraphError
from scrubbing.graph import Graph

CHECKED_ROWS = 4
TOLERANCE = 1e-3  # relative to the largest loss: far above float32's rounding, far below a wrong sign
ROUNDINGS = 16  # of the coarsest type, where that comes to more


def check_networks(graphs: Iterable[Graph], columns: Columns, references: Int[np.ndarray, " row"]) -> None:
    """Raise unless every network is deterministic and agrees with the one it was rewritten from, on a few rows."""
    graphs = list(dict.fromkeys(graphs))
    _refuse_training_mode(graphs)
    few = {name: column[references[:CHECKED_ROWS]] for name, column in columns.items()}
    originals: dict[Graph, tuple[Tensor, float]] = {}
    for graph in graphs:
        if graph.origin not in originals:
            originals[graph.origin] = _deterministic(graph.origin, few)
        before, rounding = originals[graph.origin]
        difference = (_losses(graph, few)[0] - before).abs().max().item() if graph is not graph.origin else 0.0
        if not difference <= max(TOLERANCE, ROUNDINGS * rounding) * max(1.0, before.abs().max().item()):
            raise GraphError(
                f"a rewritten graph and the one that it was rewritten from differ by up to {difference:.3g} on the "
                f"first {len(before)} references; a rewrite must change no value (check=False skips this test)"
            )


def _losses(graph: Graph, data: Columns) -> tuple[Tensor, float]:
    """The losses, and the rounding of the coarsest type that the network computes with."""
    with torch.no_grad():
        values = dict(zip(graph, graph.activations(data, *graph), strict=True))
    types = {value.dtype for value in values.values() if isinstance(value, Tensor) and value.is_floating_point()}
    return torch.as_tensor(values[graph.output]).double(), max((torch.finfo(t).eps for t in types), default=0.0)


def _deterministic(graph: Graph, data: Columns) -> tuple[Tensor, float]:
    losses, rounding = _losses(graph, data)
    if not torch.allclose(losses, _losses(graph, data)[0], rtol=0, atol=0, equal_nan=True):
        raise GraphError(
            "the network gives other losses for the same rows when it is run again; take the randomness out of it "
            "(dropout, sampling), or make it a column of the data"
        )
    return losses, rounding


def _refuse_training_mode(graphs: Iterable[Graph]) -> None:
    for graph in graphs:
        for name, node in graph.items():
            module = getattr(node.fn, "__self__", node.fn)  # a module, or a method of one
            if isinstance(module, torch.nn.Module) and module.training:
                raise GraphError(f"{name!r} is a module in training mode; call .eval() on it first")
