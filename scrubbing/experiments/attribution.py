"""Which claim loses how much: the loss that scrubbing adds, shared out among what is scrubbed.

What scrubbing replaces is switched off and on. Off, a node runs on its reader's own datum: a claim of a feature keeps
its reader's datum in place of one that agrees, and what a node leaves unclaimed is computed on the node's own datum in
place of a donor's. With everything off the network runs on the reference; with everything on it is scrubbed.
"""

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Unpack

import numpy as np
from jaxtyping import Float
from rich.console import RenderableType
from rich.text import Text

from scrubbing.engine.policy import Policy
from scrubbing.engine.rules import rules
from scrubbing.errors import HypothesisError, ScrubbingWarning
from scrubbing.errors.arguments import checked
from scrubbing.experiments.arguments import baseline_of
from scrubbing.experiments.preparation import Options, policy_of
from scrubbing.experiments.scoring import Baseline, Data, Settings, scrub
from scrubbing.experiments.shapley import Orders, shapley_value
from scrubbing.graph import Graph
from scrubbing.graph.data import as_columns, at_least_one, seed_number
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Metric, Score, mean_metric
from scrubbing.score.tables import Printed, decimals_for, estimate, fixed, titled

if TYPE_CHECKING:
    import pandas as pd

MOST_COALITIONS = 4096
PERCENT = "percent are of the loss that there is to recover"

LossByReference = Float[np.ndarray, " reference"]
Coalition = frozenset["Part"]


@dataclass(frozen=True)
class Part:
    """One thing that scrubbing replaces: the donor of a claimed node, or that of inputs that it leaves unclaimed."""

    node: str
    inputs: tuple[str, ...] = ()  # of the node's image, unclaimed; none: the node's own donor
    by_input: bool = False

    @property
    def path(self) -> str:
        """Its short name, in the words of `Score.donors`: "A", "D/other", or of one input "D/x/other"."""
        if not self.inputs:
            return self.node
        return f"{self.node}/{self.inputs[0]}/other" if self.by_input else f"{self.node}/other"

    def __str__(self) -> str:
        if not self.inputs:
            return f"{self.node}: agreeing donor"
        what = self.inputs[0] if len(self.inputs) == 1 else f"{len(self.inputs)} inputs"
        return f"{self.node}: {what} unclaimed"


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(Printed):
    """The loss that each part of a hypothesis's scrubbing adds, per reference and on average.

    `alone` is what a part adds when nothing else is scrubbed, `last` what it adds when everything else is, `shapley`
    its mean addition over the orders in which parts can be switched on (None unless asked for). `interaction` is what
    all parts add together less the sum of what they add alone: 0 where losses are sums of a term per part.
    """

    score: Score
    unscrubbed: LossByReference
    alone: Mapping[Part, LossByReference]
    last: Mapping[Part, LossByReference]
    shapley: Mapping[Part, Metric] | None = None
    orders: str = ""

    @property
    def parts(self) -> tuple[Part, ...]:
        """What was switched, in the order of I."""
        return tuple(self.alone)

    @property
    def total(self) -> LossByReference:
        """What scrubbing adds to the loss of each reference."""
        return np.array(self.score.by_reference.scrubbed) - self.unscrubbed

    @property
    def interaction(self) -> LossByReference:
        """What all parts add together, less the sum of what they add alone, for each reference."""
        return self.total - sum(self.alone.values(), np.zeros(len(self.unscrubbed)))

    @property
    def effects(self) -> "pd.DataFrame":
        """A row for each part, "interaction" and "all": loss added with its 95% interval, and percent of recovery lost.

        Intervals are Student's, of the paired differences over references.
        """
        import pandas as pd

        rows = [self._row(str(part.path), self.alone[part], self.last[part], part) for part in self.parts]
        rows += [self._row("interaction", self.interaction), self._row("all", self.total)]
        return pd.DataFrame(rows)

    def _row(
        self, name: str, alone: LossByReference, last: LossByReference | None = None, part: Part | None = None
    ) -> dict[str, object]:
        row: dict[str, object] = {"part": name, **_columns("alone", mean_metric(alone))}
        row["percent"] = 100 * float(alone.mean()) / self._gap
        if part is not None and last is not None:
            row |= _columns("last", mean_metric(last))
            row |= _columns("shapley", self.shapley[part]) if self.shapley else {}
        return row

    @property
    def _gap(self) -> float:
        """What there is to recover; NaN for nothing."""
        return math.nan if self.score.recovered is None else self.score.baseline - self.score.original

    def __rich__(self) -> RenderableType:
        columns = ["what is scrubbed", "alone", "last", *(["Shapley"] if self.shapley else [])]
        everything = [self.total, self.interaction, *self.alone.values(), *self.last.values()]
        decimals = decimals_for(float(losses.mean()) for losses in everything)
        rows = [
            (
                str(part),
                self._cell(mean_metric(self.alone[part]), decimals),
                self._cell(mean_metric(self.last[part]), decimals),
                *([self._cell(self.shapley[part], decimals)] if self.shapley else []),
            )
            for part in sorted(self.parts, key=lambda part: -self.alone[part].mean())
        ]
        whole = [
            (name, self._cell(mean_metric(losses), decimals))
            for name, losses in (("interaction", self.interaction), ("all together", self.total))
        ]
        notes = [
            "alone: nothing else is scrubbed; last: everything else is; interaction: all less the sum of what each "
            "adds alone; with 95% intervals of paired differences",
            *([self.orders] if self.orders else []),
            f"loss of the network {fixed(float(self.unscrubbed.mean()), decimals)}, {len(self.unscrubbed)} references; "
            + (f"no percentages: {self.score.why_no_percentage}" if math.isnan(self._gap) else PERCENT),
        ]
        return titled("loss added by scrubbing, by what is scrubbed", columns, [*rows, None, *whole], notes)

    def _cell(self, reading: Metric, decimals: int) -> Text:
        percent = "" if math.isnan(self._gap) else f" ({fixed(100 * reading.value / self._gap, 1)}%)"
        return estimate(reading.value, reading.interval, decimals, after=percent)


@checked
def attribute_loss(
    hypothesis: Hypothesis,
    data: Data,
    *,
    baseline: Baseline,
    by_input: bool = False,
    shapley: int = 0,
    **settings: Unpack[Settings],
) -> Attribution:
    """Which claim loses how much: the loss that each part of the scrubbing adds, alone and after all others.

    One call of `scrub` (with these `settings`) scores all variants on common references and donors. A part that is
    switched on takes the donor that it takes in the whole hypothesis, as far as its reader's datum is the same. A claim
    that only says which inputs matter (`reads`) replaces nothing itself; the loss that it costs is that of what its
    node leaves unclaimed. A node that several paths reach is switched on all of them.

    `by_input` switches each unclaimed input of a node by itself (their donor stays as `others` says). `shapley` is the
    number of orders of the parts over which Shapley values are averaged (all orders, if there are no more; 0 for none).
    The result holds arrays `[reference]`, in the unit of the network's loss.

    >>> from hypotheses import toy
    >>> case = toy.case("a threshold too high")
    >>> found = attribute_loss(case.hypothesis, case.data, baseline=case.baseline, exact=True)
    >>> {part.path: f"{loss.mean():.3f}" for part, loss in found.alone.items() if loss.mean() > 1e-3}
    {'D': '0.105', 'A': '0.105'}

    Raises `HypothesisError` where nothing is scrubbed, where `shapley` asks for more combinations than can be scored,
    and whatever `scrub` raises.

    Source: Shapley, "A value for n-person games" (1953); orders are sampled as in Castro, Gomez and Tejada (2009).
    """
    if shapley:
        at_least_one("shapley", shapley)
    policy = policy_of(Options.of(settings), len(next(iter(as_columns(data).values()))))
    parts = scrubbed_parts(hypothesis, policy, by_input=by_input)
    if not parts:
        raise HypothesisError(
            "this hypothesis scrubs nothing: every claim is of whole columns, and nothing is left open"
        )
    everything = frozenset(parts)
    orders = Orders.of(parts, shapley, seed_number(settings.get("seed", 0))) if shapley else None
    wanted: dict[Coalition, None] = dict.fromkeys([everything, frozenset()])
    wanted |= dict.fromkeys(frozenset([part]) for part in parts)
    wanted |= dict.fromkeys(everything - {part} for part in parts)
    wanted |= dict.fromkeys(orders.coalitions if orders else ())
    if len(wanted) > MOST_COALITIONS:
        raise HypothesisError(
            f"{shapley} permutations of {len(parts)} parts need {len(wanted):,} combinations, and the most is "
            f"{MOST_COALITIONS:,}; ask for fewer permutations (shapley=...)"
        )
    scores = _scores(hypothesis, everything, wanted, data, baseline, settings)
    loss = {coalition: np.array(score.by_reference.scrubbed) for coalition, score in scores.items()}
    nothing = loss[frozenset()]
    return Attribution(
        score=scores[everything],
        unscrubbed=nothing,
        alone={part: loss[frozenset([part])] - nothing for part in parts},
        last={part: loss[everything] - loss[everything - {part}] for part in parts},
        shapley={part: _shapley_reading(part, orders, loss) for part in parts} if orders else None,
        orders=str(orders or ""),
    )


def scrubbed_parts(h: Hypothesis, policy: Policy | None = None, *, by_input: bool = False) -> tuple[Part, ...]:
    """What scrubbing a hypothesis replaces: donors that agree on a feature, and donors of what is left unclaimed."""
    by_name = {name: rules(h, policy or Policy(), name) for name in reversed(h.I.order)}
    swapped = {claimed.child for found in by_name.values() for claimed in found.claimed if claimed.donor != "own"}
    parts: list[Part] = []
    for name, found in by_name.items():
        if name in swapped:
            parts.append(Part(name))
        for shared in found.sharing_u(by_input=by_input):
            parts.append(Part(name, tuple(open_.input for open_ in shared), by_input))
    return tuple(parts)


def with_only(h: Hypothesis, on: Iterable[Part], parts: Iterable[Part]) -> Hypothesis:
    """The hypothesis with all parts of its scrubbing switched off but those in `on`."""
    nodes = dict(h.I)
    for part in set(parts) - set(on):
        node = nodes[part.node]
        nodes[part.node] = (
            replace(node, keeps=node.keeps.union(part.inputs)) if part.inputs else replace(node, swaps=False)
        )
    return replace(h, I=Graph(nodes))


def _scores(
    h: Hypothesis,
    everything: Coalition,
    wanted: Iterable[Coalition],
    data: Data,
    baseline: Baseline,
    settings: Settings,
) -> dict[Coalition, Score]:
    """The hypothesis with each of the combinations switched on, scored in one run."""
    baseline = baseline_of(h, baseline)
    variants = {on: h if on == everything else with_only(h, on, everything) for on in wanted}
    named = {"the hypothesis" if on == everything else f"variant {i}": v for i, (on, v) in enumerate(variants.items())}
    with warnings.catch_warnings():  # what is to be said of claims is said once, of the hypothesis itself
        warnings.filterwarnings("ignore", "hypothesis 'variant", ScrubbingWarning)
        scores = scrub(named, data, baseline=baseline, **settings)
    return dict(zip(variants, scores.values(), strict=True))


# -- shown


def _shapley_reading(part: Part, orders: Orders, loss: Mapping[Coalition, LossByReference]) -> Metric:
    value, interval = shapley_value(part, orders, loss)
    return Metric(value=value, interval=interval)


def _columns(name: str, reading: Metric) -> dict[str, float]:
    low, high = reading.interval or (math.nan, math.nan)
    return {name: reading.value, f"{name}_low": low, f"{name}_high": high}
