"""What makes a circuit good: faithfulness, completeness, minimality.

Source: Wang et al. 2022, Interpretability in the Wild, section 4.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Any, Unpack

import numpy as np

from scrubbing.engine.checks import check_networks
from scrubbing.errors import GraphError, HypothesisError
from scrubbing.errors.arguments import check, checked
from scrubbing.experiments.circuits import kept
from scrubbing.experiments.instead import Instead
from scrubbing.experiments.judged import Criteria, Row
from scrubbing.experiments.knockouts import EVERYTHING, NOTHING, Kept, Knockouts, PerReference, Places
from scrubbing.experiments.measures import refuse_settings
from scrubbing.experiments.places import Names, Place, named, places
from scrubbing.experiments.preparation import Options, Settings, prepare, refuse_engine
from scrubbing.graph import Graph
from scrubbing.graph.data import Data, whole_number
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score.statistics import Column, Design, interval_of_mean

FEW = 5  # places of a circuit, of which all sets are tried

Classes = Annotated[
    Mapping[str, str | Sequence[str]], 'a dict from names to places of the circuit, {"movers": "a9_h9"}'
]


@checked
def criteria(
    G: Graph,
    circuit: Names,
    data: Data,
    *,
    among: Names,
    instead: Any = "mean",
    classes: Classes | None = None,
    random: int = 10,
    greedy: tuple[int, int] = (5, 10),
    **settings: Unpack[Settings],
) -> Criteria:
    """Faithfulness, completeness and minimality of a circuit, by knocking out what is outside of it.

    - `circuit`: nodes, or nodes at the positions of a role: "a9.9@END" is head 9.9 where the column `END` says
    - `among`: the nodes that are knocked out where the circuit has them not. In Wang et al. these are all heads, and
      MLPs are computed again
    - `instead`: what stands in their place, as in `measure`: `mean(by="template", over="abc")`, "zero", `donor(rows)`
    - `classes`: parts of the circuit by name, in the order of their importance. Completeness takes each of them out.
      Minimality takes out each other class; the rest of a place's own class, and those of it that are named before the
      place, each alone and with all classes that are named before its own
    - `random`: how many random sets K, and how many random circuits with as many places at each role
    - `greedy`: steps of the search for the set that shows most incompleteness, and places that each step tries

    All sets K are tried where the circuit has five places or fewer. The output of G is what F is the mean of; all
    numbers are in its units. Of the settings of `scrub`, `references`, `seed`, `memory`, `groups` and `estimand` mean
    what they mean there.

    >>> import torch
    >>> from scrubbing import Graph, criteria
    >>> G = Graph(
    ...     a=lambda x: x,
    ...     backup=lambda a, x: x * (a == 0),
    ...     idle=lambda x: 0 * x,
    ...     out=lambda a, backup, idle: a + backup + idle,
    ... )
    >>> data, heads = {"x": torch.ones(4)}, "a backup idle"
    >>> found = criteria(G, "a", data, among=heads, instead="zero")
    >>> found.faithfulness[0].value, max(row.value for row in found.completeness)  # faithful, and not complete
    (0.0, 1.0)
    >>> [row.value for row in criteria(G, "a backup", data, among=heads, instead="zero").minimality]
    [1.0, 1.0]

    Raises `GraphError` for names that are no nodes, `HypothesisError` for a circuit of nodes that are not `among` those
    knocked out and for classes that are not of the circuit, and what `measure` raises.

    Source: Wang et al. 2022, Interpretability in the Wild, section 4.
    """
    refuse_settings(settings, "criteria")
    check("instead", instead, Instead)
    options = Options.of(settings)
    refuse_engine(options, "criteria")
    chosen, those = places(G, circuit), named(G, among)
    _refuse_outside(chosen, those)
    inside = {name: _in_order(G, of) for name, of in (classes or {}).items()}
    _refuse_other_classes(inside, chosen)
    known = Hypothesis(G, Graph(kept(G, G.output)))
    prepared = prepare(known, data, known, options)
    if options.check:
        check_networks([G], prepared.planner, prepared.evaluator.interpreter)
    counts = whole_number("random", random), tuple(whole_number("greedy", number) for number in greedy)
    F = Knockouts(G, prepared, those, instead)
    design = prepared.population.design(prepared.sample.references)
    return _Judged(F, chosen, inside, *counts, prepared.sample.seed, design).criteria()


@dataclass(frozen=True)
class _Judged:
    """A circuit that is judged."""

    F: Knockouts
    circuit: tuple[Place, ...]
    classes: Mapping[str, tuple[Place, ...]]
    random: int
    greedy: tuple[int, ...]  # steps, and candidates for each
    seed: int
    design: Design

    def criteria(self) -> Criteria:
        """All of them."""
        C, circuits = Kept(frozenset(self.circuit)), self.random_circuits()
        sets, shows = self.sets(), {place: self.sets_for(place) for place in self.circuit}
        first = [EVERYTHING, NOTHING, C, *map(Kept, circuits)]
        first += [X.without(K) for K in sets.values() for X in (C, EVERYTHING)]
        first += [C.without(K | gone) for place, of in shows.items() for K in of for gone in ({place}, set[Place]())]
        self.F.measure(first)
        sets |= self._greedy_set()
        whole, alone, F = self.F(EVERYTHING), self.F(C), self.F
        drawn = [F(Kept(some)) for some in circuits]
        performance = [
            self.row("F", "the whole network", whole, size=False),
            self.row("F", "the circuit", alone, size=False),
            self.row("F", "nothing", F(NOTHING), size=False),
        ]
        faithfulness = [self.row("faithfulness", "the circuit", whole - alone)]
        if drawn:
            name = f"{len(drawn)} random circuits of its size"
            gaps = [np.sign((whole - some).mean()) * (whole - some) for some in drawn]
            performance.append(self.row("F", name, np.mean(drawn, axis=0), size=False))
            faithfulness.append(self.row("faithfulness", name, np.mean(gaps, axis=0)))
        completeness = [self.row("completeness", f"without {name}", self.gap(K), K) for name, K in sets.items()]
        return Criteria(
            F, self.circuit, tuple(performance), tuple(faithfulness), tuple(completeness), tuple(self.needed(shows))
        )

    def row(
        self,
        criterion: str,
        name: str,
        values: PerReference,
        removed: Iterable[Place] = (),
        place: Place | None = None,
        *,
        size: bool = True,
    ) -> Row:
        """A mean over references with its interval; with `size`, of its absolute value."""
        value = float(values.mean())
        low, high = interval_of_mean(Column(values), design=self.design) or (np.nan, np.nan)
        if size:
            crosses = low < 0 < high
            low, high = (-high, -low) if value < 0 else (low, high)
            value, low = abs(value), 0.0 if crosses else low
        gone = tuple(at for at in self.circuit if at in set(removed))
        return Row(criterion, name, gone, place, value, float(low), float(high), values)

    # -- completeness

    def gap(self, K: Places) -> PerReference:
        """F(C without K) less F(M without K), of each reference."""
        return self.F(Kept(frozenset(self.circuit)).without(K)) - self.F(EVERYTHING.without(K))

    def sets(self) -> dict[str, Places]:
        """The sets K of a circuit's places by which completeness is judged, but for the greedy one."""
        members, draw = self.circuit, np.random.default_rng([self.seed, 4])
        found = {name: frozenset(of) for name, of in self.classes.items()}
        if len(members) <= FEW:
            every = [K for size in range(1, len(members) + 1) for K in combinations(members, size)]
            return found | {" ".join(map(str, K)): frozenset(K) for K in every}
        for number in range(1, self.random + 1):
            taken = draw.random(len(members)) < 0.5
            found[f"random set {number}"] = frozenset(m for m, take in zip(members, taken, strict=True) if take)
        return {name: K for name, K in found.items() if K}

    def _greedy_set(self) -> dict[str, Places]:
        """The set that a greedy search finds: of some candidates, the place that makes the gap largest, one by one."""
        draw, chosen = np.random.default_rng([self.seed, 5]), frozenset[Place]()
        steps, candidates = self.greedy
        for _ in range(min(steps, len(self.circuit)) if len(self.circuit) > FEW else 0):
            left = [place for place in self.circuit if place not in chosen]
            tried = [left[i] for i in draw.choice(len(left), min(candidates, len(left)), replace=False)]
            C = Kept(frozenset(self.circuit))
            self.F.measure(X.without(chosen | {place}) for place in tried for X in (C, EVERYTHING))
            best = max(tried, key=lambda place: abs(self.gap(chosen | {place}).mean()))
            if abs(self.gap(chosen | {best}).mean()) <= abs(self.gap(chosen).mean()):
                break
            chosen |= {best}
        return {"the greedy set": chosen} if chosen else {}

    def random_circuits(self) -> list[Places]:
        """Circuits of any of the nodes: as many at each role as the circuit has there."""
        draw, roles = np.random.default_rng([self.seed, 3]), [place.role for place in self.circuit]
        among = self.F.among
        return [
            frozenset(
                Place(among[int(number)], role)
                for role in dict.fromkeys(roles)
                for number in draw.choice(len(among), roles.count(role), replace=False)
            )
            for _ in range(self.random)
        ]

    # -- minimality

    def needed(self, shows: Mapping[Place, Sequence[Places]]) -> Iterator[Row]:
        """For each place the set K that shows it best."""
        C = Kept(frozenset(self.circuit))
        for place, sets in shows.items():
            change = {K: self.F(C.without(K | {place})) - self.F(C.without(K)) for K in sets}
            K = max(change, key=lambda K: abs(change[K].mean()))
            yield self.row("minimality", str(place), change[K], K, place)

    def sets_for(self, place: Place) -> list[Places]:
        """The sets K that may show what a place does; of a circuit of few places all sets."""
        others = [other for other in self.circuit if other != place]
        if len(self.circuit) <= FEW:
            return [frozenset(K) for size in range(len(others) + 1) for K in combinations(others, size)]
        found, earlier = [frozenset[Place]()], frozenset[Place]()
        for of in self.classes.values():
            rest = frozenset(of) - {place}
            found.append(rest)
            if place in of:
                before = frozenset(of[: of.index(place)])
                found += [before, earlier | rest, earlier | before]
            earlier |= rest
        return list(dict.fromkeys([*found, frozenset(others)]))


def _in_order(G: Graph, names: str | Sequence[str]) -> tuple[Place, ...]:
    """Places as they were named."""
    words = [word for given in ([names] if isinstance(names, str) else names) for word in given.split()]
    return tuple(dict.fromkeys(place for word in words for place in places(G, word)))


def _refuse_outside(circuit: Sequence[Place], among: Sequence[str]) -> None:
    if not circuit:
        raise HypothesisError("the circuit names no node; name at least one")
    for place in circuit:
        if place.node not in among:
            raise HypothesisError(
                f"{str(place)!r} of the circuit is not among the nodes that are knocked out; name it in among=, "
                f"or leave it out: what is not among them is always kept"
            )
        if place.role and Place(place.node) in circuit:
            raise HypothesisError(f"the circuit has {place.node!r} everywhere, and {str(place)!r} beside it; name one")


def _refuse_other_classes(classes: Mapping[str, Sequence[Place]], circuit: Sequence[Place]) -> None:
    for name, of in classes.items():
        for place in of:
            if place not in circuit:
                raise GraphError(f"{str(place)!r} of the class {name!r} is not in the circuit")
