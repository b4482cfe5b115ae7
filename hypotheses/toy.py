"""The worked example of Chan et al. 2022: a network that says whether one of two digits is large, and what explains it.

Three digits come in; the third does not matter. The network adds smooth thresholds where the algorithm has an `or`.
"""

from functools import cache
from pathlib import Path
from typing import Any

import torch

from scrubbing import Case, DataError, Graph, reads
from scrubbing.experiments.suites import Suite
from scrubbing.graph.hypothesis import Hypothesis


def digits(dtype: torch.dtype = torch.float64, device: str = "cpu") -> dict[str, torch.Tensor]:
    """All 1,000 triples of digits, and whether the first or the second is above 3."""
    z = torch.cartesian_prod(*[torch.arange(10, device=device)] * 3)
    large = (z[:, 0] > 3) | (z[:, 1] > 3)
    return {"z1": z[:, 0], "z2": z[:, 1], "z3": z[:, 2], "y": large.to(dtype)}


NETWORK = Graph(
    A=lambda z1, z2, z3: torch.sigmoid(8 * (z1 - 3.5)),
    B=lambda z1, z2, z3: torch.sigmoid(8 * (z2 - 3.5)),
    C=lambda z1, z2, z3: z1 + z2 + z3,
    D=lambda A, B, C: A + B - A * B + 0 * C,
    loss=lambda D, y: (D - y).abs(),
)

KNOWS_NOTHING = Graph(loss=reads("y"))

CLAIMS: dict[str, Graph] = {
    "an or of thresholds": Graph(
        A=lambda z1: z1 > 3, B=lambda z2: z2 > 3, D=lambda A, B: A | B, loss=lambda D, y: D == y
    ),
    "the first digit alone": Graph(A=lambda z1: z1 > 3, D=reads("A"), loss=reads("D", "y")),
    "the digits themselves": Graph(A=reads("z1"), B=reads("z2"), D=reads("A", "B"), loss=reads("D", "y")),
    "a threshold too high": Graph(
        A=lambda z1: z1 > 5, B=lambda z2: z2 > 3, D=lambda A, B: A | B, loss=lambda D, y: D == y
    ),
    "an exclusive or": Graph(A=lambda z1: z1 > 3, B=lambda z2: z2 > 3, D=lambda A, B: A ^ B, loss=lambda D, y: D == y),
}


def suite(
    model: Path | None = None, data: Path | None = None, *, dtype: torch.dtype = torch.float64, device: str = "cpu"
) -> Suite:
    """The algorithm, a part of it, and three variations; the network and its data are what they are."""
    if model is not None or data is not None:
        raise DataError("the toy has a network and data of its own; leave out --model and --data")
    columns = digits(dtype, device)
    cases = tuple(Case(name, Hypothesis(NETWORK, I), columns, KNOWS_NOTHING) for name, I in CLAIMS.items())
    about: dict[str, Any] = {
        "network": "an or of two smooth thresholds, and a sum that is not used",
        "data": "all 1,000 triples of digits",
        "baseline": "knows the labels alone",
        "pairing": "one other datum per node",
        "normalisation": "mean absolute error",
    }
    return Suite("toy", cases, about)


@cache
def case(name: str) -> Case:
    """One of the hypotheses, by name: `case("an or of thresholds")`."""
    return suite().only([name]).cases[0]
