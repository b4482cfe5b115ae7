"""What the network does without what a hypothesis claims: the complement, and whether it still knows anything."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from rich.console import RenderableType

from scrubbing.errors import DataError, HypothesisError
from scrubbing.errors.arguments import checked
from scrubbing.experiments.arguments import baseline_of
from scrubbing.experiments.random_circuits import claimed_edges, forced_edges
from scrubbing.experiments.scoring import Baseline, Data, Settings, scrub
from scrubbing.graph import Graph, reads
from scrubbing.graph.data import as_array, as_columns, at_least_one, seed_number
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Score, percentage
from scrubbing.score.statistics.independence import hsic
from scrubbing.score.tables import Printed, titled

if TYPE_CHECKING:
    from scrubbing.graph.nodes import Node

MOST_PERMUTATIONS = 100_000


@dataclass(frozen=True, eq=False, repr=False)
class Complement(Printed):
    """A hypothesis and its complement on common references: is all that the network knows in what is claimed?

    `p_value` tests that the complement's losses are independent of the network's, reference by reference; `hsic` is
    the statistic. A small p-value says that the complement still knows something of what the network does.
    """

    score: Score
    complement: Score
    hsic: float
    p_value: float

    def __rich__(self) -> RenderableType:
        rows = [(name, percentage(s).replace(" recovered", ""), f"{s.scrubbed:.4g}") for name, s in self._scores]
        said = "are not independent of" if self.p_value <= 0.05 else "are not shown to depend on"
        notes = [f"the complement's losses {said} the network's: HSIC {self.hsic:.2g}, p = {self.p_value:.3g}"]
        return titled("the hypothesis, and all but what it claims", ["", "recovered", "loss"], rows, notes)

    @property
    def _scores(self) -> list[tuple[str, Score]]:
        return [("the hypothesis", self.score), ("its complement", self.complement)]


@checked
def complement(hypothesis: Hypothesis) -> Hypothesis:
    """The claim that all edges matter but those that a hypothesis claims.

    Edges that every path takes (the output's only input) stay claimed, and so do labels.

    >>> from scrubbing import Graph, circuit
    >>> G = Graph(
    ...     a=lambda x: x,
    ...     b=lambda x: 2 * x,
    ...     out=lambda a, b: a + b,
    ...     loss=lambda out, y: abs(out - y),
    ... )
    >>> complement(circuit(G, "a")).I
    Graph of 3 nodes, output 'loss', columns x, y
      b(x)
      out(b)
      loss(out, y)

    Raises `HypothesisError` where the hypothesis claims every edge.

    Source: Shi et al. 2024, Hypothesis testing the circuit hypothesis in LLMs.
    """
    h, G = hypothesis, hypothesis.G
    open_ = claimed_edges(h) - forced_edges(G)
    if not open_:
        raise HypothesisError("the hypothesis claims no edge that could be left out: its complement is the network")
    labels = {i for i in G[G.output].inputs if i not in G} & set(h.I[h.I.output].inputs)
    claims: dict[str, Node] = {}
    waiting = [G.output]
    while waiting:
        name = waiting.pop()
        if name not in claims:
            read = [i for i in G[name].inputs if (name, i) not in open_]
            if name == G.output:
                read = [i for i in read if i in G or i in labels]
            claims[name] = reads(*read)
            waiting += [i for i in read if i in G]
    if not any(i in G for name in claims for i in claims[name].inputs if (name, i) not in forced_edges(G)):
        raise HypothesisError("the hypothesis claims every edge: nothing is left for a complement")
    return Hypothesis(G, Graph({name: claims[name] for name in G.order if name in claims}), scramble=h.scramble)


@checked
def complement_controls(
    hypothesis: Hypothesis,
    data: Data,
    *,
    baseline: Baseline,
    within: Any = None,
    permutations: int = 999,
    **settings: Unpack[Settings],
) -> Complement:
    """Score a hypothesis and its complement, and test whether the complement's losses are independent of the network's.

    A loss is of a prediction and a label, and the label is in both: labels that are hard for everybody make losses
    depend on each other. `within` has a column, or a value for each row, such as the label: losses are then compared
    between rows of one value. Rows of one group (`groups=`) are one observation, the mean of theirs.

    >>> from hypotheses import toy
    >>> case = toy.case("an or of thresholds")
    >>> found = complement_controls(case.hypothesis, case.data, baseline=case.baseline, within="y")
    >>> found.complement.recovered < 0.1, found.p_value > 0.05
    (True, True)

    Raises `HypothesisError` where the hypothesis claims every edge, `DataError` for values that are not one per row.

    Source: Shi et al. 2024, Hypothesis testing the circuit hypothesis in LLMs: the independence test.
    """
    at_least_one("permutations", permutations, below=MOST_PERMUTATIONS)
    columns = as_columns(data)
    named = {"the hypothesis": hypothesis, "its complement": complement(hypothesis)}
    scores = scrub(named, columns, baseline=baseline_of(hypothesis, baseline), **settings)
    own, other = scores["the hypothesis"], scores["its complement"]
    unit = np.unique(own.design.unit, return_inverse=True)[1]
    losses = [_by_unit(unit, np.array(held)) for held in (own.by_reference.original, other.by_reference.scrubbed)]
    groups = None
    if within is not None:
        groups = _of_unit(unit, _numbers(within, columns)[np.array(own.by_reference.reference)])
    statistic, p = hsic(*losses, within=groups, permutations=permutations, seed=seed_number(settings.get("seed", 0)))
    return Complement(own, other, statistic, p)


def _by_unit(unit: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.bincount(unit, values) / np.bincount(unit)


def _of_unit(unit: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The number that all rows of a unit have."""
    first = numbers[np.unique(unit, return_index=True)[1]]
    if (first[unit] != numbers).any():
        raise DataError("within must hold the same value for all rows of a group, which is one observation")
    return first


def _numbers(within: Any, columns: Any) -> np.ndarray:
    """A number for each row's value."""
    if isinstance(within, str) and within not in columns:
        raise DataError(f"within={within!r}: the data have no such column")
    found = as_array("within", columns[within] if isinstance(within, str) else within)
    rows = len(next(iter(columns.values())))
    if found.shape != (rows,):
        raise DataError(f"within must hold one value for each of the {rows:,} rows, and has shape {list(found.shape)}")
    return np.unique(found, return_inverse=True)[1].reshape(-1)
