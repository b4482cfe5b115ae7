"""What a hypothesis of the same shape recovers by luck: random controls, and where the hypothesis stands among them."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch
from jaxtyping import Int
from rich.console import RenderableType
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.features import Features
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.planning import Planner
from scrubbing.engine.policy import Policy
from scrubbing.engine.sampling.agreement import Classes, PositionClasses
from scrubbing.engine.sampling.randomness import keyed_uniforms
from scrubbing.engine.sampling.streams import Sample
from scrubbing.errors import DataError, HypothesisError, ScrubbingWarning
from scrubbing.experiments.accuracy import wilson
from scrubbing.experiments.arguments import baseline_of, by_name
from scrubbing.experiments.scoring import Baseline, Data, Settings, scrub
from scrubbing.graph import Graph, Node
from scrubbing.graph.data import Columns, as_columns, whole_number
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Score, percentage
from scrubbing.score.tables import fixed, rendered, titled

if TYPE_CHECKING:
    import pandas as pd

ROW = "row_number"  # the column by which a random feature tells rows apart

Controls = str | Sequence[Hypothesis] | Callable[[int], Hypothesis]
Partition = Classes | PositionClasses


@dataclass(frozen=True, eq=False)
class RandomControls:
    """A hypothesis among random ones, by the loss that each leaves on common references and random numbers.

    The fewer controls leave as little loss, the less of what it recovers is owed to its shape alone.
    """

    score: Score
    controls: tuple[Score, ...]
    kind: str
    itself: int = 0  # how many of the controls are the hypothesis itself, by chance

    @property
    def as_good(self) -> int:
        """How many controls leave no more loss than the hypothesis (ties count against it)."""
        return sum(control.scrubbed <= self.score.scrubbed for control in self.controls)

    @property
    def p_value(self) -> float:
        """(1 + as_good) / (1 + controls): never zero (Phipson and Smyth 2010)."""
        return (1 + self.as_good) / (1 + len(self.controls))

    @property
    def percentile(self) -> float:
        """The percentage of controls that the hypothesis beats."""
        return 100 * (1 - self.as_good / len(self.controls))

    @property
    def percentile_interval(self) -> tuple[float, float]:
        """The 95% interval of the percentile among all such controls, of which these are a sample (Wilson)."""
        low, high = wilson(self.percentile / 100, len(self.controls))
        return 100 * low, 100 * high

    @property
    def losses(self) -> "pd.DataFrame":
        """The hypothesis (first) and each control: scrubbed loss and fraction recovered, by the same baseline."""
        import pandas as pd

        names = ["the hypothesis", *(f"{self.kind} {i}" for i in range(len(self.controls)))]
        scores = [self.score, *self.controls]
        return pd.DataFrame(
            {"name": names, "scrubbed": [s.scrubbed for s in scores], "recovered": [self._recovered(s) for s in scores]}
        )

    def _recovered(self, score: Score) -> float:
        if self.score.recovered is None:
            return float("nan")
        return (self.score.baseline - score.scrubbed) / (self.score.baseline - self.score.original)

    def __rich__(self) -> RenderableType:
        recovered = np.array([self._recovered(control) for control in self.controls])
        losses = np.array([control.scrubbed for control in self.controls])
        points = [
            ("the best of them", 1.0),
            ("upper quartile", 0.75),
            ("median", 0.5),
            ("lower quartile", 0.25),
            ("the worst", 0.0),
        ]
        rows = [
            (name, f"{fixed(100 * float(np.quantile(recovered, q)), 1)}%", f"{float(np.quantile(losses, 1 - q)):.4g}")
            for name, q in points
        ]
        own = ("the hypothesis", f"{fixed(100 * self._recovered(self.score), 1)}%", f"{self.score.scrubbed:.4g}")
        low, high = self.percentile_interval
        notes = [
            f"{self.as_good} of {len(self.controls)} controls recover as much: percentile {self.percentile:.1f} "
            f"[{low:.1f}, {high:.1f}], p = {self.p_value:.3g}",
            *(
                [f"{self.itself} of them are the hypothesis itself: it has few others of its shape"]
                if self.itself
                else []
            ),
            percentage(self.score),
        ]
        title = f"the hypothesis among {len(self.controls)} of the same shape with {self.kind}"
        return titled(title, ["", "recovered", "loss"], [own, None, *rows], notes)

    def __str__(self) -> str:
        return rendered(self)

    __repr__ = __str__


def random_controls(
    hypothesis: Hypothesis,
    data: Data,
    *,
    baseline: Baseline,
    controls: Controls = "features",
    count: int = 99,
    **settings: Unpack[Settings],
) -> RandomControls:
    """Score a hypothesis together with random ones of its shape, and count how many of these do as well.

    `controls` are "features" (see `random_features`), "nodes" (see `random_nodes`), hypotheses, or a function that
    makes one from a seed (for a network that was rewritten around what is claimed: rewrite it around other heads).
    `count` is how many are made. `settings` are those of `scrub`; the controls are made with its seed.

    `p_value` tests that the hypothesis is no better than its controls. It holds where the hypothesis might itself have
    been drawn as one of them.

    >>> from hypotheses import toy
    >>> case = toy.case("an or of thresholds")
    >>> found = random_controls(case.hypothesis, case.data, baseline=case.baseline, count=19, references=50)
    >>> found.as_good, found.p_value
    (0, 0.05)

    Raises `DataError` for no controls, and `HypothesisError` where none can be made of this hypothesis.

    Source: the p-value of Phipson and Smyth, "Permutation p-values should never be zero" (2010).
    """
    if count < 1:
        raise DataError(f"count={count}, but at least one control is needed")
    columns = as_columns(data)
    seed = whole_number("seed", settings.get("seed", 0))
    seeds = [int(keyed_uniforms(seed, ("control",), np.array([i]))[0] * 2**53) for i in range(count)]
    if controls == "features":
        columns = with_row_numbers(columns)
        partitions = _partitions(hypothesis, columns)
        made = [_with_features(hypothesis, partitions, one) for one in seeds]
    elif controls == "nodes":
        made = [random_nodes(hypothesis, seed=one) for one in seeds]
    elif isinstance(controls, str):
        raise HypothesisError(f'controls={controls!r} is neither "features" nor "nodes"; or give hypotheses')
    else:
        made = [controls(one) for one in seeds] if callable(controls) else list(controls)
    if not made:
        raise DataError("there are no controls; give at least one hypothesis")
    named = by_name({"the hypothesis": hypothesis, **{f"control {i}": h for i, h in enumerate(made)}})
    with warnings.catch_warnings():  # of the hypothesis itself alone
        warnings.filterwarnings("ignore", "hypothesis 'control", ScrubbingWarning)
        scores = scrub(named, columns, baseline=baseline_of(hypothesis, baseline), **settings)
    own = scores.pop("the hypothesis")
    kind = f"random {controls}" if isinstance(controls, str) else "random hypotheses"
    return RandomControls(own, tuple(scores.values()), kind, itself=sum(_same(hypothesis, h) for h in made))


def _same(h: Hypothesis, other: Hypothesis) -> bool:
    return (h.G, h.I) == (other.G, other.I) and all(h.image(name) == other.image(name) for name in h.I)


# -- random features


@dataclass(frozen=True, eq=False)
class LookUp:
    """A feature that is given for each row of the dataset; its last input is the row's number."""

    values: Int[Tensor, "row *position"]

    def __call__(self, *inputs: Any) -> Int[Tensor, "row *position"]:
        return self.values.to(inputs[-1].device)[inputs[-1]]


def with_row_numbers(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data with one more column `[row]`: `row_number`, which random features read.

    >>> with_row_numbers({"x": [5, 6, 7]})["row_number"]
    tensor([0, 1, 2])

    Raises `DataError` where the data have a column of that name.
    """
    columns = dict(as_columns(data))
    if ROW in columns:
        raise DataError(f"the data have a column {ROW!r} already, which random features need for themselves: rename it")
    return columns | {ROW: torch.arange(len(next(iter(columns.values()))))}


def random_features(hypothesis: Hypothesis, data: Data, *, seed: int = 0) -> Hypothesis:
    """The hypothesis with each feature replaced by a random partition of the rows into classes of the same sizes.

    One permutation of the rows for each node deals its classes out anew (for a claim per position: one permutation for
    all positions). Which inputs are claimed stays as it is, and so does a claim that says nothing else (`reads`). The
    data need row numbers: `scrub(random_features(h, data), with_row_numbers(data), ...)`.

    >>> from hypotheses import toy
    >>> case = toy.case("an or of thresholds")
    >>> random_features(case.hypothesis, case.data, seed=1).I["A"].inputs
    ('z1', 'row_number')

    Raises `HypothesisError` for a hypothesis without a feature.
    """
    columns = dict(as_columns(data))
    return _with_features(hypothesis, _partitions(hypothesis, columns), seed)


def _partitions(h: Hypothesis, columns: Columns) -> dict[str, Partition]:
    """The classes of each node that claims a feature."""
    featured = [name for name, node in h.I.items() if name != h.I.output and not node.claims_inputs_alone]
    if not featured:
        raise HypothesisError(
            "this hypothesis claims no feature, only which inputs matter, so it has none to make random; "
            'score it among random nodes (controls="nodes"), or among hypotheses of your own'
        )
    rows = len(next(iter(columns.values())))
    planner = Planner(Policy(), Features(Interpreter(dict(columns), Sample(np.arange(1), rows))))
    return {name: planner.classes(h, name) for name in featured}


def _with_features(h: Hypothesis, partitions: Mapping[str, Partition], seed: int) -> Hypothesis:
    changes: dict[str, Node] = {}
    for name, partition in partitions.items():
        ids = (
            np.stack([c.ids for c in partition.at], axis=1) if isinstance(partition, PositionClasses) else partition.ids
        )
        order = np.argsort(keyed_uniforms(seed, ("features", name), np.arange(len(ids))))
        node = h.I[name]
        changes[name] = replace(node, fn=LookUp(torch.from_numpy(ids[order])), inputs=(*node.inputs, ROW), binning=None)
    return replace(h, I=h.I | changes, columns=(*h.columns, ROW))


# -- random nodes


def random_nodes(hypothesis: Hypothesis, *, seed: int = 0) -> Hypothesis:
    """The hypothesis about other nodes of G: each claim moves to a random node of the same kind as the one it is about.

    Nodes are of one kind if they have the same type of function (and weights of the same shapes), read the same inputs
    and have the same readers: the heads of one layer, the terms of one sum. All claims about a node move together. The
    hypothesis itself is one of those that can come out.

    >>> G = Graph(a=lambda x: x, b=lambda x: 2 * x, loss=lambda a, b, y: a + b - y)
    >>> h = Hypothesis(G, Graph(a=lambda x: x > 0, loss=lambda a, y: y))
    >>> [random_nodes(h, seed=seed).image("a") for seed in range(4)]
    ['a', 'a', 'b', 'b']

    Raises `HypothesisError` where no claim can move.
    """
    h = hypothesis
    claimed = {h.image(name) for name in h.I}
    moved: dict[str, str] = {}
    for kind in kinds(h.G):
        if len(kind) > 1 and claimed & set(kind):
            order = np.argsort(keyed_uniforms(seed, ("nodes", *kind), np.arange(len(kind))))
            moved |= zip(kind, (kind[i] for i in order), strict=True)
    if not moved:
        raise HypothesisError(
            "no claim is about a node that has another of its kind (the same function, inputs and readers), so none "
            "can move; give random hypotheses of your own (controls=...)"
        )
    return replace(h, c={name: moved.get(h.image(name), h.image(name)) for name in h.I})


def kinds(G: Graph) -> list[tuple[str, ...]]:
    """The nodes of a graph, in groups that could stand in each other's place."""
    found: dict[Any, list[str]] = {}
    for name in G.order:
        node = G[name]
        fn = (type(node.fn), _shapes(node.fn)) if isinstance(node.fn, Component) else "function"
        found.setdefault((fn, frozenset(node.inputs), G.readers(name), node.position_axis), []).append(name)
    return [tuple(names) for names in found.values()]


def _shapes(component: Component) -> tuple[Any, ...]:
    """The shapes of the tensors that a component holds, those of its parts as well."""
    held = (getattr(component, f.name) for f in fields(component))
    parts = (tuple(v.shape) if isinstance(v, Tensor) else _shapes(v) for v in held if isinstance(v, Tensor | Component))
    return tuple(parts)
