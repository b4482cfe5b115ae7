"""Make a score from measured losses."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from scrubbing.score.losses import Estimate, Losses, mean_metric
from scrubbing.score.pairing import rounding_of_means
from scrubbing.score.score import Score
from scrubbing.score.stopping import Stopping, fraction_interval
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
) -> Score:
    """Make a score from the losses of each reference; `precision` is the machine epsilon of the computation."""
    S, B = scrubbed.loss, baseline.loss
    gap = float(np.mean(B - original))
    nothing_to_recover = abs(gap) <= rounding_of_means(precision, original, B)
    kind = "Fieller" if stopping is None else "asymptotic confidence sequence, valid however often one looks"
    score = Score(
        name=name,
        recovered=None if nothing_to_recover else float(np.mean(B - S)) / gap,
        interval=None if nothing_to_recover else fraction_interval(B - S, B - original, stopping),
        original=float(original.mean()),
        baseline=float(B.mean()),
        scrubbed=float(S.mean()),
        references=len(rows),
        draws=draws,
        seed=seed,
        settings={**settings, "interval": kind},
        readings={name: mean_metric(values) for name, values in scrubbed.readings.items()},
        variance_between=None if math.isnan(scrubbed.between) else scrubbed.between,
        variance_within=None if math.isnan(scrubbed.within) else scrubbed.within,
        variance_within_baseline=None if math.isnan(baseline.within) else baseline.within,
        vacuity=vacuity,
        by_reference=_by_reference(rows, original, baseline, scrubbed),
        stopping=stopping,
        notes=notes,
        precision=precision,
    )
    score._donors.update(donors)
    return score


def _by_reference(
    rows: Int[np.ndarray, "reference"], original: Float[np.ndarray, "reference"], baseline: Estimate, scrubbed: Estimate
) -> Losses:
    """The columns that losses have room for; `baseline_` begins the names of the baseline's readings."""
    compared = {"change": scrubbed.change, **scrubbed.compared}
    compared |= {f"baseline_{name}": of for name, of in {"change": baseline.change, **baseline.compared}.items()}
    columns = {"original": original, "baseline": baseline.loss, "scrubbed": scrubbed.loss, **compared}
    held = {name: tuple(of.tolist()) for name, of in columns.items() if name in Losses.model_fields}
    return Losses(reference=tuple(rows.tolist()), **held)
