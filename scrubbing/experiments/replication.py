"""A case over several models, prompts or datasets: each is one observation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import RenderableType
from scipy import stats

from scrubbing.errors import DataError
from scrubbing.experiments.scoring import Case
from scrubbing.score import Score, percentage
from scrubbing.score.tables import Printed, titled
from scrubbing.score.verdicts import interval_in_words, percent

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Replication(Printed):
    """What a hypothesis recovers over models, prompts or datasets, with what these differ by beyond chance.

    `mean` and `interval` are of the mean over all that these are a sample of; `spread` is the standard deviation of the
    true fractions between them, `prediction` the 95% interval of the fraction of one more.
    """

    scores: Mapping[str, Score]
    mean: float
    interval: tuple[float, float] | None
    spread: float
    prediction: tuple[float, float] | None

    @property
    def table(self) -> "pd.DataFrame":
        """A row for each: the fraction recovered, its interval, and its standard error."""
        import pandas as pd

        rows = [(s.recovered, *(s.interval or (math.nan, math.nan)), _error(s)) for s in self.scores.values()]
        return pd.DataFrame(rows, columns=["recovered", "low", "high", "error"], index=pd.Index(self.scores))

    def __rich__(self) -> RenderableType:
        notes = [f"they differ by {percent(self.spread)} (standard deviation) beyond the error of each"]
        if self.prediction is not None:
            notes.append(f"one more would be within {interval_in_words(self.prediction)} in 95% of cases")
        total = f"{percent(self.mean)} recovered {interval_in_words(self.interval)}"
        rows = [(name, percentage(score)) for name, score in self.scores.items()]
        title = f"over {len(self.scores)}, each one observation"
        return titled(title, ["", "recovered"], [*rows, None, ("mean over all such", total)], notes, left=["recovered"])


def replicate(case: Case, over: Sequence[Case | Score] | Mapping[str, Case | Score], **settings: Any) -> Replication:
    """Score a case, and the same hypothesis on other models, prompts or datasets, and sum up what is recovered.

    One model is one observation: a random-effects summary. `over` has the others, as cases (to be scored with
    `settings`) or scores, in a list or by name.

    >>> from dataclasses import replace
    >>> from hypotheses import toy
    >>> case = toy.case("a threshold too high")
    >>> found = replicate(case, [case.score(seed=seed) for seed in range(1, 5)])
    >>> len(found.scores), f"{found.mean:.2f}"
    (5, '0.61')

    Raises `DataError` for fewer than two in all, and for scores without an interval.

    Source: DerSimonian and Laird 1986 for the spread; Hartung and Knapp 2001, and Sidik and Jonkman 2002, for the
    interval; Higgins, Thompson and Spiegelhalter 2009 for the prediction.
    """
    named = dict(over) if isinstance(over, Mapping) else {str(k): each for k, each in enumerate(over, start=2)}
    scores = {case.name if isinstance(over, Mapping) else "1": case.score(**settings)}
    for name, each in named.items():
        scores[name] = each.score(**settings) if isinstance(each, Case) else each
    if len(scores) < 2:
        raise DataError("replicate needs another model, prompt or dataset: over=[...] is empty")
    for name, score in scores.items():
        if score.interval is None:
            raise DataError(f"{name!r} has no interval: {score.why_no_percentage or 'it has a single reference'}")
    found = np.array([score.recovered for score in scores.values()], dtype=float)
    errors = np.array([_error(score) for score in scores.values()])
    mean, error, spread = random_effects(found, errors)
    k = len(found)
    half = float(stats.t.ppf(0.975, k - 1)) * error
    ahead = float(stats.t.ppf(0.975, k - 2)) * math.hypot(spread, error) if k > 2 else None
    prediction = None if ahead is None else (mean - ahead, mean + ahead)
    return Replication(scores, mean, (mean - half, mean + half), spread, prediction)


def random_effects(found: np.ndarray, errors: np.ndarray) -> tuple[float, float, float]:
    """The mean of effects, its standard error (Hartung and Knapp), and the spread between them (DerSimonian-Laird)."""
    least = max(float(errors.max()), 1e-12) * 1e-6
    weight = 1 / np.maximum(errors, least) ** 2
    fixed = float(weight @ found / weight.sum())
    excess = float(weight @ (found - fixed) ** 2) - (len(found) - 1)
    spread = math.sqrt(max(0.0, excess / float(weight.sum() - weight @ weight / weight.sum())))
    weight = 1 / (np.maximum(errors, least) ** 2 + spread**2)
    mean = float(weight @ found / weight.sum())
    scatter = float(weight @ (found - mean) ** 2) / (len(found) - 1)
    return mean, math.sqrt(max(1.0, scatter) / float(weight.sum())), spread


def _error(score: Score) -> float:
    """The standard error that an interval stands for."""
    low, high = score.interval or (math.nan, math.nan)
    return (high - low) / (2 * 1.959964)
