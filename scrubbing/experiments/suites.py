"""A named set of experiments that are scored together: what a module of `hypotheses` hands to the command line."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from scrubbing.engine.cost import Cost
from scrubbing.errors import HypothesisError, nearest
from scrubbing.experiments.scoring import Case, explain, scrub
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Score


@dataclass(frozen=True)
class Suite:
    """Experiments on one network and dataset, each named "rung/inputs", for example "naive/Q".

    All cases have the data, baseline and settings of the first. `about` says what was measured (model, data, hashes),
    `published` has percentages to compare with, by name, and `notes` are lines for the reader.

    >>> from hypotheses import toy
    >>> suite = toy.suite()
    >>> suite.only(["an exclusive or"]).score(references=100)["an exclusive or"].references
    100

    `scrubbing score NAME` finds the module of a suite by an entry point of the group "scrubbing.hypotheses".
    """

    title: str
    cases: tuple[Case, ...]
    about: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, int | float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def only(self, wanted: Iterable[str]) -> "Suite":
        """The experiments named: a whole rung ("naive") or one of them ("naive/Q"); all of them if none is named.

        Raises `HypothesisError` for a name that fits nothing, with the nearest that does.
        """
        wanted = list(wanted)
        rungs = dict.fromkeys(_rung(case) for case in self.cases)
        names = {case.name for case in self.cases}
        for name in wanted:
            if name not in rungs and name not in names:
                known = [*rungs, *sorted(names)]
                hint = nearest(name, known) or f"; there are {', '.join(rungs)}"
                raise HypothesisError(f"there is no experiment {name!r} in {self.title}{hint}")
        if not wanted:
            return self
        return replace(self, cases=tuple(c for c in self.cases if c.name in wanted or _rung(c) in wanted))

    def score(self, progress: bool | Callable[[int, int], None] | None = None, **settings: Any) -> dict[str, Score]:
        """Score all experiments in one run of `scrub`, by name; `settings` are options of `scrub`.

        Raises what `scrub` raises.
        """
        first = self.cases[0]
        settings = {**first.settings, **settings}
        return scrub(self.hypotheses, first.data, baseline=first.baseline, progress=progress, **settings)

    def cost(self, **settings: Any) -> Cost:
        """Count what `score` would take with these settings: `explain`."""
        first = self.cases[0]
        return explain(self.hypotheses, first.data, baseline=first.baseline, **{**first.settings, **settings})

    @property
    def hypotheses(self) -> dict[str, Hypothesis]:
        """The hypotheses by name."""
        return {case.name: case.hypothesis for case in self.cases}


def _rung(case: Case) -> str:
    return case.name.split("/")[0]
