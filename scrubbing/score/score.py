"""The result of `scrub`: how much of the loss survived, how sure that is, and what it was measured on."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from scrubbing.errors import DataError, displayed
from scrubbing.errors.arguments import check_between, checked, shown
from scrubbing.score import deciding, wording
from scrubbing.score.breakdown import quantiles, strata, tail_mean, worst
from scrubbing.score.cancellation import Cancellation, compare_recoveries
from scrubbing.score.losses import Metric
from scrubbing.score.measured import Measured
from scrubbing.score.statistics import best_draws, bootstrapped_ratio
from scrubbing.score.verdicts import AtLeast, Equality

if TYPE_CHECKING:
    import pandas as pd

MOST_RESAMPLES = 1_000_000


class Score(Measured):
    """How much of a network's loss survives a hypothesis. `print` it, or read:

    - `recovered`: (baseline - scrubbed) / (baseline - original), as a fraction; None where there is nothing to recover
    - `interval`: its 95% interval (`settings["interval"]` names the kind), with what is recovered without datums that
      stand in for themselves, where there are many; None where the baseline's loss
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
    63.5% recovered [54.1, 71.7]   loss 0.100, original 0.003, baseline 0.269, 1000 references of the source
    >>> bool(score.at_least(0.5)), bool(score.at_least(0.6))
    (True, False)

    Source: Chan et al. 2022, Causal Scrubbing, for the fraction; Fieller 1954 for its interval.
    """

    # -- how sure that is

    @checked
    def bootstrap(self, *, confidence: float = 0.95, resamples: int = 9999) -> tuple[float, float] | None:
        """An interval of `recovered` by the paired bootstrap (BCa), over references, or groups where there are any.

        None where `interval` is. Raises `DataError` for references that were drawn with `until`. Source: Efron 1987.
        """
        if self.stopping is not None:
            raise DataError(
                "the bootstrap is for a number of references that was fixed beforehand, and these were drawn with "
                "until=; the score's own interval stays valid, or score with references="
            )
        check_between("confidence", confidence, 0, 1, "0.95 for a 95% interval")
        if not 1 <= resamples <= MOST_RESAMPLES:
            raise DataError(f"resamples={resamples}, but there must be 1 to {MOST_RESAMPLES:,}")
        if self.recovered is None:
            return None
        kept, gap = self.by_reference.kept, self.by_reference.gap
        if self.clustering is not None:
            kept, gap = (np.bincount(np.unique(self.design.unit, return_inverse=True)[1], of) for of in (kept, gap))
        return bootstrapped_ratio(kept, gap, confidence=confidence, resamples=resamples, seed=self.seed)

    @checked
    def best_draws(self, *, cost_ratio: float = 1.0) -> float | None:
        """The `draws` per reference that give the narrowest interval for their cost; None after a single draw.

        `cost_ratio` is the cost of a reference in units of a draw. The result is infinite where references have equal
        losses.
        """
        check_between("cost_ratio", cost_ratio, 0, math.inf, "1 where a reference costs as much as one of its draws")
        if self.variance_between is None or self.variance_within is None:
            return None
        return best_draws(self.variance_between, self.variance_within, cost_ratio=cost_ratio)

    @property
    def cancellation(self) -> Cancellation | None:
        """Whether the mean loss is kept better than the losses of single references; None without a percentage."""
        if self.recovered is None:
            return None
        columns = {name: self.column(name) for name in ("original", "baseline", "scrubbed")} | self.compared()
        return compare_recoveries(self.by_reference, columns if self.compared() else {}, design=self.design)

    # -- where it was lost

    def strata(self, column: Any) -> "pd.DataFrame":
        """A table of the fraction recovered, with its interval, for each value of a column `[row]` of the data.

        Raises `DataError` for a column of the wrong length.
        """
        return strata(self, column)

    @checked
    def quantiles(self, *levels: float) -> "pd.DataFrame":
        """A table of quantiles of the loss that scrubbing adds to a reference, with 95% intervals.

        Raises `DataError` for levels that are not between 0 and 1.
        """
        return quantiles(self, levels or (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99))

    @checked
    def cvar(self, level: float = 0.95) -> Metric:
        """The mean loss that scrubbing adds to the worst references: those above the quantile `level`.

        Raises `DataError` for a level that is not between 0 and 1.
        """
        return tail_mean(self.by_reference, level, self.design)

    @checked
    def worst(self, n: int = 10) -> "pd.DataFrame":
        """A table of the `n` references whose loss scrubbing raised most, with their donors at every node."""
        if n < 1:
            raise DataError(f"n={n}, but at least one reference must be shown")
        return worst(self.by_reference, n, self._donors)

    # -- tests

    def __gt__(self, other: "Score") -> bool:
        """Whether this hypothesis recovers more: a paired t test on common references, one-sided at 2.5%.

        False where nothing was tested. Raises `DataError` for what is no score, or has no references in common.
        """
        return deciding.recovers_more(self, _only_scores(other))

    def __lt__(self, other: "Score") -> bool:
        return _only_scores(other) > self

    @checked
    def at_least(self, fraction: float, *, level: float = 0.05) -> AtLeast:
        """Whether at least this fraction is recovered: true by mistake in at most a share `level` of runs.

        True if the lower end of a one-sided interval reaches the fraction. False where nothing was tested, where the
        baseline does better than the network, and where the tail of the losses is too heavy for any honest bound.

        Raises `DataError` for what is no number.
        """
        return deciding.at_least(self, fraction, level)

    @checked
    def equals(self, other: "Score", *, within: float, level: float = 0.05) -> Equality:
        """Whether two hypotheses recover the same fraction, give or take `within`.

        It is true by mistake in at most a share `level` of runs: two one-sided tests of the difference of the
        fractions, mean(other - own)/mean(baseline - original), with Fieller's interval. False where nothing was tested.

        Raises `DataError` for a margin that is not above 0, and for scores without common references or baseline.
        """
        return deciding.equals(self, other, within, level)

    # -- in words

    @property
    def why_no_percentage(self) -> str | None:
        """Why there is no percentage, or no interval; None where both exist."""
        return wording.why_no_percentage(self)

    @property
    def why_too_few(self) -> str | None:
        """Why no interval would be honest; None where one is."""
        return wording.why_too_few(self)

    @property
    def why_uncounted(self) -> str | None:
        """Which donors the interval does not count; None where it counts all."""
        return wording.why_uncounted(self)

    @property
    def why_vacuous(self) -> str | None:
        """Why the percentage means nothing; None where something was tested."""
        return wording.why_vacuous(self)

    @property
    def why_reversed(self) -> str | None:
        """What the percentage means if the baseline does better than the network; None if it does not."""
        return wording.why_reversed(self)

    @property
    def why_cancelled(self) -> str | None:
        """Why the percentage is too high: losses cancel. None where they do not."""
        found = self.cancellation
        return str(found) if found is not None and found.flagged else None

    @property
    def why_too_good(self) -> str | None:
        """What more than 100% means; None where the interval contains 100% or less."""
        return wording.why_too_good(self)

    def __str__(self) -> str:
        return wording.in_words(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return displayed(self)

    def __eq__(self, other: object) -> bool:
        """Whether everything is equal but the donors."""
        return self.model_dump() == other.model_dump() if isinstance(other, Score) else NotImplemented


def _only_scores(other: Any) -> "Score":
    """Raise for a comparison of a score with anything else."""
    if not isinstance(other, Score):
        raise DataError(
            f"a score is compared with scores; write score.at_least({shown(other)}) for a test, or score.recovered for "
            f"the number alone"
        )
    return other
