"""The scores that the tests of one run ask for, each worked out once."""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scrubbing.engine.sampling.streams import draw_references
from scrubbing.experiments.scoring import Case, scrub
from scrubbing.graph.fingerprint import digest
from scrubbing.score import Score
from scrubbing.store.record import data_hash

OF_NO_CONSEQUENCE = ("progress",)  # settings that change no number
DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(scrub).parameters.items()
    if parameter.default is not parameter.empty
}


@dataclass(frozen=True)
class Asked:
    """A score, the case that it is of, and the tests that asked for it."""

    case: Case
    score: Score
    tests: dict[str, None] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Options:
    """What a test run says of cases whose tests do not."""

    references: int | None = None
    seed: int | None = None

    def settings(self, case: Case, given: Mapping[str, Any]) -> dict[str, Any]:
        """A case's settings: what its test gives goes before what the run says, and that before the case's own."""
        settings = {**case.settings, **({} if self.seed is None else {"seed": self.seed}), **given}
        if self.references is not None and "references" not in given:
            rows = settings.get("references")
            settings["references"] = (
                self.references  # of all rows
                if rows is None or isinstance(rows, int)
                else draw_references(rows, self.references, settings.get("seed", 0))
            )
        return settings


class Scores:
    """All scores of a test run. Equal cases, however often they are made anew, are scored once."""

    def __init__(self, options: Options = Options()) -> None:
        self.options = options
        self._known: dict[str, tuple[Case, Score]] = {}  # a key may name objects by identity: the case keeps them alive
        self._asked: dict[tuple[str, str], Asked] = {}

    def __iter__(self) -> Iterator[Asked]:
        return iter(self._asked.values())

    def of_test(self, test: str) -> list[Score]:
        """The scores that a test asked for, in the order in which any test first did."""
        return [asked.score for asked in self if test in asked.tests]

    def of(self, cases: Iterable[Case], given: Mapping[str, Any], *, test: str) -> list[Score]:
        """The scores of cases; those that are not known yet, of one dataset and settings, in one run of `scrub`."""
        cases = [replace(case, settings=self.options.settings(case, given)) for case in cases]
        terms = _terms(cases)
        keys = [_key(term, case) for term, case in zip(terms, cases, strict=True)]
        missing: dict[str, dict[str, Case]] = {}
        for key, term, case in zip(keys, terms, cases, strict=True):
            if key not in self._known:
                missing.setdefault(term, {}).setdefault(key, case)
        for together in missing.values():
            scores = _score_together(list(together.values()))
            self._known.update(zip(together, zip(together.values(), scores, strict=True), strict=True))
        return [self._ask(key, case, test) for key, case in zip(keys, cases, strict=True)]

    def _ask(self, key: str, case: Case, test: str) -> Score:
        if (key, case.name) not in self._asked:
            score = self._known[key][1].model_copy(update={"name": case.name or None})
            self._asked[key, case.name] = Asked(case, score)
        asked = self._asked[key, case.name]
        asked.tests[test] = None
        return asked.score


def _terms(cases: Sequence[Case]) -> list[str]:
    """A fingerprint of all that a case must have in common with others to be scored in one run with them."""
    data = {id(case.data): case.data for case in cases}
    hashes = {place: data_hash(columns) for place, columns in data.items()}

    def terms(case: Case) -> str:
        settings = {k: v for k, v in {**DEFAULTS, **case.settings}.items() if k not in OF_NO_CONSEQUENCE}
        return digest((hashes[id(case.data)], case.baseline, settings), identify=id)

    return list(map(terms, cases))


def _key(terms: str, case: Case) -> str:
    return digest((terms, case.hypothesis, case.hypothesis.G.origin), identify=id)


def _score_together(cases: Sequence[Case]) -> list[Score]:
    """One run of `scrub`, under names that its messages can use."""
    names = [case.name or f"hypothesis {i + 1}" for i, case in enumerate(cases)]
    names = [name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names)]
    hypotheses = {name: case.hypothesis for name, case in zip(names, cases, strict=True)}
    first = cases[0]
    settings = {"progress": False, **first.settings}
    return list(scrub(hypotheses, first.data, baseline=first.baseline, **settings).values())
