"""What a run measured: the losses of each reference, what these share, and what they are taken to estimate."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from scrubbing.score.losses import Losses, Metric
from scrubbing.score.participation import Participation
from scrubbing.score.population import Population
from scrubbing.score.recalling import Recalled
from scrubbing.score.self_donors import SelfDonors, self_donors
from scrubbing.score.statistics import Clustering, Column, Design, clustering, moments, neighbours_correlate, reach
from scrubbing.score.stopping import Stopping
from scrubbing.score.vacuity import Vacuity

if TYPE_CHECKING:
    import pandas as pd


class Measured(BaseModel):
    """What a run measured, which a score tests and prints; `Score` says what the fields are."""

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
    population: Population | None = Field(default=None, repr=False)
    donated: Participation | None = Field(default=None, repr=False)
    donated_baseline: Participation | None = Field(default=None, repr=False)
    notes: tuple[str, ...] = Field(default=(), repr=False)
    precision: float = Field(default=float(np.finfo(np.float64).eps), repr=False)
    _donors: dict[str, Int[np.ndarray, "draw *position"]] = PrivateAttr(default_factory=dict)
    _recalled: Recalled | None = PrivateAttr(default=None)
    _columns: dict[str, Column] = PrivateAttr(default_factory=dict)

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
        if self.population is None:
            return math.sqrt((self.variance_between + (self.variance_within or 0.0) / self.draws) / self.references)
        return math.sqrt(moments([self.column("scrubbed")], self.design).variance([1.0]))

    @property
    def estimand(self) -> str:
        """What the mean losses estimate: a mean over the dataset, or over the source that the data come from."""
        return self.estimates.in_words

    @property
    def design(self) -> Design:
        """What the references share: rows, groups, or nothing."""
        if self.population is None:
            design = Design.independent(self.references)
        else:
            design = self.population.design(np.array(self.by_reference.reference))
        return design if self.stopping is None else self.stopping.design(design)

    @property
    def clustering(self) -> Clustering | None:
        """How much the references of a group are alike, and what that does to the interval; None without groups."""
        if self.population is None or self.population.groups is None or self.population.estimand == "dataset":
            return None
        return clustering(self.column("kept"), self.column("gap"), self.design)

    @property
    def self_donors(self) -> SelfDonors | None:
        """What is recovered without the draws in which a datum stands in for itself; None where these are few."""
        return self.self_donors_at(0.95)

    def self_donors_at(self, confidence: float) -> SelfDonors | None:
        """The same, with an interval of this confidence."""
        if self.population is None or self.donated is None or self.recovered is None or self.stopping is not None:
            return None
        held = self.by_reference
        rows, original, scrubbed = np.array(held.reference), np.array(held.original), np.array(held.scrubbed)
        return self_donors(
            self.donated, rows, original, self.column("baseline"), scrubbed, self.population, confidence=confidence
        )

    @property
    def correlation_of_neighbours(self) -> float | None:
        """How losses correlate from one row to the next, if they do; None where groups are given or none are needed."""
        rows = np.array(self.by_reference.reference)
        grouped = self.population is None or self.population.groups is not None or self.population.estimand == "dataset"
        if self.recovered is None or grouped or not (np.diff(rows) > 0).all():
            return None
        return neighbours_correlate(self.by_reference.kept - self.recovered * self.by_reference.gap)

    @property
    def reach(self) -> float:
        """How much the loss of a reference may move of which none was seen: four times what there is to recover."""
        return reach(self.column("gap").values)

    @property
    def estimates(self) -> Population:
        """What the losses of the references are taken to estimate."""
        drawn = self.settings.get("references") == "drawn"
        return self.population or Population(estimand="dataset" if drawn else "source", rows=0, drawn=drawn)

    def column(self, name: str, places: Int[np.ndarray, " some"] | None = None) -> Column:
        """The losses "original", "baseline" or "scrubbed", or "kept" or "gap", with the parts that donors have.

        With `places`, of these references alone.
        """
        if places is not None:
            return self._column(name, places)
        if name not in self._columns:
            self._columns[name] = self._column(name, None)
        return self._columns[name]

    def compared(self) -> dict[str, Column]:
        """Readings that compare with the network, with the parts of donors: known for one draw of each reference."""
        own, before = self.donated, self.donated_baseline
        if own is None or before is None or own.exact or own.draws > 1:
            return {}
        runs = {"change": own, "kl": own, "baseline_change": before, "baseline_kl": before}
        read = {name: (run, self.by_reference.of(name)) for name, run in runs.items()}
        return {name: run.column(of, losses=False) for name, (run, of) in read.items() if of is not None}

    def _column(self, name: str, places: Int[np.ndarray, " some"] | None) -> Column:
        match name:
            case "kept":
                return self.column("baseline", places) - self.column("scrubbed", places)
            case "gap":
                return self.column("baseline", places) - self.column("original", places)
        values = np.array(getattr(self.by_reference, name))
        run = {"scrubbed": self.donated, "baseline": self.donated_baseline}.get(name) or Participation()
        return run.column(values, places=places)
