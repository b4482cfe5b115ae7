"""Small networks whose scrubbed losses are known exactly, and how samples are compared with what is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from scrubbing import Graph, Hypothesis, Node, Score, per_position, reads, scrub


def table(**columns: Any) -> dict[str, Tensor]:
    return {name: torch.as_tensor(column).double() for name, column in columns.items()}


def grid(*sizes: int) -> np.ndarray:
    """All combinations of as many counters, one per line."""
    return np.indices(sizes).reshape(len(sizes), -1)


def digits(*names: str, label: Any) -> dict[str, Tensor]:
    """All combinations of 0..9, and a label made of them."""
    data = table(**dict(zip(names, grid(*[10] * len(names)), strict=True)))
    return data | {"label": label(**data)}


def network(out: Any, **nodes: Any) -> Graph:
    return Graph(nodes, out=out, loss=lambda out, label: (out - label).abs())


def claim(out: Any, **nodes: Any) -> Graph:
    return Graph(nodes, out=out, loss=reads("out", "label"))


@dataclass(frozen=True)
class Oracle:
    """A network, a claim about it, and the loss that scrubbing must leave."""

    G: Graph
    I: Graph
    data: Mapping[str, Tensor | np.ndarray]
    scrubbed: float
    settings: Mapping[str, Any] = field(default_factory=dict)

    def score(self, **settings: Any) -> Score:
        labels = [name for name in self.G[self.G.output].inputs if name not in self.G]
        settings = {"references": 20_000, **self.settings, **settings}
        return scrub(Hypothesis(self.G, self.I), self.data, baseline=Graph(loss=reads(*labels)), **settings)


def known(value: Any, expected: float) -> bool:
    """Whether the mean of independent values may well be the one expected; zero is expected of each."""
    losses = np.asarray(value)
    if expected == 0:
        return bool((losses == 0).all())
    return abs(losses.mean() - expected) <= 4 * losses.std(ddof=1) / np.sqrt(len(losses))


def is_uniform(rows, of):
    """Whether draws from `of` equally likely rows may well have given these."""
    counts = np.bincount(rows, minlength=of)
    return len(counts) == of and (of == 1 or stats.chisquare(counts).pvalue > 1e-4)


# -- end-to-end traps

TWO_AND_THREE = digits("x0", "x1", label=lambda x0, x1: 2 * x0 + 3 * x1)
SUM = network(lambda A, B: A + B, A=lambda x0: 2 * x0, B=lambda x1: 3 * x1)
OF_THE_LABEL = claim(lambda A, B, label: label, A=reads("x0"), B=reads("x1"))
ONE_TERM = claim(reads("A"), A=reads("x0"))
PAIRS = table(x0=range(10), x1=range(0, 20, 2), label=range(0, 30, 3))

TRAPS = {
    "identical": Oracle(SUM, OF_THE_LABEL, TWO_AND_THREE, 0),
    "spread over the residual": Oracle(
        network(lambda A, x1: A + x1, A=lambda x0, x1: x0 + x1),
        claim(lambda A, x0, x1: x0 + 2 * x1, A=reads("x0")),
        digits("x0", "x1", label=lambda x0, x1: x0 + 2 * x1),
        3.3,
    ),
    "spread over two nodes": Oracle(
        network(lambda A, B: A + B, A=lambda x0: 2 * x0, B=lambda x0: 3 * x0),
        ONE_TERM,
        digits("x0", label=lambda x0: 5 * x0),
        9.9,
    ),
    "spread over two nodes, the column passed on to both": Oracle(
        network(lambda A, B: A + B, A=lambda x0: 2 * x0, B=lambda x0: 3 * x0),
        claim(lambda A, x0: x0, A=reads("x0")),
        digits("x0", label=lambda x0: 5 * x0),
        0,
    ),
    "large deviation": Oracle(
        network(lambda A, B: A + B, A=lambda x0, x1: 2 * x0 + x1, B=lambda x1: 3 * x1), OF_THE_LABEL, TWO_AND_THREE, 4.5
    ),
    "tiny deviation": Oracle(
        network(lambda A, B: A + B, A=lambda x0, x1: 2 * x0 + 0.001 * x1, B=lambda x1: 3 * x1),
        OF_THE_LABEL,
        TWO_AND_THREE,
        0.0045,
    ),
    "cancelling intermediates": Oracle(
        network(lambda A, B: A + B, A=lambda x0, x2: x0 + x2, B=lambda x1, x2: x1 - x2),
        claim(lambda A, B, x0, x1: x0 + x1, A=reads("x0"), B=reads("x1")),
        digits("x0", "x1", "x2", label=lambda x0, x1, x2: x0 + x1),
        3.3,
    ),
    "swapped": Oracle(
        network(lambda A, B: A + B, A=lambda x0, x1: 2 * x0 + x1, B=lambda x0, x1: x0 + 2 * x1),
        claim(lambda A, B, x0, x1: 2 * x0 + 3 * x1, A=lambda x0, x1: x0 + 2 * x1, B=lambda x0, x1: x0 + x1),
        digits("x0", "x1", label=lambda x0, x1: 3 * x0 + 3 * x1),
        14718443 / 3780000,
    ),
    "unspecified node": Oracle(SUM, ONE_TERM, TWO_AND_THREE, 9.9),
    "unspecified node, paired with itself": Oracle(SUM, ONE_TERM, TWO_AND_THREE, 0, {"others": torch.arange(100)}),
    "correlated data": Oracle(network(lambda x0, x1: x0 + x1), claim(lambda x0: x0), PAIRS, 6.6),
}


# -- small graphs

Z1, Z2, Z3 = grid(10, 10, 10)
DIGITS = dict(z1=Z1, z2=Z2, z3=Z3, y=(Z1 > 3) | (Z2 > 3))
OR_CLAIM = Graph(A=lambda z1: z1 > 3, B=lambda z2: z2 > 3, D=lambda A, B: A | B, loss=reads("D", "y"))


def or_network(threshold: int) -> Graph:
    return Graph(
        A=lambda z1: z1 > threshold, B=lambda z2: z2 > 3, D=lambda A, B: A | B, loss=lambda D, y: (D != y).double()
    )


RIGHT_OR = Oracle(or_network(3), OR_CLAIM, DIGITS, 0)
WRONG_OR = Oracle(or_network(4), OR_CLAIM, DIGITS, 1 / 25)

TWO_TERMS = Graph(a=lambda x1: 2 * x1, b=lambda x2: 3 * x2, loss=lambda a, b, y: (a + b - y) ** 2)
X1, X2 = grid(4, 3)
INDEPENDENT = table(x1=X1, x2=X2, y=2 * X1 + 3 * X2)
# x1 + x2 in one node: claiming x1 leaves 12 of the 22 that claiming nothing leaves (O3).
ONE_NODE = Hypothesis(
    Graph(f=lambda x1, x2: 2 * x1 + 3 * x2, loss=lambda f, y: (f - y) ** 2), Graph(f=reads("x1"), loss=reads("f", "y"))
)
KEEP_X1 = Oracle(TWO_TERMS, Graph(loss=reads("a", "y"), a=reads("x1")), INDEPENDENT, 12)

PLAIN_SUM = Graph(a=lambda x1: 1 * x1, b=lambda x2: 1 * x2, loss=lambda a, b, y: (a + b - y) ** 2)
FOUR_ROWS = table(x1=[0, 1, 2, 3], x2=[0, 1, 2, 0], y=[0, 2, 4, 3])
NOTHING = Graph(loss=reads("y"))

TREEIFIED = Oracle(
    Graph(A=lambda x: 1 * x, B=lambda A: 1 * A, C=lambda A: 1 * A, loss=lambda B, C: (B - C) ** 2),
    Graph(A=lambda x: x % 2, B=reads("A"), C=reads("A"), loss=reads("B", "C")),
    table(x=[0, 1, 2, 3]),
    2,
)

BIT = table(x=[0, 1])
ONE_XOR = Graph(P=lambda x: 1 * x, Q=lambda x: 1 * x, f=lambda P, Q: (P - Q).abs(), loss=lambda f: 1 * f)
TWO_CLAIMED = Graph(
    P=lambda x: 1 * x, Q=lambda x: 1 * x, N1=lambda P: 1 * P, N2=lambda Q: 1 * Q, loss=lambda N1, N2: (N1 - N2).abs()
)
NO_INPUT_MATTERS = Graph(f=reads(), loss=reads("f"))
NEITHER_INPUT_MATTERS = Graph(N1=reads(), N2=reads(), loss=reads("N1", "N2"))

BY_POSITION = Graph(
    h=Node(lambda tokens: 1 * tokens, ("tokens",), position_axis=1), loss=lambda h: (h[:, 0] - h[:, 1]) ** 2
)
SEQUENCES = table(tokens=[[0, 0], [1, 1]])

LEAF = Oracle(
    Graph(h=lambda x: 1 * x, A=lambda h: 1 * h, loss=lambda A, y: (A - y).abs()),
    Graph(A=reads("x"), loss=reads("A", "y")),
    table(x=[0, 1], y=[0, 1]),
    0,
)

SMALL = {
    "O1, or": RIGHT_OR,
    "O1', or with a wrong threshold": WRONG_OR,
    "O3, nothing claimed": Oracle(TWO_TERMS, NOTHING, INDEPENDENT, 22),
    "O3, x1 kept": KEEP_X1,
    "O3, x2 kept": Oracle(TWO_TERMS, Graph(loss=reads("b", "y"), b=reads("x2")), INDEPENDENT, 10),
    "O3, x1 kept and x2 through a feature": Oracle(
        TWO_TERMS, Graph(loss=reads("a", "b", "y"), a=reads("x1"), b=lambda x2: x2 > 0), INDEPENDENT, 3
    ),
    "O4, node": Oracle(PLAIN_SUM, NOTHING, FOUR_ROWS, 35 / 8),
    "O4, reference": Oracle(PLAIN_SUM, NOTHING, FOUR_ROWS, 35 / 8, {"others": "reference"}),
    "O4, input": Oracle(PLAIN_SUM, NOTHING, FOUR_ROWS, 33 / 8, {"others": "input"}),
    "O4, mean": Oracle(PLAIN_SUM, NOTHING, FOUR_ROWS, 35 / 16, {"unclaimed": "mean"}),
    "O4, exclude_self": Oracle(PLAIN_SUM, NOTHING, FOUR_ROWS, 35 / 6, {"exclude_self": True}),
    "O7, treeified": TREEIFIED,
    "O8a, node": Oracle(ONE_XOR, NO_INPUT_MATTERS, BIT, 0),
    "O8a, input": Oracle(ONE_XOR, NO_INPUT_MATTERS, BIT, 1 / 2, {"others": "input"}),
    "O8b, node": Oracle(TWO_CLAIMED, NEITHER_INPUT_MATTERS, BIT, 1 / 2),
    "O8b, reference": Oracle(TWO_CLAIMED, NEITHER_INPUT_MATTERS, BIT, 0, {"others": "reference"}),
    "O8b, input": Oracle(TWO_CLAIMED, NEITHER_INPUT_MATTERS, BIT, 1 / 2, {"others": "input"}),
    "O10, one donor": Oracle(BY_POSITION, Graph(h=lambda tokens: 0 * tokens, loss=reads("h")), SEQUENCES, 0),
    "O10, a donor per position": Oracle(
        BY_POSITION, Graph(h=per_position(lambda tokens: 0 * tokens), loss=reads("h")), SEQUENCES, 1 / 2
    ),
    "O10, agreeing on the token": Oracle(
        BY_POSITION, Graph(h=per_position(reads("tokens")), loss=reads("h")), SEQUENCES, 0
    ),
    "O21, a leaf claims all paths": LEAF,
}


TINY_DATA = {"x": [0.0, 1.0, 2.0, 3.0], "y": [0.0, 1.0, 2.0, 3.0]}
TINY = Hypothesis(
    Graph(h=lambda x: 1 * x, loss=lambda h, y: (h - y).abs()), Graph(h=lambda x: x % 2, loss=reads("h", "y"))
)


# -- a chain of two claims, with its loss written out

CHAIN = Graph(
    a=lambda x, z: x + 2 * z,
    b=lambda a, z: a * (1 + z),
    loss=lambda b, a, y: (b - 3 * a + y).abs(),
)
CHAIN_CLAIMS = Graph(a=lambda x: x % 2, b=lambda a, x: x // 2, loss=reads("b", "a", "y"))
CHAIN_ROWS = {
    "x": torch.tensor([0, 1, 2, 3, 1, 2]),
    "z": torch.tensor([0, 1, 1, 0, 2, 1]),
    "y": torch.tensor([0, 1, 4, 9, 1, 4]),
}


X, Z, Y = (CHAIN_ROWS[name].tolist() for name in "xzy")


def chain_loss(rows: dict[str, int], reference: int) -> float:
    """CHAIN's loss where the named streams have these rows; all that is not named follows its reader's datum."""

    def a(path: str, own: int) -> int:
        d = rows.get(path, own)
        return X[d] + 2 * Z[rows.get(f"{path}/other", d)]

    b = rows.get("loss/b", reference)
    value = a("loss/b/a", b) * (1 + Z[rows.get("loss/b/other", b)])
    return abs(value - 3 * a("loss/a", reference) + Y[reference])
