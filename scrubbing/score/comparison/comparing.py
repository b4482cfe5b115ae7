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
from scrubbing.score.comparison.at_once import (
    CONFIDENCE,
    behind_the_best,
    confidence_of_pairs,
    difference_interval,
    intervals_of_each,
)
from scrubbing.score.comparison.comparison import AtOnce, Comparison, Correction, Difference, HeldOut, Standing
from scrubbing.score.statistics import (
    Column,
    Design,
    benjamini_hochberg,
    holm,
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
    simultaneous: AtOnce | None = None,
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
    - `simultaneous`: intervals that hold all at once, with 95% confidence: what each hypothesis recovers, and "pairs",
      the differences, or "best", how far each is behind the best of the others (multiple comparisons with the best;
      narrower than of all pairs). They use how losses are correlated; with `tried` or `until`, Bonferroni's inequality
    - `held_out`: a share of the references to leave out of the choice of the best hypothesis, whose interval on these
      is then its own; of the best of many, quoted with the interval of all references, it is too good

    >>> from hypotheses import toy
    >>> compared = compare([toy.case(name).score() for name in ("an or of thresholds", "an exclusive or")])
    >>> compared.order
    (('an or of thresholds',), ('an exclusive or',))

    Raises `DataError` for fewer than two scores, for options that make no sense together, and for scores that are not
    of one network on the same data, references and seed.

    Source: Holm (1979); Benjamini and Hochberg (1995); Westfall and Young (1993) for max-t; Edwards and Hsu (1983) for
    the best; Hothorn, Bretz and Westfall (2008) for all at once.
    """
    named = _named(scores)
    _check(named, against, correction, tried)
    _check_options(test, held_out, simultaneous, against)
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
    ordered, losses = [named[name] for name in names], why_losses is not None
    confidence = CONFIDENCE
    if simultaneous == "pairs":
        confidence = confidence_of_pairs(ordered, [(names.index(a), names.index(b)) for a, b in pairs], tests=tests)
    corrected = _corrected(p, correction, tests, ordered)
    gap = any_score.column("gap")
    differences = []
    for (first, second), advantage, own, after in zip(pairs, advantages, p, corrected, strict=True):
        interval = difference_interval(named[first], named[second], losses=losses, confidence=confidence)
        difference = float(advantage.mean() if why_losses else advantage.mean() / gap.mean()) + 0.0
        differences.append(
            Difference(first=first, second=second, difference=difference, interval=interval, p=own, corrected=after)
        )
    standings = _standings(named, names, None if against is not None else _better(names, differences, level))
    if simultaneous:
        standings = _at_once(standings, ordered, simultaneous, tried=count, losses=losses)
    return Comparison(
        standings=standings,
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
        remarks=tuple(_remarks(named, why_losses, count if held_out is None and simultaneous is None else 0)),
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


def _check_options(test: str, held_out: float | None, simultaneous: str | None, against: str | None) -> None:
    if test not in ("t", "sign-flip"):
        raise DataError(f'test={test!r} is not known; choose "t" or "sign-flip"')
    if simultaneous == "best" and against is not None:
        raise DataError('simultaneous="best" compares each with the best; leave out against=, or choose "pairs"')
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


def _at_once(
    standings: tuple[Standing, ...], scores: Sequence[Score], simultaneous: AtOnce, *, tried: int, losses: bool
) -> tuple[Standing, ...]:
    """The standings with intervals that hold for all of them."""
    changed: list[dict[str, object]] = [{"interval": of} for of in intervals_of_each(scores, tried=tried)]
    if simultaneous == "best":
        for change, found in zip(changed, behind_the_best(scores, tried=tried, losses=losses), strict=True):
            change["behind"], change["may_be_best"] = found
    return tuple(s.model_copy(update=change) for s, change in zip(standings, changed, strict=True))


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
