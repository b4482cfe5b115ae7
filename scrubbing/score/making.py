"""A score from what was measured."""

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
    kl: Float[np.ndarray, "reference"] | None = None,
    baseline_kl: Float[np.ndarray, "reference"] | None = None,
    agreement: Float[np.ndarray, "reference"] | None = None,
    stopping: Stopping | None = None,
) -> Score:
    """A score from per-reference losses; `precision` is the machine epsilon that they were computed with.

    `kl`, `baseline_kl` and `agreement` are means over a reference's draws (see `Losses`), where they were measured.
    """
    S, B = scrubbed.loss, baseline.loss
    gap = float(np.mean(B - original))
    nothing_to_recover = abs(gap) <= rounding_of_means(precision, original, B)
    columns = {
        "original": original,
        "baseline": B,
        "scrubbed": S,
        "change": scrubbed.change,
        "baseline_change": baseline.change,
        "kl": kl,
        "baseline_kl": baseline_kl,
        "agreement": agreement,
    }
    read = {"loss": S, "absolute_change": scrubbed.change, "kl": kl, "agreement": agreement}
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
        readings={reading: mean_metric(values) for reading, values in read.items() if values is not None},
        variance_between=None if math.isnan(scrubbed.between) else scrubbed.between,
        variance_within=None if math.isnan(scrubbed.within) else scrubbed.within,
        variance_within_baseline=None if math.isnan(baseline.within) else baseline.within,
        vacuity=vacuity,
        by_reference=Losses(
            reference=tuple(rows.tolist()),
            **{column: tuple(values.tolist()) for column, values in columns.items() if values is not None},
        ),
        stopping=stopping,
        precision=precision,
    )
    score._donors.update(donors)
    return score
