"""A named set of experiments that are scored together: what a module of `hypotheses` hands to the command line."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scrubbing.engine.cost import Cost
from scrubbing.errors import HypothesisError, nearest
from scrubbing.errors.arguments import check_fields
from scrubbing.experiments.parts import identity_of, scrub_part
from scrubbing.experiments.progress import ShowProgress
from scrubbing.experiments.scoring import Case, explain, scrub
from scrubbing.graph import Graph
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Score
from scrubbing.store.identity import Identity
from scrubbing.store.parts import PartialRun

Rows = Sequence[Mapping[str, Any]]  # of a table


@dataclass(frozen=True)
class Measurement:
    """A table that a study measures apart from its hypotheses: a figure of the text.

    `make` gets what shows its progress, and returns one dict for each row. `plot` makes a chart of Altair of the table
    as a DataFrame. With `on_request` it is made only when it is named: one that takes long. `about` says in a line what
    it shows, with its units.
    """

    make: Callable[[ShowProgress], Rows]
    about: str = ""
    plot: Callable[[Any], Any] | None = None
    on_request: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Suite:
    """Experiments on one network and dataset, each named "rung/inputs", for example "naive/Q".

    All cases have the data, baseline and settings of the first. `about` says what was measured (model, data, hashes),
    `published` has percentages to compare with, by name, of the source `published_by`, and `notes` are lines for the
    reader. `tables` make further tables of the scores, one dict for each row; `measurements` are tables that no score
    is needed for. `vocabulary` is the text of each token of a language model, where that is known, and `encode` makes
    tokens of a text; `network` has a node for each head, where those of the hypotheses have other parts, and `examples`
    are texts to try it on: `scrubbing app` shows them.

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
    published_by: str = ""
    tables: Mapping[str, Callable[[Mapping[str, Score]], Rows]] = field(default_factory=dict)
    vocabulary: Sequence[str] = field(default=(), repr=False)
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    network: Graph | None = field(default=None, repr=False)
    encode: Callable[[str], Sequence[int]] | None = field(default=None, repr=False)
    examples: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_fields(self)

    def only(self, wanted: Iterable[str]) -> "Suite":
        """What is named: a whole rung ("naive"), an experiment ("naive/Q"), or a measurement; if nothing is, all of it.

        Without names, the measurements that are made on request alone are left out.

        Raises `HypothesisError` for a name that fits nothing, with the nearest that does.
        """
        wanted = set(wanted)
        if not wanted:
            return replace(self, measurements={n: m for n, m in self.measurements.items() if not m.on_request})
        rungs = dict.fromkeys(_rung(case) for case in self.cases)
        known = [*rungs, *sorted({case.name for case in self.cases}), *self.measurements]
        for name in sorted(wanted.difference(known)):
            hint = nearest(name, known) or f"; there are {', '.join([*rungs, *self.measurements])}"
            raise HypothesisError(f"there is no experiment {name!r} in {self.title}{hint}")
        cases = tuple(case for case in self.cases if case.name in wanted or _rung(case) in wanted)
        measurements = {name: m for name, m in self.measurements.items() if name in wanted}
        return replace(self, cases=cases, measurements=measurements, tables=self.tables if cases else {})

    def score(self, progress: ShowProgress = None, **settings: Any) -> dict[str, Score]:
        """Score all experiments in one run of `scrub`, by name; `settings` are options of `scrub`.

        Raises what `scrub` raises.
        """
        if not self.cases:
            return {}
        first = self.cases[0]
        settings = {**first.settings, **settings}
        return scrub(self.hypotheses, first.data, baseline=first.baseline, progress=progress, **settings)

    def score_part(self, part: tuple[int, int], progress: ShowProgress = None, **settings: Any) -> PartialRun:
        """Compute a part of what `score` computes, into a store: `scrub_part`.

        Raises what `scrub_part` raises, and `HypothesisError` where measurements alone are left.
        """
        first = self._first("a part is")
        settings = {**first.settings, **settings}
        return scrub_part(
            self.hypotheses, first.data, part=part, baseline=first.baseline, progress=progress, **settings
        )

    def identity(self, **settings: Any) -> Identity:
        """The identity of the run that `score` would make. Raises as `score_part`."""
        first = self._first("an identity is")
        return identity_of(self.hypotheses, first.data, baseline=first.baseline, **{**first.settings, **settings})

    def cost(self, **settings: Any) -> Cost:
        """Count what `score` would take with these settings: `explain`.

        Raises `HypothesisError` where measurements alone are left, of which nothing is counted.
        """
        first = self._first("the cost is")
        return explain(self.hypotheses, first.data, baseline=first.baseline, **{**first.settings, **settings})

    def _first(self, what: str) -> Case:
        """The case whose data and settings all have."""
        if not self.cases:
            raise HypothesisError(f"{what} that of hypotheses, and none of {self.title} is chosen")
        return self.cases[0]

    def tabulated(self, scores: Mapping[str, Score], progress: ShowProgress = None) -> dict[str, Rows]:
        """All tables by name: those of the scores, and those that are measured apart from them."""
        of_scores = {name: make(scores) for name, make in self.tables.items()} if scores else {}
        return of_scores | {name: measurement.make(progress) for name, measurement in self.measurements.items()}

    @property
    def hypotheses(self) -> dict[str, Hypothesis]:
        """The hypotheses by name."""
        return {case.name: case.hypothesis for case in self.cases}


def _rung(case: Case) -> str:
    return case.name.split("/")[0]
