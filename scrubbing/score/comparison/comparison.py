"""An order with ties, and the paired differences that it rests on."""

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field
from rich.console import RenderableType

from scrubbing.errors import DataError, nearest
from scrubbing.score.comparison.table import comparison_table
from scrubbing.score.tables import Printed
from scrubbing.score.verdicts import interval_in_words, percent

if TYPE_CHECKING:
    import pandas as pd

Correction = Literal["holm", "benjamini-hochberg", "max-t"]
AtOnce = Literal["pairs", "best"]


class Difference(BaseModel):
    """By how much more the first hypothesis recovers than the second.

    `difference` and `interval` are fractions of what there is to recover, or losses where `Comparison.unit` says so;
    the 95% interval is for this pair alone, unless `Comparison.simultaneous` is "pairs". `p` is of the paired test that
    there is no difference, `corrected` after the correction for the number of tests.
    """

    model_config = ConfigDict(frozen=True)

    first: str
    second: str
    difference: float
    interval: tuple[float, float] | None
    p: float
    corrected: float

    @property
    def reversed(self) -> "Difference":
        """The same, seen from the second."""
        interval = None if self.interval is None else (0.0 - self.interval[1], 0.0 - self.interval[0])
        changed = {"first": self.second, "second": self.first, "difference": 0.0 - self.difference}
        return self.model_copy(update={**changed, "interval": interval})


class Standing(BaseModel):
    """A hypothesis among those that it is compared with, the best first.

    `rank` is the best and the worst rank that the tests leave open: one more than the number of hypotheses shown to be
    better, and the number of all less those shown to be worse. Hypotheses share a letter of `ties` if and only if the
    test finds no difference between them. A new `tier` (1, 2, ...) begins where all hypotheses above are shown to be
    better than all below. None where not all pairs were tested.

    With `simultaneous` the 95% `interval` holds for all hypotheses at once. With "best" so does `behind`, how far the
    hypothesis is behind the best of the others (negative where it is ahead), and `may_be_best` says whether it may be.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    recovered: float | None
    interval: tuple[float, float] | None
    scrubbed: float
    rank: tuple[int, int] | None = None
    ties: str | None = None
    tier: int | None = None
    behind: tuple[float, float] | None = None
    may_be_best: bool | None = None


class HeldOut(BaseModel):
    """The hypothesis that is best on some of the references, on the others: its interval knows of no choice."""

    model_config = ConfigDict(frozen=True)

    name: str
    recovered: float | None
    interval: tuple[float, float] | None
    references: int

    def __str__(self) -> str:
        if self.recovered is None:
            return f"best on the other references: {self.name}; nothing to recover on {self.references:,} held out"
        return (
            f"best on the other references: {self.name}, on {self.references:,} held out {percent(self.recovered)} "
            f"recovered {interval_in_words(self.interval)}"
        )


class Comparison(Printed, BaseModel):
    """Several hypotheses on common references: an order with ties, and the paired differences that it rests on."""

    model_config = ConfigDict(frozen=True)

    standings: tuple[Standing, ...]
    differences: tuple[Difference, ...] = Field(repr=False)
    against: str | None
    unit: Literal["fraction recovered", "loss"]
    correction: Correction
    test: Literal["t", "sign-flip"] = "t"
    simultaneous: AtOnce | None = None
    tests: int
    tried: int
    level: float
    references: int
    seed: int
    estimand: str
    remarks: tuple[str, ...] = ()
    held_out: HeldOut | None = None

    def __getitem__(self, pair: tuple[str, str]) -> Difference:
        """By how much more the first recovers than the second: `comparison["refined 1", "naive"]`."""
        first, second = pair
        for found in self.differences:
            if (found.first, found.second) == (first, second):
                return found
            if (found.first, found.second) == (second, first):
                return found.reversed
        names = [standing.name for standing in self.standings]
        for name in pair:
            if name not in names:
                raise DataError(f"no hypothesis {name!r} was compared{nearest(name, names)}")
        raise DataError(f"{first!r} and {second!r} were not compared; leave out against= to compare all pairs")

    @property
    def order(self) -> tuple[tuple[str, ...], ...]:
        """The hypotheses by tier, the best first: each is shown to recover more than each of the tiers after its own.

        Within a tier some pairs may differ significantly, since that is not transitive; `ties` shows them.
        """
        named: dict[int | None, tuple[str, ...]] = {}
        for standing in self.standings:
            named[standing.tier] = (*named.get(standing.tier, ()), standing.name)
        return tuple(named.values())

    @property
    def may_be_best(self) -> tuple[str, ...]:
        """The hypotheses that may be the best, with 95% confidence; none without `simultaneous="best"`."""
        return tuple(standing.name for standing in self.standings if standing.may_be_best)

    @property
    def table(self) -> "pd.DataFrame":
        """One row per hypothesis, the best first."""
        import pandas as pd  # takes a second that most runs need not pay

        return pd.DataFrame([standing.model_dump() for standing in self.standings])

    @property
    def pairs(self) -> "pd.DataFrame":
        """One row per pair that was tested."""
        import pandas as pd

        columns = list(Difference.model_fields)
        return pd.DataFrame([difference.model_dump() for difference in self.differences], columns=columns)

    def __rich__(self) -> RenderableType:
        return comparison_table(self)
