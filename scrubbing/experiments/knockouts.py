"""What a network does where nodes are knocked out, everywhere or at the positions of roles: F of Wang et al."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from scrubbing.engine.expressions import Expression
from scrubbing.experiments.instead import Plain, at, intervened, plain_run
from scrubbing.experiments.places import Place
from scrubbing.experiments.preparation import Prepared, check_finite
from scrubbing.graph import Graph

PerReference = Float[np.ndarray, " reference"]
Places = frozenset[Place]

AT_ONCE = 64  # sets that are computed in one pass over the references


@dataclass(frozen=True)
class Kept:
    """What is not knocked out: some places, or with `others` all but these."""

    places: Places = frozenset()
    others: bool = False

    def without(self, removed: Iterable[Place]) -> "Kept":
        """The same less some places."""
        gone = frozenset(removed)
        return Kept(self.places | gone, True) if self.others else Kept(self.places - gone)


NOTHING, EVERYTHING = Kept(), Kept(others=True)


@dataclass(frozen=True, eq=False)
class Knockouts:
    """A network on its data in which nodes can be knocked out. What was measured is remembered.

    `among` are the nodes that may be, `instead` is what `measure` puts in their place.
    """

    G: Graph
    prepared: Prepared
    among: Sequence[str]
    instead: Any
    _known: dict[Kept, PerReference] = field(default_factory=dict, repr=False)

    @cached_property
    def _plain(self) -> Plain:
        return plain_run(self.G, self.prepared)

    def __call__(self, kept: Kept) -> PerReference:
        """F: the output of each reference where only this is kept, `[reference]`."""
        self.measure([kept])
        return self._known[kept]

    def measure(self, sets: Iterable[Kept]) -> None:
        """Compute F of several sets together: they share what they do not change."""
        new = [kept for kept in dict.fromkeys(sets) if kept not in self._known]
        for start in range(0, len(new), AT_ONCE):
            some = new[start : start + AT_ONCE]
            roots: list[Expression] = [
                intervened("instead", self.G, self.interventions(kept), self.prepared, self._plain).output
                for kept in some
            ]
            distinct = list(dict.fromkeys(roots))
            found = dict(zip(distinct, self.prepared.evaluator.losses(distinct), strict=True))
            for kept, root in zip(some, roots, strict=True):
                values = found[root].double().numpy()
                check_finite("the output where nodes are knocked out", values, self.prepared.sample)
                self._known[kept] = values

    def interventions(self, kept: Kept) -> Mapping[str, Any]:
        """What stands in the place of each node that is knocked out, anywhere."""
        roles: dict[str, list[str]] = {}
        for place in sorted(kept.places):
            roles.setdefault(place.node, []).append(place.role)
        if kept.others:
            return {
                node: at(of, self.instead) if all(of) else self.instead for node, of in roles.items()
            }  # a place without a role is all of the node
        found = {node: at(of, self.instead, elsewhere=True) for node, of in roles.items() if all(of)}
        return found | {node: self.instead for node in self.among if node not in roles}
