"""Why an assertion about scores failed, in the few lines that pytest leaves room for."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from scrubbing.score import Score, paired_advantage, percentage, same_baseline
from scrubbing.score.approx import ApproxPercent
from scrubbing.score.statistics import interval_of_mean, interval_of_ratio

SHOWN_DONORS = 3


def why(op: str, left: object, right: object, scores: Sequence[Score]) -> list[str] | None:
    """An explanation of a comparison that came out false: what was compared, and then why; None if it is not ours.

    `scores` are those known to the test: a bare number in the comparison is looked for among them.
    """
    if isinstance(left, Score) and isinstance(right, Score):
        return list(_two_scores(op, left, right))
    if isinstance(left, ApproxPercent) and op in ("==", "!="):
        left, right = right, left
    score = left if isinstance(left, Score) else _owner(left, scores)
    if isinstance(right, ApproxPercent) and op in ("==", "!="):
        return list(_not_approximately(op, left, right, score))
    if score is None:
        score = _owner(right, scores)
    return None if score is None else list(_number(op, left, right, score))


def ladder(scores: Iterable[Score]) -> list[str]:
    """One line for each score."""
    return list(_table((score, str(score)) for score in scores))


def ladder_in_short(scores: Iterable[Score]) -> list[str]:
    """Name, percentage, interval and references, one line for each score."""
    return list(_table((score, f"{percentage(score)}, {score.references} references") for score in scores))


def _table(rows: Iterable[tuple[Score, str]]) -> Iterator[str]:
    named = [(score.name or "(unnamed)", text) for score, text in rows]
    width = max((len(name) for name, _ in named), default=0)
    yield from (f"  {name:{width}}   {text}" for name, text in named)


def _quoted(score: Score) -> str:
    return repr(score.name) if score.name else "the unnamed score"


# -- comparisons


def _two_scores(op: str, left: Score, right: Score) -> Iterator[str]:
    yield f"{_quoted(left)} {op} {_quoted(right)}"
    better, other = (left, right) if op == ">" else (right, left)
    if op in (">", "<"):
        verdict = "recovers more" if better > other else "does not recover more"
        yield f"{_quoted(better)} {verdict} than {_quoted(other)}, by a paired t test, one-sided at 2.5%"
    yield from ladder_in_short([left, right])
    yield f"difference {difference(better, other)}"
    yield from worst(better)


def _not_approximately(op: str, found: object, expected: ApproxPercent, score: Score | None) -> Iterator[str]:
    what = _quoted(score) if isinstance(found, Score) and score else _shown(found)
    yield f"{what} {op} {expected}"
    fraction = found.recovered if isinstance(found, Score) else found
    if fraction is None:
        yield f"there is no percentage: {score.why_no_percentage if score else 'see score.why_no_percentage'}"
    elif isinstance(fraction, int | float):
        points = expected.distance(float(fraction))
        where = "above" if points > 0 else "below"
        yield f"{100 * fraction:.1f}% is {abs(points):.1f} points {where} {expected.percent:g}%"
    if score is not None:
        yield from ladder_in_short([score])
        yield from worst(score)


def _number(op: str, left: object, right: object, score: Score) -> Iterator[str]:
    yield f"{_shown(left)} {op} {_shown(right)}"
    yield from ladder_in_short([score])
    yield from worst(score)


def _owner(value: object, scores: Sequence[Score]) -> Score | None:
    """The score that a number was read from: the very same object, for equal numbers may be anyone's."""
    if not isinstance(value, float):
        return None
    return next((s for s in scores if any(value is number for number in _numbers(s))), None)


def _numbers(score: Score) -> tuple[float | None, ...]:
    return (score.recovered, *(score.interval or ()), score.scrubbed, score.original, score.baseline)


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


# -- what stands below


def difference(better: Score, other: Score) -> str:
    """How much more `better` recovers, paired by reference, with its 95% interval; in points where there are any.

    The interval lies above zero if and only if `better > other`. Fieller's set of ratios has zero in it as long as the
    paired t test does not reject that the difference of losses is zero; where few references make the one and not the
    other, so that their intervals are of different kinds, the difference is one of losses.
    """
    advantage, gap, design = paired_advantage(better, other), better.column("gap"), better.design
    points = (
        interval_of_ratio(advantage, gap, design=design) if same_baseline(better, other) and gap.mean() > 0 else None
    )
    interval = interval_of_mean(advantage, design=design, most=better.reach)
    if points is not None and interval is not None and (points[0] > 0) == (interval[0] > 0):
        return f"{100 * advantage.mean() / gap.mean():.2f} points [{100 * points[0]:.2f}, {100 * points[1]:.2f}]"
    return f"of losses {advantage.mean():.3g}" + (f" [{interval[0]:.3g}, {interval[1]:.3g}]" if interval else "")


def worst(score: Score) -> Iterator[str]:
    """The reference whose loss the scrubbing raised most, and the rows that stood in."""
    losses = score.by_reference
    i = int(np.argmax(losses.lost))
    yield (
        f"worst for {_quoted(score)}: row {losses.reference[i]}, "
        f"loss {losses.original[i]:.3g} originally, {losses.scrubbed[i]:.3g} scrubbed"
    )
    stood_in = _stood_in(score, i)
    if stood_in:
        more = f", and {len(stood_in) - SHOWN_DONORS} more" if len(stood_in) > SHOWN_DONORS else ""
        which = "" if score.draws == 1 else f", in the first of {score.draws} draws"
        yield f"  stood in{which}: {', '.join(stood_in[:SHOWN_DONORS])}{more}"


def _stood_in(score: Score, i: int) -> list[str]:
    """The rows other than itself that stood in for a reference, each with the nodes that they stood in at."""
    places: dict[str, list[str]] = {}
    for path, rows in score.donors.items():
        row = rows[i * score.draws]
        if np.any(row != score.by_reference.reference[i]):
            places.setdefault(f"row {row}" if np.ndim(row) == 0 else "rows by position", []).append(path)
    return [f"{rows} at {paths[0]}{_and_more(len(paths) - 1)}" for rows, paths in places.items()]


def _and_more(places: int) -> str:
    return f" and {places} more place{'s' if places > 1 else ''}" if places else ""
