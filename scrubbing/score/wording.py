"""A score in words: its percentage, and what a reader must know beside it."""

from typing import TYPE_CHECKING

from scrubbing.score.statistics import too_few, too_heavy
from scrubbing.score.verdicts import interval_in_words, percent

if TYPE_CHECKING:
    from scrubbing.score.measured import Measured
    from scrubbing.score.score import Score


def why_no_percentage(score: "Measured") -> str | None:
    """Why there is no percentage, or no interval; None where both exist."""
    if score.recovered is None:
        return "the baseline's loss equals the original's, so there is nothing to recover"
    if score.interval is None:
        return (
            f"the baseline's loss does not differ significantly from the original's "
            f"({score.baseline:.4g} against {score.original:.4g}), so the percentage has no interval"
        )
    return None


def why_too_few(score: "Measured") -> str | None:
    """Why no interval would be honest; None where one is."""
    if score.interval is None or score.stopping is not None:
        return None
    return too_few(score.column("kept"), score.column("gap"), score.design)


def why_too_heavy(score: "Measured") -> str | None:
    """Why no bound can be trusted, however many references there are for a lighter tail; None where one can."""
    if score.interval is None or not too_heavy(score.column("kept"), score.column("gap"), score.design):
        return None
    return "the tail of the losses is too heavy for a bound by so few references"


def why_uncounted(score: "Measured") -> str | None:
    """Which donors the interval does not count; None where it counts all."""
    runs = [run for run in (score.donated, score.donated_baseline) if run is not None]
    names = dict.fromkeys(repr(path.rpartition("/")[2]) for run in runs for path in run.uncounted)
    if not names:
        return None
    return f"intervals may be too narrow: what references share by the donors of {', '.join(names)} is not counted"


def why_vacuous(score: "Measured") -> str | None:
    """Why the percentage means nothing; None where something was tested."""
    if score.vacuity.nothing_was_tested:
        nothing_to_recover = "" if score.recovered is None else ", so 100% is recovered by construction"
        return f"nothing was tested: no donor could differ from its reference{nothing_to_recover}"
    return None


def why_reversed(score: "Measured") -> str | None:
    """What the percentage means if the baseline does better than the network; None if it does not."""
    if score.recovered is None or score.baseline >= score.original:
        return None
    return (
        f"the baseline's loss is below the network's ({score.baseline:.4g} against {score.original:.4g}), so there "
        f"is nothing to recover: the percentage says how much of the network's disadvantage is kept"
    )


def why_too_good(score: "Measured") -> str | None:
    """What more than 100% means; None where the interval contains 100% or less."""
    if score.interval is None or score.interval[0] <= 1 + 1e-6:
        return None
    return "the scrubbed network does better than the network, so something that it does was not preserved"


def in_words(score: "Score") -> str:
    """The percentage, the losses, and every remark."""
    losses = f"loss {score.scrubbed:.3f}, original {score.original:.3f}, baseline {score.baseline:.3f}"
    parts = [percentage(score), f"{losses}, {score.references} references of the {score.estimates.estimand}"]
    remarks = (
        score.why_no_percentage,
        score.why_too_few,
        score.self_donors,
        score.why_uncounted,
        score.why_reversed,
        score.why_vacuous,
        score.why_cancelled,
        score.why_too_good,
        None if score.stopping is None else score.stopping.in_words(score.interval, _many(score)),
        *score.notes,
        None if score.recalled is None else f"recorded {score.recalled.time:%Y-%m-%d %H:%M} UTC",
    )
    return "   ".join(parts + [f"({remark})" for remark in remarks if remark])


def _many(score: "Measured") -> str | None:
    """What are the independent observations of a mean over the source."""
    if score.estimates.estimand == "dataset":
        return None
    return "rows" if score.estimates.groups is None else f"groups (here {score.design.units:,})"


def percentage(score: "Measured", digits: int = 1) -> str:
    """A score in words: "35.2% recovered [33.1, 37.2]"."""
    if score.recovered is None:
        return "nothing to recover"
    return f"{percent(score.recovered, digits)} recovered {interval_in_words(score.interval, digits)}"
