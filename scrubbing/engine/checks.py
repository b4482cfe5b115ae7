"""Check a network before it is scrubbed: it is deterministic, and agrees with the graph that it was rewritten from."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from scrubbing.engine.expressions import Expression
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.planning import Planner
from scrubbing.engine.sampling.streams import References
from scrubbing.errors import GraphError
from scrubbing.graph import Graph

CHECKED = 4  # draws
TOLERANCE = 1e-3  # relative to the largest loss: far above float32's rounding, far below a wrong sign
ROUNDINGS = 16  # of the coarsest type: sums may be added up in another order, on some devices at every run


def check_networks(graphs: Iterable[Graph], planner: Planner, interpreter: Interpreter) -> None:
    """Raise unless every network is deterministic and agrees with the one it was rewritten from, on a few references.

    Both are planned together, as in the run itself, so that a rewrite that leaves all calls equal costs nothing.
    """
    graphs = list(dict.fromkeys(graphs))
    origins = list(dict.fromkeys(graph.origin for graph in graphs))
    (losses, rounding), (again, _) = (_losses(some, planner, interpreter) for some in ([*graphs, *origins], origins))
    rounding *= ROUNDINGS
    if not all(torch.allclose(losses[g], again[g], rtol=rounding, atol=rounding, equal_nan=True) for g in origins):
        raise GraphError(
            "the network gives other losses for the same rows when it is run again; take the randomness out of it "
            "(dropout, sampling), or make it a column of the data"
        )
    for graph in graphs:
        before = losses[graph.origin]
        if not before.isfinite().all():
            continue  # the run itself names the row
        difference = (losses[graph] - before).abs().max().item() if graph is not graph.origin else 0.0
        if not difference <= max(TOLERANCE, rounding) * max(1.0, before.abs().max().item()):
            raise GraphError(
                f"a rewritten graph and the one that it was rewritten from differ by up to {difference:.3g} on the "
                f"first {len(before)} references; a rewrite must change no value (check=False skips this test)"
            )


def _losses(graphs: Iterable[Graph], planner: Planner, interpreter: Interpreter) -> tuple[dict[Graph, Tensor], float]:
    """The losses, and the rounding of the coarsest type that anything was computed with."""
    graphs = list(graphs)
    roundings = [0.0]

    def observe(step: Expression, values: Mapping[Expression, Any]) -> None:
        if isinstance(values[step], Tensor) and values[step].is_floating_point():
            roundings.append(torch.finfo(values[step].dtype).eps)

    roots = [planner.plain(graph, References()) for graph in graphs]
    draws = range(min(CHECKED, len(interpreter.sample)))  # one at a time, to need the least memory
    by_draw = [interpreter.values(roots, slice(draw, draw + 1), observe) for draw in draws]
    values = [torch.stack([torch.as_tensor(value) for value in found]) for found in zip(*by_draw, strict=True)]
    exact = [value.to(torch.promote_types(value.dtype, torch.float64)) for value in values]
    return dict(zip(graphs, exact, strict=True)), max(roundings)
