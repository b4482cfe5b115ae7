"""What a hypothesis of the same shape recovers by luck: random controls, and where the hypothesis stands among them."""

import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Unpack

import numpy as np
from rich.console import RenderableType

from scrubbing.engine.sampling.randomness import keyed_uniforms
from scrubbing.errors import DataError, HypothesisError, ScrubbingWarning
from scrubbing.errors.arguments import checked
from scrubbing.experiments.accuracy import wilson
from scrubbing.experiments.arguments import baseline_of, by_name
from scrubbing.experiments.random_circuits import random_circuit
from scrubbing.experiments.random_hypotheses import (
    classes_of,
    partitions_of,
    random_nodes,
    with_features,
    with_row_numbers,
)
from scrubbing.experiments.scoring import Baseline, Data, Settings, scrub
from scrubbing.graph import Node
from scrubbing.graph.data import Columns, as_columns, at_least_one, seed_number
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Score, percentage
from scrubbing.score.tables import Printed, fixed, titled

if TYPE_CHECKING:
    import pandas as pd

MOST_CONTROLS = 100_000
IN_VAIN = 100  # controls drawn one after the other, of which none is new, before these are taken to be all
MADE_IN_VAIN = 10  # the same, of those that a function of the user's makes

Controls = str | Sequence[Hypothesis] | Callable[[int], Hypothesis]
Drawn = Iterator[tuple[Hashable, Hypothesis]]  # each with a key of what it claims


@dataclass(frozen=True, eq=False, repr=False)
class RandomControls(Printed):
    """A hypothesis among random ones, by the loss that each leaves on common references and random numbers.

    The fewer controls leave as little loss, the less of what it recovers is owed to its shape alone. The hypothesis is
    never among them, and none is there twice. `asked` is how many were asked for: there may be fewer of its shape.
    """

    score: Score
    controls: tuple[Score, ...]
    kind: str
    asked: int

    @property
    def as_good(self) -> int:
        """How many controls leave no more loss than the hypothesis (ties count against it)."""
        return sum(control.scrubbed <= self.score.scrubbed for control in self.controls)

    @property
    def reach_baseline(self) -> float:
        """The share of controls that leave no more loss than the baseline: how hard it is to beat them."""
        return self._reaching / len(self.controls)

    @property
    def _reaching(self) -> int:
        return sum(control.scrubbed <= self.score.baseline for control in self.controls)

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
            f"{self._reaching} of {len(self.controls)} reach the baseline's level (the more, the harder to beat)",
            *([f"there are no more than these {len(self.controls)}"] if len(self.controls) < self.asked else []),
            percentage(self.score),
        ]
        title = f"the hypothesis among {len(self.controls)} of the same shape with {self.kind}"
        return titled(title, ["", "recovered", "loss"], [own, None, *rows], notes)


@checked
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

    `controls` are "features" (see `random_features`), "nodes" (see `random_nodes`), "circuits" of as many edges (see
    `random_circuit`), hypotheses, or a function that makes one from a seed (for a network that was rewritten around
    what is claimed: rewrite it around other heads). `count` is how many are made. `settings` are those of `scrub`; the
    controls are made with its seed. The hypothesis itself is never one of them, and no control is there twice.

    `p_value` tests that the hypothesis is no better than its controls. It holds where the hypothesis might itself have
    been drawn as one of them. How much that says depends on them: features at random often do worse than the baseline,
    while circuits keep all that their nodes know of the data. `reach_baseline` is the share that does no worse.

    >>> from hypotheses import toy
    >>> case = toy.case("an or of thresholds")
    >>> found = random_controls(case.hypothesis, case.data, baseline=case.baseline, count=19, references=50)
    >>> found.as_good, found.p_value
    (0, 0.05)

    Raises `DataError` for no controls, and `HypothesisError` where none can be made of this hypothesis.

    Source: the p-value of Phipson and Smyth, "Permutation p-values should never be zero" (2010); circuits as the null
    of Shi et al., "Hypothesis testing the circuit hypothesis in LLMs" (2024).
    """
    at_least_one("count", count, below=MOST_CONTROLS)
    columns = as_columns(data)
    if controls == "features":
        columns = with_row_numbers(columns)
    if isinstance(controls, str):
        seed = seed_number(settings.get("seed", 0))
        own, drawn = _drawn(controls, hypothesis, columns, seed)
        made, asked = _others(own, drawn, count, IN_VAIN), count
    elif callable(controls):
        drawn = ((claims_of(h), h) for h in map(controls, _seeds(seed_number(settings.get("seed", 0)))))
        made, asked = _others(claims_of(hypothesis), drawn, count, MADE_IN_VAIN), count
    else:
        given = list(controls)
        if not given:
            raise DataError("there are no controls; give at least one hypothesis")
        made, asked = _others(claims_of(hypothesis), ((claims_of(h), h) for h in given), len(given), len(given)), 0
    if not made:
        raise HypothesisError(
            "every control is the hypothesis itself: it has no other of its shape; choose other controls"
        )
    named = by_name({"the hypothesis": hypothesis, **{f"control {i}": h for i, h in enumerate(made)}})
    with warnings.catch_warnings():  # of the hypothesis itself alone
        warnings.filterwarnings("ignore", "hypothesis 'control", ScrubbingWarning)
        scores = scrub(named, columns, baseline=baseline_of(hypothesis, baseline), **settings)
    own = scores.pop("the hypothesis")
    kind = f"random {controls}" if isinstance(controls, str) else "random hypotheses"
    return RandomControls(own, tuple(scores.values()), kind, asked)


def _seeds(seed: int) -> Iterator[int]:
    """A seed for each control."""
    for i in range(MOST_CONTROLS * IN_VAIN):
        yield int(keyed_uniforms(seed, ("control",), np.array([i]))[0] * 2**53)


def _drawn(kind: str, h: Hypothesis, columns: Columns, seed: int) -> tuple[Hashable, Drawn]:
    """What the hypothesis claims, and random ones without end, each with what it claims."""
    if kind == "features":
        partitions = partitions_of(h, columns)
        made = (with_features(h, partitions, one) for one in _seeds(seed))
        return classes_of(h, partitions), ((classes_of(each, partitions), each) for each in made)
    if kind not in ("nodes", "circuits"):
        raise HypothesisError(f'controls={kind!r} is none of "features", "nodes" and "circuits"; or give hypotheses')
    draw = random_nodes if kind == "nodes" else random_circuit
    return claims_of(h), ((claims_of(each), each) for each in (draw(h, seed=one) for one in _seeds(seed)))


def _others(own: Hashable, drawn: Iterable[tuple[Hashable, Hypothesis]], count: int, in_vain: int) -> list[Hypothesis]:
    """So many that differ from the hypothesis and from each other; fewer where no new one comes for so long."""
    found: dict[Hashable, Hypothesis] = {}
    missed = 0
    for key, h in drawn:
        missed += 1
        if key != own and key not in found:
            found[key], missed = h, 0
        if len(found) == count or missed >= in_vain:
            break
    return list(found.values())


def claims_of(h: Hypothesis) -> Hashable:
    """What a hypothesis claims of its network, whatever its nodes are called.

    Two that claim the same leave the same loss.
    """
    return h.G, frozenset(
        (h.image(name), _claim(node), tuple(sorted(read) if node.is_reads else read))
        for name, node in h.I.items()
        for read in [[h.image(m) if m in h.I else m for m in node.inputs]]
    )


def _claim(node: Node) -> Hashable:
    """What a claim says, but for what it reads."""
    return replace(node, inputs=())
