"""The result of `scrub`: how much of the loss survived, how sure that is, and what it was measured on."""

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
    """How much of a network's loss survives a hypothesis. `print` it, or read:

    - `recovered`: (baseline - scrubbed) / (baseline - original), as a fraction; None where there is nothing to recover
    - `interval`: its 95% interval (Fieller's, or a confidence sequence's after `until`); None where the baseline's loss
      does not differ significantly from the original's
    - `original`, `baseline`, `scrubbed`: mean losses over references, in the unit of the network's loss
    - `readings`: the mean "loss"; the mean "absolute_change" of each reference's loss; and for networks with logits,
      the mean divergence "kl" from the network's own output and the "agreement" of the most probable token
    - `vacuity`: how much could be resampled at each node
    - `by_reference`: the losses of each reference; `losses` is the same as a table
    - `notes`: what differs from what you asked for, in sentences
    - `variance_between`, `variance_within`: the mean scrubbed loss of n references has variance `variance_between`/n +
      `variance_within`/(n draws); None where they cannot be estimated (one reference, or one draw of donors).
      `variance_within_baseline` is that of the baseline

    >>> from hypotheses import toy
    >>> score = toy.suite().cases[3].score()
    >>> print(score)
    63.5% recovered [56.0, 70.5]   loss 0.100, original 0.003, baseline 0.269, 1000 references
    >>> bool(score.at_least(0.5)), bool(score.at_least(0.6))
    (True, False)

    Source: Chan et al. 2022, Causal Scrubbing, for the fraction; Fieller 1954 for its interval.
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
        """The record of the store that the score comes from; None if it was computed."""
        return self._recalled

    @property
    def losses(self) -> "pd.DataFrame":
        """A table with a row per reference: its row in the data, its losses `original`, `baseline`, `scrubbed`."""
        return self.by_reference.table

    @property
    def donors(self) -> dict[str, Int[np.ndarray, "draw *position"]]:
        """The donors' rows at every node, `[draw]` or `[draw, position]`, by the node's path in I.

        "loss/other" is the donor of what I's "loss" does not claim. Where paths share a donor, only the first is
        listed. Exact mode draws no donors.
        """
        return self._donors

    @property
    def standard_error(self) -> float | None:
        """The standard error of the mean scrubbed loss; None where it cannot be estimated."""
        if self.variance_between is None:
            return None
        return math.sqrt((self.variance_between + (self.variance_within or 0.0) / self.draws) / self.references)

    @property
    def estimand(self) -> str:
        """What the mean losses estimate: a mean over the dataset, or over the source that the data come from."""
        drawn = self.settings.get("references") == "drawn"
        return "the mean over the dataset" if drawn else "the mean over the source of the data"

    # -- how sure that is

    def bootstrap(self, *, confidence: float = 0.95, resamples: int = 9999) -> tuple[float, float] | None:
        """An interval of `recovered` by the paired bootstrap (BCa), for heavy tails or few references.

        None where `interval` is. Source: Efron 1987.
        """
        if self.recovered is None:
            return None
        kept, gap = self.by_reference.kept, self.by_reference.gap
        return bootstrapped_ratio(kept, gap, confidence=confidence, resamples=resamples, seed=self.seed)

    def best_draws(self, *, cost_ratio: float = 1.0) -> float | None:
        """The `draws` per reference that give the narrowest interval for their cost; None after a single draw.

        `cost_ratio` is the cost of a reference in units of a draw. The result is infinite where references have equal
        losses.
        """
        if self.variance_between is None or self.variance_within is None:
            return None
        return best_draws(self.variance_between, self.variance_within, cost_ratio=cost_ratio)

    @property
    def cancellation(self) -> Cancellation | None:
        """Whether the mean loss is kept better than the losses of single references; None without a percentage."""
        return None if self.recovered is None else compare_recoveries(self.by_reference)

    # -- where it was lost

    def strata(self, column: Any) -> "pd.DataFrame":
        """A table of the fraction recovered, with its interval, for each value of a column `[row]` of the data.

        Raises `DataError` for a column of the wrong length.
        """
        return strata(self.by_reference, column)

    def quantiles(self, *levels: float) -> "pd.DataFrame":
        """A table of quantiles of the loss that scrubbing adds to a reference, with 95% intervals.

        Raises `DataError` for levels that are not between 0 and 1.
        """
        return quantiles(self.by_reference, levels or (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99))

    def cvar(self, level: float = 0.95) -> Metric:
        """The mean loss that scrubbing adds to the worst references: those above the quantile `level`.

        Raises `DataError` for a level that is not between 0 and 1.
        """
        return tail_mean(self.by_reference, level)

    def worst(self, n: int = 10) -> "pd.DataFrame":
        """A table of the `n` references whose loss scrubbing raised most, with their donors at every node."""
        return worst(self.by_reference, n, self._donors)

    # -- tests

    def __gt__(self, other: "Score") -> bool:
        """Whether this hypothesis recovers more: a paired t test on common references, one-sided at 2.5%.

        False where nothing was tested. Raises `DataError` for numbers, and for scores without common references.
        """
        _refuse_numbers(other)
        if not isinstance(other, Score):
            return NotImplemented
        return significantly_positive(paired_advantage(self, other)) and not self.vacuity.nothing_was_tested

    def __lt__(self, other: "Score") -> bool:
        _refuse_numbers(other)
        return other > self if isinstance(other, Score) else NotImplemented

    def at_least(self, fraction: float, *, level: float = 0.05) -> AtLeast:
        """Whether at least this fraction is recovered: true by mistake in at most a share `level` of runs.

        True if the lower end of a one-sided interval reaches the fraction. False where nothing was tested, and where
        the baseline does better than the network. Raises `DataError` for what is no number.
        """
        _check_number("fraction", fraction)
        interval = self._fraction(self.by_reference.kept, confidence=1 - 2 * level)
        bound = None if interval is None else interval[0]
        refused = self.why_vacuous or self.why_reversed
        return AtLeast(fraction, self.recovered, bound, level, refused)

    def equals(self, other: "Score", *, within: float, level: float = 0.05) -> Equality:
        """Whether two hypotheses recover the same fraction, give or take `within`.

        It is true by mistake in at most a share `level` of runs: two one-sided tests of the difference of the
        fractions, mean(other - own)/mean(baseline - original), with Fieller's interval. False where nothing was tested.

        Raises `DataError` for a margin that is not above 0, and for scores without common references or baseline.
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
        """Why there is no percentage, or no interval; None where both exist."""
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
        """Why the percentage means nothing; None where something was tested."""
        if self.vacuity.nothing_was_tested:
            nothing_to_recover = "" if self.recovered is None else ", so 100% is recovered by construction"
            return f"nothing was tested: no donor could differ from its reference{nothing_to_recover}"
        return None

    @property
    def why_reversed(self) -> str | None:
        """What the percentage means if the baseline does better than the network; None if it does not."""
        if self.recovered is None or self.baseline >= self.original:
            return None
        return (
            f"the baseline's loss is below the network's ({self.baseline:.4g} against {self.original:.4g}), so there "
            f"is nothing to recover: the percentage says how much of the network's disadvantage is kept"
        )

    @property
    def why_cancelled(self) -> str | None:
        """Why the percentage is too high: losses cancel. None where they do not."""
        found = self.cancellation
        return str(found) if found is not None and found.flagged else None

    @property
    def why_too_good(self) -> str | None:
        """What more than 100% means; None where the interval contains 100% or less."""
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
        """Whether everything is equal but the donors."""
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
