"""Paired tests on common references, corrected for how many there are."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Bool, Float

from scrubbing.errors import DataError, nearest
from scrubbing.score import Score, fraction_interval, paired_advantage, same_baseline
from scrubbing.score.comparison.comparison import Comparison, Correction, Difference, Standing
from scrubbing.score.statistics import (
    all_pairs_max_t,
    benjamini_hochberg,
    holm,
    mean_interval,
    p_value,
    shared_letters,
    tiers,
)

SHOWN = {"recovered", "interval", "scrubbed"}


def compare(
    scores: Mapping[str, Score] | Sequence[Score],
    *,
    against: str | None = None,
    correction: Correction = "holm",
    tried: int | None = None,
    level: float = 0.05,
) -> Comparison:
    """Which of several scores are better than which: paired t tests on common references and random numbers.

    All pairs are tested, or each hypothesis `against` one of them. p-values are corrected for all tests together: by
    "holm" (bounds the chance of any false finding; for a few hypotheses), by "benjamini-hochberg" (bounds the share of
    false findings among those made; for screens), or by "max-t" (as Holm's, but it uses how losses are correlated; all
    pairs only). `tried` is how many hypotheses were tried in all, shown or not, if these are a selection: the tests
    among all of them are counted. Two hypotheses differ where the corrected p-value is at most `level`. Differences are
    fractions of what there is to recover; losses, where the baseline does not allow fractions.

    >>> from hypotheses import toy
    >>> compared = compare([toy.case(name).score() for name in ("an or of thresholds", "an exclusive or")])
    >>> compared.order
    (('an or of thresholds',), ('an exclusive or',))

    Raises `DataError` for fewer than two scores, for options that make no sense together, and for scores that are not
    of one network on the same data, references and seed.

    Source: Holm (1979); Benjamini and Hochberg (1995); Westfall and Young (1993) for max-t.
    """
    named = _named(scores)
    _check(named, against, correction, tried)
    names = sorted(named, key=lambda name: named[name].scrubbed)
    pairs = [(first, second) for first, second in combinations(names, 2) if against in (None, first, second)]
    advantages = [paired_advantage(named[first], named[second]) for first, second in pairs]
    any_score = named[names[0]]
    why_losses = _why_losses(list(named.values()))
    count = tried or len(names)
    tests = count - 1 if against is not None else comb(count, 2)
    p = np.array([p_value(advantage) for advantage in advantages])
    corrected = _corrected(p, correction, tests, [named[name] for name in names])
    gap = any_score.by_reference.gap
    differences = []
    for (first, second), advantage, own, after in zip(pairs, advantages, p, corrected, strict=True):
        interval = mean_interval(advantage) if why_losses else fraction_interval(advantage, gap, any_score.stopping)
        difference = float(advantage.mean() if why_losses else advantage.mean() / gap.mean()) + 0.0
        differences.append(
            Difference(first=first, second=second, difference=difference, interval=interval, p=own, corrected=after)
        )
    return Comparison(
        standings=_standings(named, names, None if against is not None else _better(names, differences, level)),
        differences=tuple(differences),
        against=against,
        unit="loss" if why_losses else "fraction recovered",
        correction=correction,
        tests=tests,
        tried=count,
        level=level,
        references=any_score.references,
        seed=any_score.seed,
        estimand=any_score.estimand,
        remarks=tuple(_remarks(named, why_losses)),
    )


def _named(scores: Mapping[str, Score] | Sequence[Score]) -> dict[str, Score]:
    if isinstance(scores, Mapping):
        return {str(name): score for name, score in scores.items()}
    names = [score.name or str(place) for place, score in enumerate(scores, start=1)]
    unique = len(set(names)) == len(names)
    return dict(zip(names if unique else map(str, range(1, len(names) + 1)), scores, strict=True))


def _check(named: Mapping[str, Score], against: str | None, correction: str, tried: int | None) -> None:
    if len(named) < 2:
        raise DataError(f"{len(named)} score{'s' * (len(named) != 1)} given, but only two or more can be compared")
    if against is not None and against not in named:
        raise DataError(f"against={against!r} is none of the scores{nearest(against, named)}")
    if correction not in ("holm", "benjamini-hochberg", "max-t"):
        raise DataError(f'correction={correction!r} is not known; choose "holm", "benjamini-hochberg" or "max-t"')
    if correction == "max-t" and (against is not None or tried is not None):
        raise DataError('correction="max-t" is for all pairs of the scores given; leave out against= and tried=')
    if tried is not None and tried < len(named):
        raise DataError(f"tried={tried}, but {len(named)} scores are given, and each was tried")


def _why_losses(scores: Sequence[Score]) -> str | None:
    """Why differences are of losses and not of fractions recovered; None where they are."""
    if any(score.interval is None for score in scores):
        return "the baseline does not differ significantly from the network: differences are of mean losses"
    if not all(same_baseline(scores[0], score) for score in scores):
        return "the baselines differ, and so does what there is to recover: differences are of mean losses"
    return None


def _corrected(
    p: Float[np.ndarray, " pair"], correction: Correction, tests: int, scores: Sequence[Score]
) -> Float[np.ndarray, " pair"]:
    if correction == "holm":
        return holm(p, tests=tests)
    if correction == "benjamini-hochberg":
        return benjamini_hochberg(p, tests=tests)
    losses = np.stack([np.array(score.by_reference.scrubbed) for score in scores], axis=1)
    pairs = np.array(list(combinations(range(len(scores)), 2)))
    return np.where(p == 1, 1.0, all_pairs_max_t(losses, pairs))  # differences that rounding explains have p = 1


def _better(
    names: Sequence[str], differences: Sequence[Difference], level: float
) -> Bool[np.ndarray, "hypothesis hypothesis"]:
    """For each hypothesis, those that it is shown to recover more than; names come best first."""
    place = {name: k for k, name in enumerate(names)}
    better = np.zeros((len(names), len(names)), dtype=bool)
    for d in differences:
        better[place[d.first], place[d.second]] = d.corrected <= level
    return better


def _standings(
    named: Mapping[str, Score], names: Sequence[str], better: Bool[np.ndarray, "hypothesis hypothesis"] | None
) -> tuple[Standing, ...]:
    places: list[dict[str, object]] = [{} for _ in names]
    if better is not None:
        letters, tier = shared_letters(better | better.T), tiers(better)
        for k, place in enumerate(places):
            rank = (1 + int(better[:, k].sum()), len(names) - int(better[k].sum()))
            place.update(rank=rank, ties=letters[k], tier=tier[k] + 1)
    return tuple(
        Standing.model_validate({"name": name, **named[name].model_dump(include=SHOWN), **place})
        for name, place in zip(names, places, strict=True)
    )


def _remarks(named: Mapping[str, Score], why_losses: str | None) -> list[str]:
    remarks = [why_losses] if why_losses else []
    vacuous = [name for name, score in named.items() if score.why_vacuous]
    cancelled = [name for name, score in named.items() if score.why_cancelled]
    if vacuous:
        remarks.append(f"nothing was tested by: {', '.join(vacuous)}")
    if cancelled:
        remarks.append(f"the mean loss is kept better than single losses are by: {', '.join(cancelled)}")
    return remarks
