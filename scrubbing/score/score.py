"""What comes back from a test: how much of the loss survived, how sure that is, and what it was measured on."""

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from scrubbing.errors import DataError
from scrubbing.score.breakdown import quantiles, strata, tail_mean, worst
from scrubbing.score.cancellation import Cancellation, compare_recoveries
from scrubbing.score.losses import Losses, Metric
from scrubbing.score.pairing import paired_advantage, same_baseline
from scrubbing.score.recalling import Recalled
from scrubbing.score.statistics import best_draws, bootstrapped_ratio, significantly_positive
from scrubbing.score.stopping import Stopping, fraction_interval
from scrubbing.score.vacuity import Vacuity
from scrubbing.score.verdicts import AtLeast, Equality, interval_in_words, percent

if TYPE_CHECKING:
    import pandas as pd


class Score(BaseModel):
    """How much of a network's loss survives a hypothesis.

    `recovered` is (baseline - scrubbed) / (baseline - original) as a fraction, `interval` its 95% interval (Fieller's,
    or a confidence sequence's where `stopping` says so); both are None where the baseline's loss equals the original's,
    and the interval alone where the two do not differ significantly. Losses are means over references, in the unit of
    the network's own loss. `readings` has the mean loss ("loss") and the mean absolute change of each reference's loss
    ("absolute_change"), and where the network has an output to compare, its mean divergence from the network's own
    ("kl") and the share of decisions that stay the same ("agreement"): in all but the first, nothing cancels.
    The mean scrubbed loss of n references has variance `variance_between`/n + `variance_within`/(n draws); None where
    they cannot be told (one reference, or the sampled donors of a single draw). `variance_within_baseline` is the
    baseline's own within references. `notes` says what was done otherwise than asked, in sentences.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    name: str | None = None
    recovered: float | None
    interval: tuple[float, float] | None
    original: float
    baseline: float
    scrubbed: float
    references: int
    draws: int
    seed: int
    settings: dict[str, Any]
    readings: dict[str, Metric] = Field(repr=False)
    variance_between: float | None = Field(repr=False)
    variance_within: float | None = Field(repr=False)
    vacuity: Vacuity = Field(repr=False)
    by_reference: Losses = Field(repr=False)
    variance_within_baseline: float | None = Field(default=None, repr=False)
    stopping: Stopping | None = Field(default=None, repr=False)
    notes: tuple[str, ...] = Field(default=(), repr=False)
    precision: float = Field(default=float(np.finfo(np.float64).eps), repr=False)
    _donors: dict[str, Int[np.ndarray, "draw *position"]] = PrivateAttr(default_factory=dict)
    _recalled: Recalled | None = PrivateAttr(default=None)

    # -- what was measured

    @property
    def recalled(self) -> Recalled | None:
        """Where the score was found, if an identical run was in the store; None for one that was computed."""
        return self._recalled

    @property
    def losses(self) -> "pd.DataFrame":
        """One row per reference: its row in the dataset, its loss original, baseline and scrubbed, and what else is."""
        return self.by_reference.table

    @property
    def donors(self) -> dict[str, Int[np.ndarray, "draw *position"]]:
        """The row that stood in at every node, by the node's path in I ("other" for what it leaves unclaimed).

        What several paths share, because nothing is drawn there, stands under the path met first. In exact mode there
        are none.
        """
        return self._donors

    @property
    def standard_error(self) -> float | None:
        """Of the mean scrubbed loss, from its variances between references and within them."""
        if self.variance_between is None:
            return None
        return math.sqrt((self.variance_between + (self.variance_within or 0.0) / self.draws) / self.references)

    @property
    def estimand(self) -> str:
        """What the losses are estimates of."""
        drawn = self.settings.get("references") == "drawn"
        return "the mean over the dataset" if drawn else "the mean over the source of the data"

    # -- how sure that is

    def bootstrap(self, *, confidence: float = 0.95, resamples: int = 9999) -> tuple[float, float] | None:
        """The interval of the fraction recovered by the paired bootstrap (BCa): for heavy tails or few references."""
        if self.recovered is None:
            return None
        kept, gap = self.by_reference.kept, self.by_reference.gap
        return bootstrapped_ratio(kept, gap, confidence=confidence, resamples=resamples, seed=self.seed)

    def best_draws(self, *, cost_ratio: float = 1.0) -> float | None:
        """The draws per reference that give the narrowest interval for their cost; None where one draw cannot tell.

        `cost_ratio` is what a reference costs beside its draws, in draws. Infinite where references do not differ.
        """
        if self.variance_between is None or self.variance_within is None:
            return None
        return best_draws(self.variance_between, self.variance_within, cost_ratio=cost_ratio)

    @property
    def cancellation(self) -> Cancellation | None:
        """Whether the mean loss is kept better than single losses are; None where that cannot be told."""
        return None if self.recovered is None else compare_recoveries(self.by_reference)

    # -- where it was lost

    def strata(self, column: Any) -> "pd.DataFrame":
        """The fraction recovered, with its interval, for each value of a column of the data (one entry per row)."""
        return strata(self.by_reference, column)

    def quantiles(self, *levels: float) -> "pd.DataFrame":
        """Quantiles of the loss that scrubbing adds to a reference, with 95% intervals."""
        return quantiles(self.by_reference, levels or (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99))

    def cvar(self, level: float = 0.95) -> Metric:
        """The mean loss that scrubbing adds to the worst references, those above the quantile `level`."""
        return tail_mean(self.by_reference, level)

    def worst(self, n: int = 10) -> "pd.DataFrame":
        """The references whose loss scrubbing raised most, with the rows that stood in for them at every node."""
        return worst(self.by_reference, n, self._donors)

    # -- tests

    def __gt__(self, other: "Score") -> bool:
        """Whether this hypothesis recovers more: a paired t test on common references, one-sided at 2.5%.

        Never true where nothing was tested.
        """
        _refuse_numbers(other)
        if not isinstance(other, Score):
            return NotImplemented
        return significantly_positive(paired_advantage(self, other)) and not self.vacuity.nothing_was_tested

    def __lt__(self, other: "Score") -> bool:
        _refuse_numbers(other)
        return other > self if isinstance(other, Score) else NotImplemented

    def at_least(self, fraction: float, *, level: float = 0.05) -> AtLeast:
        """Whether at least this fraction is recovered: true in error with a probability of at most `level`.

        The lower end of a one-sided interval must reach it. Never true where nothing was tested, nor where the
        baseline does better than the network.
        """
        _check_number("fraction", fraction)
        interval = self._fraction(self.by_reference.kept, confidence=1 - 2 * level)
        bound = None if interval is None else interval[0]
        refused = self.why_vacuous or self.why_reversed
        return AtLeast(fraction, self.recovered, bound, level, refused)

    def equals(self, other: "Score", *, within: float, level: float = 0.05) -> Equality:
        """Whether two hypotheses recover the same to within a margin, a fraction: true in error at most at `level`.

        Never true where nothing was tested. Two one-sided tests. With one baseline, the fractions recovered differ by
        mean(other - own)/mean(baseline - original), a ratio of means over the same references, whose interval is
        Fieller's.
        """
        _check_number("within", within)
        if not within > 0:
            raise DataError(f"within={within}, but nothing is shown to be closer than that; give a margin such as 0.02")
        advantage = paired_advantage(self, other)
        if not same_baseline(self, other):
            raise DataError("only scores against the same baseline have fractions to compare; score both in one call")
        interval = self._fraction(advantage, confidence=1 - 2 * level)
        difference = None if interval is None else float(advantage.mean() / self.by_reference.gap.mean())
        return Equality(within, difference, interval, level, self.why_vacuous or other.why_vacuous)

    def _fraction(
        self, values: Float[np.ndarray, " reference"], *, confidence: float = 0.95
    ) -> tuple[float, float] | None:
        """The interval of a mean over references, as a fraction of what there is to recover."""
        if self.recovered is None:
            return None
        return fraction_interval(values, self.by_reference.gap, self.stopping, confidence=confidence)

    # -- in words

    @property
    def why_no_percentage(self) -> str | None:
        """What stands in place of a percentage or of its interval; None where both exist."""
        if self.recovered is None:
            return "the baseline's loss equals the original's, so there is nothing to recover"
        if self.interval is None:
            return (
                f"the baseline's loss does not differ significantly from the original's "
                f"({self.baseline:.4g} against {self.original:.4g}), so the percentage has no interval"
            )
        return None

    @property
    def why_vacuous(self) -> str | None:
        """What makes the percentage say nothing; None where something was tested."""
        if self.vacuity.nothing_was_tested:
            nothing_to_recover = "" if self.recovered is None else ", so 100% is recovered by construction"
            return f"nothing was tested: no donor could differ from its reference{nothing_to_recover}"
        return None

    @property
    def why_reversed(self) -> str | None:
        """What a percentage means where the baseline does better than the network; None where it does not."""
        if self.recovered is None or self.baseline >= self.original:
            return None
        return (
            f"the baseline's loss is below the network's ({self.baseline:.4g} against {self.original:.4g}), so there "
            f"is nothing to recover: the percentage says how much of the network's disadvantage is kept"
        )

    @property
    def why_cancelled(self) -> str | None:
        """What makes the percentage say too much; None where single losses are kept as well as their mean."""
        found = self.cancellation
        return str(found) if found is not None and found.flagged else None

    @property
    def why_too_good(self) -> str | None:
        """What more than 100% means; None where the interval reaches down to 100%."""
        if self.interval is None or self.interval[0] <= 1 + 1e-6:
            return None
        return "the scrubbed network does better than the network, so something that it does was not preserved"

    def __str__(self) -> str:
        losses = f"loss {self.scrubbed:.3f}, original {self.original:.3f}, baseline {self.baseline:.3f}"
        parts = [percentage(self), f"{losses}, {self.references} references"]
        remarks = (
            self.why_no_percentage,
            self.why_reversed,
            self.why_vacuous,
            self.why_cancelled,
            self.why_too_good,
            None if self.stopping is None else self.stopping.in_words(self.interval),
            *self.notes,
            None if self.recalled is None else f"recorded {self.recalled.time:%Y-%m-%d %H:%M} UTC",
        )
        return "   ".join(parts + [f"({remark})" for remark in remarks if remark])

    def __eq__(self, other: object) -> bool:
        """Whether all that goes to JSON is equal; the donors, which do not, are left out."""
        return self.model_dump() == other.model_dump() if isinstance(other, Score) else NotImplemented


def _refuse_numbers(other: Any) -> None:
    """Raise for a comparison of a score with a number."""
    if isinstance(other, Real) and not isinstance(other, Score):
        raise DataError(
            f"a score is compared with scores; write score.at_least({other}) for a test, or score.recovered for the "
            f"number alone"
        )


def _check_number(name: str, value: Any) -> None:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise DataError(f"{name}={value!r}, but it must be a number: a fraction such as 0.9")


def percentage(score: Score, digits: int = 1) -> str:
    """A score in words: "35.2% recovered [33.1, 37.2]"."""
    if score.recovered is None:
        return "nothing to recover"
    return f"{percent(score.recovered, digits)} recovered {interval_in_words(score.interval, digits)}"
