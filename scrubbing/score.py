"""What comes back from a test: how much of the loss survived, how sure that is, and what it was measured on."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr
from torch import Tensor

from scrubbing.errors import DataError
from scrubbing.statistics import fieller, mean_interval, significantly_positive, two_level_variance
from scrubbing.vacuity import Vacuity

if TYPE_CHECKING:
    import pandas as pd


class Losses(BaseModel):
    """The losses of each reference: by the network, by the baseline, and scrubbed (the mean over its draws)."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    reference: tuple[int, ...]
    original: tuple[float, ...]
    baseline: tuple[float, ...]
    scrubbed: tuple[float, ...]


class Reading(BaseModel):
    """One way to read a scrubbed run: a mean over references with its 95% interval (None for a single reference)."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    value: float
    interval: tuple[float, float] | None


class Recalled(NamedTuple):
    """Where a score stands that was looked up rather than computed, and when it was computed (UTC)."""

    store: str
    id: int
    time: datetime


@dataclass(frozen=True)
class Estimate:
    """Scrubbed losses of the references: expected over draws of donors, or averaged over a sample of them.

    `change` is the mean absolute difference of a reference's scrubbed and original loss. The mean over n references of
    R draws each has variance between/n + within/(nR); `within` is NaN where there is a single draw to tell from.
    """

    loss: Float[np.ndarray, " reference"]
    change: Float[np.ndarray, " reference"]
    between: float
    within: float


def by_draw(loss: Tensor, draws: int) -> Float[np.ndarray, "reference draw"]:
    """Losses in the order of a sample's draws, a row for each reference."""
    return loss.double().numpy().reshape(-1, draws)


def sampled_estimate(
    losses: Float[np.ndarray, "reference draw"], original: Float[np.ndarray, " reference"]
) -> Estimate:
    """The estimate of a sample."""
    change = np.abs(losses - original[:, None]).mean(axis=1)
    return Estimate(losses.mean(axis=1), change, *two_level_variance(losses))


class Score(BaseModel):
    """How much of a network's loss survives a hypothesis.

    `recovered` is (baseline - scrubbed) / (baseline - original) as a fraction, `interval` its 95% interval (Fieller);
    both are None where the baseline's loss equals the original's, and the interval alone where the two do not differ
    significantly. Losses are means over references, in the unit of the network's own loss. `readings` has the mean loss
    ("loss") and the mean absolute change of each reference's loss ("absolute_change"), in which nothing cancels.
    The mean scrubbed loss of n references has variance `variance_between`/n + `variance_within`/(n draws); None where
    they cannot be told (one reference, or the sampled donors of a single draw).
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
    readings: dict[str, Reading] = Field(repr=False)
    variance_between: float | None = Field(repr=False)
    variance_within: float | None = Field(repr=False)
    vacuity: Vacuity = Field(repr=False)
    by_reference: Losses = Field(repr=False)
    _donors: dict[str, Int[np.ndarray, "draw *position"]] = PrivateAttr(default_factory=dict)
    _recalled: Recalled | None = PrivateAttr(default=None)

    @property
    def recalled(self) -> Recalled | None:
        """Where the score was found, if an identical run was in the store; None for one that was computed."""
        return self._recalled

    @property
    def losses(self) -> "pd.DataFrame":
        """One row per reference: its row in the dataset, and its loss original, baseline and scrubbed."""
        import pandas as pd  # takes a second that most runs need not pay

        return pd.DataFrame(self.by_reference.model_dump())

    @property
    def donors(self) -> dict[str, Int[np.ndarray, "draw *position"]]:
        """The row that stood in at every node, by the node's path in I ("other" for what it leaves unclaimed)."""
        return self._donors

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
            return "nothing was tested: no donor could differ from its reference, so 100% is recovered by construction"
        return None

    def __str__(self) -> str:
        losses = f"loss {self.scrubbed:.3f}, original {self.original:.3f}, baseline {self.baseline:.3f}"
        parts = [percentage(self), f"{losses}, {self.references} references"]
        parts += [f"({remark})" for remark in (self.why_no_percentage, self.why_vacuous) if remark]
        parts += [f"(recorded {self.recalled.time:%Y-%m-%d %H:%M} UTC)"] if self.recalled else []
        return "   ".join(parts)

    def __eq__(self, other: object) -> bool:
        """Whether all that goes to JSON is equal; the donors, which do not, are left out."""
        return self.model_dump() == other.model_dump() if isinstance(other, Score) else NotImplemented

    def __gt__(self, other: "Score") -> bool:
        """Whether this hypothesis recovers more: a paired t test on common references, one-sided at 2.5%."""
        return significantly_positive(_paired_advantage(self, other))

    def __lt__(self, other: "Score") -> bool:
        return other > self


def percentage(score: Score, digits: int = 1) -> str:
    """A score in words: "35.2% recovered [33.1, 37.2]"."""
    if score.recovered is None:
        return "nothing to recover"
    shown = f"{_rounded(score.recovered, digits)}% recovered"
    if score.interval is None:
        return f"{shown} [unbounded]"
    low, high = (_rounded(bound, digits) for bound in score.interval)
    return f"{shown} [{low}, {high}]"


def _rounded(fraction: float, digits: int) -> str:
    return f"{round(100 * fraction, digits) + 0.0:.{digits}f}"  # + 0.0 turns -0.0 into 0.0


def _paired_advantage(score: Score, other: Score) -> Float[np.ndarray, "reference"]:
    mine, theirs = score.by_reference, other.by_reference
    if mine.reference != theirs.reference or score.seed != other.seed:
        raise DataError(
            f"only scores on the same references and seed can be compared; these have {score.references} references "
            f"with seed {score.seed} and {other.references} with seed {other.seed}: score both in one call of scrub"
        )
    return np.array(theirs.scrubbed) - np.array(mine.scrubbed)


def _reading(values: Float[np.ndarray, " reference"]) -> Reading:
    return Reading(value=float(values.mean()), interval=mean_interval(values))


def make_score(
    *,
    name: str | None,
    rows: Int[np.ndarray, "reference"],
    original: Float[np.ndarray, "reference"],
    baseline: Estimate,
    scrubbed: Estimate,
    precision: float,
    draws: int,
    seed: int,
    settings: dict[str, Any],
    vacuity: Vacuity,
    donors: dict[str, np.ndarray],
) -> Score:
    """A score from per-reference losses; `precision` is the machine epsilon that they were computed with."""
    S, B = scrubbed.loss, baseline.loss
    gap = float(np.mean(B - original))
    # Rounding errors of a forward pass are a few hundred epsilon; a gap below eps^(3/4) cannot be told from none.
    nothing_to_recover = abs(gap) <= precision**0.75 * float(np.mean(np.abs(original)) + np.mean(np.abs(B)))
    score = Score(
        name=name,
        recovered=None if nothing_to_recover else float(np.mean(B - S)) / gap,
        interval=None if nothing_to_recover else fieller(B - S, B - original),
        original=float(original.mean()),
        baseline=float(B.mean()),
        scrubbed=float(S.mean()),
        references=len(rows),
        draws=draws,
        seed=seed,
        settings=settings,
        readings={"loss": _reading(S), "absolute_change": _reading(scrubbed.change)},
        variance_between=None if math.isnan(scrubbed.between) else scrubbed.between,
        variance_within=None if math.isnan(scrubbed.within) else scrubbed.within,
        vacuity=vacuity,
        by_reference=Losses(
            reference=tuple(rows.tolist()),
            original=tuple(original.tolist()),
            baseline=tuple(B.tolist()),
            scrubbed=tuple(S.tolist()),
        ),
    )
    score._donors.update(donors)
    return score


def recalled(score: Score, name: Any, donors: dict[str, np.ndarray]) -> Score:
    """A recorded score as the answer to a new call: by the name that it is asked for by, and with its donors."""
    again = score.model_copy(update={"name": name if isinstance(name, str) else None})
    again._donors.update(donors)
    return again
