"""Paired tests on common references, corrected for how many there are."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from scrubbing.errors import DataError, nearest
from scrubbing.errors.arguments import check_between, checked
from scrubbing.score import Score, paired_advantage, same_baseline
from scrubbing.score.comparison.comparison import Comparison, Correction, Difference, HeldOut, Standing
from scrubbing.score.pairing import same_run
from scrubbing.score.statistics import (
    Column,
    Design,
    benjamini_hochberg,
    holm,
    interval_of_mean,
    interval_of_ratio,
    max_t,
    moments,
    p_of_mean,
    shared_letters,
    sign_flip,
    tiers,
)

MANY = 10  # hypotheses, the best of which is not to be quoted with its own interval

Test = Literal["t", "sign-flip"]

MOST_TRIED = 2**31
SHOWN = {"recovered", "interval", "scrubbed"}


@checked
def compare(
    scores: Mapping[str, Score] | Sequence[Score],
    *,
    against: str | None = None,
    correction: Correction = "holm",
    tried: int | None = None,
    level: float = 0.05,
    test: Test = "t",
    simultaneous: bool = False,
    held_out: float | None = None,
) -> Comparison:
    """Which of several scores are better than which: paired t tests on common references and random numbers.

    All pairs are tested, or each hypothesis `against` one of them. p-values are corrected for all tests together: by
    "holm" (bounds the chance of any false finding; for a few hypotheses), by "benjamini-hochberg" (bounds the share of
    false findings among those made; for screens), or by "max-t" (as Holm's, but it uses how losses are correlated; all
    pairs only). `tried` is how many hypotheses were tried in all, shown or not, if these are a selection: the tests
    among all of them are counted. Two hypotheses differ where the corrected p-value is at most `level`. Differences are
    fractions of what there is to recover; losses, where the baseline does not allow fractions.

    - `test`: "t" (bootstrapped where differences are skewed, exact-like where few references differ), or "sign-flip",
      a permutation test that needs no law of the losses, but differences as likely as their opposites where there is
      no effect
    - `simultaneous`: widen the intervals so that all hold at once, with 95% confidence (Bonferroni)
    - `held_out`: a share of the references to leave out of the choice of the best hypothesis, whose interval on these
      is then its own; of the best of many, quoted with the interval of all references, it is too good

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
    _check_options(test, held_out)
    _check_looking(named, test, correction)
    check_between("level", level, 0, 1, "0.05 allows a false finding in 5% of runs")
    names = sorted(named, key=lambda name: named[name].scrubbed)
    pairs = [(first, second) for first, second in combinations(names, 2) if against in (None, first, second)]
    any_score = named[names[0]]
    design = any_score.design
    most = any_score.reach
    advantages = [paired_advantage(named[first], named[second]) for first, second in pairs]
    why_losses = _why_losses(list(named.values()))
    count = tried or len(names)
    tests = count - 1 if against is not None else comb(count, 2)
    p = np.array([_p(advantage, design, most, test) for advantage in advantages])
    confidence = 1 - 0.05 / tests if simultaneous else 0.95
    corrected = _corrected(p, correction, tests, [named[name] for name in names])
    gap = any_score.column("gap")
    differences = []
    for (first, second), advantage, own, after in zip(pairs, advantages, p, corrected, strict=True):
        interval = (
            interval_of_mean(advantage, design=design, most=most, confidence=confidence)
            if why_losses
            else interval_of_ratio(advantage, gap, design=design, confidence=confidence)
        )
        if same_run(named[first], named[second]):
            interval = (0.0, 0.0)
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
        test=test,
        simultaneous=simultaneous,
        tests=tests,
        tried=count,
        level=level,
        references=any_score.references,
        seed=any_score.seed,
        estimand=any_score.estimand,
        remarks=tuple(_remarks(named, why_losses, count if held_out is None else 0)),
        held_out=None if held_out is None else _held_out(named, held_out),
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
    if tried is not None and not len(named) <= tried < MOST_TRIED:
        raise DataError(f"tried={tried}, but {len(named)} scores are given, and each was tried (at most {MOST_TRIED})")


def _check_options(test: str, held_out: float | None) -> None:
    if test not in ("t", "sign-flip"):
        raise DataError(f'test={test!r} is not known; choose "t" or "sign-flip"')
    if held_out is not None and not 0 < held_out < 1:
        raise DataError(f"held_out={held_out} is no share of the references; 0.5 leaves half of them out of the choice")


def _check_looking(named: Mapping[str, Score], test: str, correction: str) -> None:
    """Raise for tests of a fixed number of references, where these were drawn until one had seen enough."""
    if any(score.stopping is not None for score in named.values()):
        for option, given, instead in (("test", test, "t"), ("correction", correction, "holm")):
            if given in ("sign-flip", "max-t"):
                raise DataError(
                    f"{option}={given!r} is for a number of references that was fixed beforehand, and these were drawn "
                    f'with until=, of which {option}="{instead}" stays valid; choose that, or score with references='
                )


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
    found = moments([score.column("scrubbed") for score in scores], scores[0].design)
    pairs = np.array(list(combinations(range(len(scores)), 2)))
    return np.where(
        p == 1, 1.0, max_t(found.means, found.covariance, found.df, pairs)
    )  # differences that rounding explains have p = 1


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


def _p(advantage: Column, design: Design, most: float, test: Test) -> float:
    if test == "t":
        return p_of_mean(advantage, design=design, most=most)
    if not advantage.values.any():
        return 1.0
    return sign_flip(advantage.values, design.unit)


def _held_out(named: Mapping[str, Score], share: float) -> HeldOut:
    """The best on some units of references, scored on the others."""
    any_score = next(iter(named.values()))
    design = any_score.design
    number = np.unique(design.unit, return_inverse=True)[1]
    units = int(number.max()) + 1
    left_out = np.random.default_rng(any_score.seed).permutation(units) < share * units
    places, others = np.flatnonzero(left_out[number]), np.flatnonzero(~left_out[number])
    if not len(places) or not len(others):
        raise DataError(f"held_out={share} of {units} independent observations leaves none on one side; give more")
    name = min(named, key=lambda name: named[name].column("scrubbed", others).mean())
    kept, gap = named[name].column("kept", places), named[name].column("gap", places)
    recovered = None if named[name].recovered is None or not gap.mean() else kept.mean() / gap.mean()
    interval = None
    if recovered is not None:
        interval = interval_of_ratio(kept, gap, design=design.part(places), signed=False)
    return HeldOut(name=name, recovered=recovered, interval=interval, references=len(places))


def _remarks(named: Mapping[str, Score], why_losses: str | None, tried: int) -> list[str]:
    remarks = [why_losses] if why_losses else []
    if tried >= MANY:
        remarks.append(
            f"the interval of the best of {tried:,} is too good for a choice; held_out=0.5 gives an honest one"
        )
    vacuous = [name for name, score in named.items() if score.why_vacuous]
    cancelled = [name for name, score in named.items() if score.why_cancelled]
    if vacuous:
        remarks.append(f"nothing was tested by: {', '.join(vacuous)}")
    if cancelled:
        remarks.append(f"the mean loss is kept better than single losses are by: {', '.join(cancelled)}")
    return remarks
