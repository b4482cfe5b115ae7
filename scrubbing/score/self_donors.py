"""Datums that stand in for themselves: how often, and what is recovered without them.

A class of m members draws the datum itself 1/m of the time, and for the source of the data, where classes have no end,
never. Wherever classes are small, the fraction recovered is then too high. A draw in which no donor is the datum that
it stands in for counts m/(m - 1) times for each of its classes; a reference that is alone in a class has no such draw.
"""

import numpy as np
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict

from scrubbing.score.participation import Participation
from scrubbing.score.population import Population, unpacked
from scrubbing.score.statistics import Column, interval_of_ratio
from scrubbing.score.verdicts import interval_in_words, percent

WORTH_SAYING = 0.02  # of all draws


class SelfDonors(BaseModel):
    """How much of a result rests on datums that stood in for themselves.

    `share` is that of draws with such a donor; `recovered` and `interval` are of the other draws alone, for the
    references that something could replace (None where there are none). `irreplaceable` is the share of what there is
    to recover that rests on the other references: those alone in a class.
    """

    model_config = ConfigDict(frozen=True)

    share: float
    irreplaceable: float
    recovered: float | None
    interval: tuple[float, float] | None

    def __str__(self) -> str:
        parts = [f"in {percent(self.share, 0)} of draws a datum stands in for itself"]
        if self.recovered is not None:
            parts.append(f"without them {percent(self.recovered)} {interval_in_words(self.interval)} is recovered")
        if self.irreplaceable >= WORTH_SAYING:
            parts.append(
                f"{percent(self.irreplaceable, 0)} of what there is to recover rests on references that nothing "
                f"could replace"
            )
        return "; ".join(parts)


def self_donors(
    taken: Participation,
    references: Int[np.ndarray, " reference"],
    original: Float[np.ndarray, " reference"],
    baseline: Column,
    scrubbed: Float[np.ndarray, " reference"],
    population: Population,
    *,
    confidence: float = 0.95,
) -> SelfDonors | None:
    """What is recovered without self-donors; None where they are too few to matter, or not known."""
    if not taken.donors or population.estimand != "source":
        return None
    losses = scrubbed[:, None] if taken.losses is None else unpacked(taken.losses).reshape(len(scrubbed), taken.draws)
    rows = [unpacked(text).reshape(losses.shape) for text in taken.donors]
    weight, itself, alone = np.ones(losses.shape), np.zeros(losses.shape, bool), np.zeros(losses.shape, bool)
    for donor, which, parent in zip(rows, taken.which, taken.parents, strict=True):
        own = np.broadcast_to(references[:, None], losses.shape) if parent < 0 else rows[parent]
        ids = unpacked(taken.classes[which])
        size = np.bincount(ids)[ids[own]]
        same = donor == own
        alone |= size == 1
        itself |= same
        weight *= np.where(same & (size > 1), 0.0, size / np.maximum(size - 1, 1))
    share = float(itself.mean())
    if share < WORTH_SAYING:
        return None
    gap = baseline - Column(original)
    weight = np.where(alone, 0.0, weight)
    irreplaceable = float((alone.mean(1) * gap.values).mean() / gap.mean()) if gap.mean() else 0.0
    found, interval = None, None
    if (weight.sum(1) > 0).sum() > 1 and gap.mean():
        means = weight.mean(1)
        lost = taken.column_of(weight * (losses - original[:, None]))
        left = _scaled(gap, means)
        if left.mean():
            found = 1 - lost.mean() / left.mean()
            interval = interval_of_ratio(
                left - lost, left, confidence=confidence, design=population.design(references), signed=False
            )
    return SelfDonors(share=share, irreplaceable=irreplaceable, recovered=found, interval=interval)


def _scaled(column: Column, by: Float[np.ndarray, " reference"]) -> Column:
    """A column with the values of each reference scaled."""
    weight = None if column.weight is None else column.weight * by[:, None]
    return Column(column.values * by, column.row, weight, column.which, column.classes)


def hull(interval: tuple[float, float] | None, found: SelfDonors | None) -> tuple[float, float] | None:
    """The interval, and what is recovered without self-donors."""
    if interval is None or found is None or found.interval is None:
        return interval
    return min(interval[0], found.interval[0]), max(interval[1], found.interval[1])
