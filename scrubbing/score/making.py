"""Make a score from measured losses."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from scrubbing.score.losses import Estimate, Losses, mean_metric
from scrubbing.score.pairing import rounding_of_means
from scrubbing.score.participation import Participation
from scrubbing.score.population import Population
from scrubbing.score.score import Score
from scrubbing.score.self_donors import hull, self_donors
from scrubbing.score.statistics import Column, Design, Ratio
from scrubbing.score.stopping import Stopping
from scrubbing.score.vacuity import Vacuity


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
    stopping: Stopping | None = None,
    notes: tuple[str, ...] = (),
    population: Population | None = None,
    donated: Participation | None = None,
    donated_baseline: Participation | None = None,
) -> Score:
    """Make a score from the losses of each reference; `precision` is the machine epsilon of the computation.

    `population` says what the losses estimate, `donated` which donors took part; without them references are taken as
    independent.
    """
    S, B = scrubbed.loss, baseline.loss
    gap = float(np.mean(B - original))
    nothing_to_recover = abs(gap) <= rounding_of_means(precision, original, B)
    design = None if population is None else population.design(rows)
    if stopping is not None:
        design = stopping.design(design or Design.independent(len(rows)))
    own, unexplained = donated or Participation(), donated_baseline or Participation()
    losses, before = own.column(S), unexplained.column(B)
    ratio = Ratio(before - losses, before - Column(original), design)
    itself = None
    if population is not None and stopping is None:
        itself = self_donors(own, rows, original, before, S, population)
    score = Score(
        name=name,
        recovered=None if nothing_to_recover else float(np.mean(B - S)) / gap,
        interval=None if nothing_to_recover else hull(ratio.interval(signed=False), itself),
        original=float(original.mean()),
        baseline=float(B.mean()),
        scrubbed=float(S.mean()),
        references=len(rows),
        draws=draws,
        seed=seed,
        settings={**settings, "interval": ratio.kind},
        readings={
            name: mean_metric(
                own.column(values, losses=name == "loss"),
                design,
                most=_most(values, {"absolute_change": baseline.change, **baseline.compared}.get(name)),
                share=name == "agreement",
            )
            for name, values in scrubbed.readings.items()
        },
        variance_between=None if math.isnan(scrubbed.between) else scrubbed.between,
        variance_within=None if math.isnan(scrubbed.within) else scrubbed.within,
        variance_within_baseline=None if math.isnan(baseline.within) else baseline.within,
        vacuity=vacuity,
        by_reference=_by_reference(rows, original, baseline, scrubbed),
        stopping=stopping,
        notes=notes,
        precision=precision,
        population=population,
        donated=donated,
        donated_baseline=donated_baseline,
    )
    score._donors.update(donors)
    return score


def _most(values: Float[np.ndarray, " reference"], baseline: Float[np.ndarray, " reference"] | None) -> float | None:
    """How large a reading of which nothing was seen may be: as the largest of the baseline's; None of losses."""
    return None if baseline is None else float(max(values.max(), baseline.max()))


def _by_reference(
    rows: Int[np.ndarray, "reference"], original: Float[np.ndarray, "reference"], baseline: Estimate, scrubbed: Estimate
) -> Losses:
    """The columns that losses have room for; `baseline_` begins the names of the baseline's readings."""
    compared = {"change": scrubbed.change, **scrubbed.compared}
    compared |= {f"baseline_{name}": of for name, of in {"change": baseline.change, **baseline.compared}.items()}
    columns = {"original": original, "baseline": baseline.loss, "scrubbed": scrubbed.loss, **compared}
    held = {name: tuple(of.tolist()) for name, of in columns.items() if name in Losses.model_fields}
    return Losses(reference=tuple(rows.tolist()), **held)
