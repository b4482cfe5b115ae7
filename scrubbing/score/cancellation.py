"""Cancellation: a wrong claim may raise some losses and lower others by as much, and keep the mean."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from pydantic import BaseModel, ConfigDict

from scrubbing.score.losses import Losses
from scrubbing.score.statistics import Column, Design, difference_of_ratios
from scrubbing.score.verdicts import interval_in_words, percent

READINGS = (("KL", "kl", "baseline_kl"), ("mean absolute change", "change", "baseline_change"))

MARGIN = 0.05  # a disagreement below this fraction of what there is to recover is of no consequence


class Cancellation(BaseModel):
    """How much more of the mean loss is recovered than of single losses.

    `by_loss` is the fraction recovered by the mean loss. `by_single` is that of a reading in which nothing cancels,
    1 - scrubbed/baseline: of the divergence from the network's own output where there is one (`reading` is "KL"), else
    of the mean absolute change of a reference's loss. Where a hypothesis keeps a share of the references, or of each
    reference's loss, and leaves the rest as the baseline does, the two agree. `interval` is the 95% interval of
    `difference`, by_loss - by_single. Both are ratios over the same references, so it is that of paired differences,
    linearised.
    """

    model_config = ConfigDict(frozen=True)

    reading: str
    by_loss: float
    by_single: float
    difference: float
    interval: tuple[float, float]

    @property
    def flagged(self) -> bool:
        """Whether losses cancel: the whole interval of the difference is above 5 percent of what can be recovered.

        One-sided at 2.5% where the true difference is 5%, and nearly never where there is none. (Every loss that moves
        at all makes a small difference, which many references make significant and nothing makes important.)
        """
        return self.interval[0] > MARGIN

    def __str__(self) -> str:
        verdict = "the mean loss is kept better than single losses are" if self.flagged else "losses do not cancel"
        return (
            f"{verdict}: {percent(self.by_loss)} recovered by the mean loss, "
            f"{percent(self.by_single)} by the {self.reading} "
            f"(difference {100 * self.difference:.1f} {interval_in_words(self.interval)})"
        )


def compare_recoveries(
    losses: Losses, columns: Mapping[str, Column] = MappingProxyType({}), *, design: Design | None = None
) -> Cancellation | None:
    """Compare recovery by the mean loss with recovery of single losses; None where one of them is unknown.

    `columns` has those of the losses by name, with what donors have to do with them, if that is known of all.
    """
    names = next((names for names in READINGS if all(losses.of(name) is not None for name in names[1:])), None)
    if names is None:
        return None
    reading, *of = names
    held = columns or {
        name: Column(np.array(getattr(losses, name))) for name in ("original", "baseline", "scrubbed", *of)
    }
    kept, gap = held["baseline"] - held["scrubbed"], held["baseline"] - held["original"]
    scrubbed, baseline = (held[name] for name in of)
    found = difference_of_ratios(kept, gap, baseline - scrubbed, baseline, design=design)
    if found is None:
        return None
    difference, *interval = found
    return Cancellation(
        reading=reading,
        by_loss=kept.mean() / gap.mean(),
        by_single=1 - scrubbed.mean() / baseline.mean(),
        difference=difference,
        interval=(interval[0], interval[1]),
    )
