"""What a test calls: `scrub` with a memory."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, overload

from scrubbing.errors import DataError, HypothesisError
from scrubbing.experiments.arguments import by_name
from scrubbing.experiments.scoring import Case
from scrubbing.graph import Graph
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Score
from scrubbing.testing.scores import Scores


class Scrub:
    """The fixture `scrub`: scores of cases, or of hypotheses as `scrubbing.scrub` takes them; each worked out once."""

    def __init__(self, scores: Scores, test: Callable[[], str]) -> None:
        self._scores = scores
        self._test = test

    def __repr__(self) -> str:
        return "<scrub>"

    @overload
    def __call__(self, case: Case, /, **settings: Any) -> Score: ...
    @overload
    def __call__(self, cases: Iterable[Case], /, **settings: Any) -> list[Score]: ...
    @overload
    def __call__(self, first: Case, second: Case, /, *others: Case, **settings: Any) -> list[Score]: ...
    @overload
    def __call__(
        self, hypothesis: Hypothesis, /, data: Mapping[str, Any], *, baseline: Graph | Hypothesis, **settings: Any
    ) -> Score: ...
    @overload
    def __call__(
        self,
        hypotheses: Mapping[str, Hypothesis],
        /,
        data: Mapping[str, Any],
        *,
        baseline: Graph | Hypothesis,
        **settings: Any,
    ) -> dict[str, Score]: ...
    @overload
    def __call__(
        self,
        hypotheses: Sequence[Hypothesis],
        /,
        data: Mapping[str, Any],
        *,
        baseline: Graph | Hypothesis,
        **settings: Any,
    ) -> list[Score]: ...
    def __call__(self, *asked: Any, **settings: Any) -> Score | list[Score] | dict[str, Score]:
        """The score of a case; of several, given one by one or as one list, a list of scores, from one run.

        Or of a hypothesis (a list, a dict of them) with `data` and `baseline=`, as `scrubbing.scrub` takes them.
        `settings` are those of `scrubbing.scrub`, and go before the case's own and the options of the test run.

        Raises `ScrubbingError` for whatever is wrong with the case, and for anything else in place of one.
        """
        if asked and isinstance(asked[0], Case):
            scores = self._of(asked, settings)
            return scores[0] if len(asked) == 1 else scores
        if "data" in settings and len(asked) == 1:
            asked = (*asked, settings.pop("data"))
        if len(asked) == 2:
            return self._of_hypotheses(asked[0], asked[1], settings)
        if len(asked) == 1 and isinstance(asked[0], Iterable) and not isinstance(asked[0], Mapping):
            return self._of(list(asked[0]), settings)
        raise HypothesisError(f"{_shown(asked)} cannot be scored; write scrub(case), or {WITH_DATA}")

    def _of(self, cases: Sequence[Any], settings: Mapping[str, Any]) -> list[Score]:
        for case in cases:
            if not isinstance(case, Case):
                raise HypothesisError(f"{_shown([case])} is no Case; write scrub(case, ...), or {WITH_DATA}")
        return self._scores.of(cases, settings, test=self._test())

    def _of_hypotheses(self, hypotheses: Any, data: Any, settings: dict[str, Any]) -> Any:
        baseline = settings.pop("baseline", None)
        if baseline is None:
            raise DataError(f"what recovers 0% is missing; write {WITH_DATA}")
        named = by_name(hypotheses)
        cases = [Case(key if isinstance(key, str) else "", h, data, baseline) for key, h in named.items()]
        scores = self._of(cases, settings)
        if isinstance(hypotheses, Hypothesis):
            return scores[0]
        return dict(zip(named, scores, strict=True)) if isinstance(hypotheses, Mapping) else scores


WITH_DATA = "scrub(hypothesis, data, baseline=...)"


def _shown(asked: Sequence[Any]) -> str:
    return ", ".join(type(value).__name__ for value in asked) or "nothing"
