"""Where the loss was added: by strata of the data, in the tails, and at single references. Tables are DataFrames."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from scrubbing.errors import DataError
from scrubbing.score.losses import Losses, Metric
from scrubbing.score.statistics import Design, conditional_value_at_risk, interval_of_ratio, quantile

if TYPE_CHECKING:
    import pandas as pd

    from scrubbing.score.score import Score


def strata(score: "Score", column: Any) -> "pd.DataFrame":
    """The fraction recovered, with its interval, and mean losses for each value of a column of the data."""
    import pandas as pd

    held = column.cpu().numpy() if isinstance(column, Tensor) else column
    try:
        shape = np.asarray(held).shape
    except ValueError:  # of lists of several lengths
        shape = ()
    values = pd.Series(held if len(shape) == 1 else [], name=getattr(held, "name", None) or "stratum")
    rows = np.array(score.by_reference.reference)
    if len(values) <= rows.max():
        raise DataError(
            f"strata needs one value for each row of the data, and got an array of shape {list(shape)}; "
            f"the references go up to row {rows.max()}"
        )
    groups = list(pd.Series(range(len(rows))).groupby(values.iloc[rows].set_axis(range(len(rows))), observed=True))
    return pd.DataFrame(
        [_stratum(score, places.to_numpy()) for _, places in groups],
        index=pd.Index([v for v, _ in groups], name=values.name),
    )


def _stratum(score: "Score", places: np.ndarray) -> dict[str, Any]:
    kept, gap = score.column("kept", places), score.column("gap", places)
    original, baseline, scrubbed = (
        np.array(getattr(score.by_reference, name))[places] for name in ("original", "baseline", "scrubbed")
    )
    interval = interval_of_ratio(kept, gap, design=score.design.part(places), signed=False) or (np.nan, np.nan)
    return {
        "references": len(places),
        "recovered": kept.mean() / gap.mean() if gap.mean() else np.nan,
        "low": interval[0],
        "high": interval[1],
        "scrubbed": scrubbed.mean(),
        "original": original.mean(),
        "baseline": baseline.mean(),
    }


def quantiles(score: "Score", levels: Sequence[float]) -> "pd.DataFrame":
    """Quantiles of the loss that scrubbing adds to a reference, with 95% intervals."""
    import pandas as pd

    wrong = [level for level in levels if not 0 < level < 1]
    if wrong:
        raise DataError(f"{wrong[0]} is no level of a quantile; give one between 0 and 1, such as 0.95")
    found = [quantile(score.by_reference.lost, level, looked=score.stopping is not None) for level in levels]
    rows = [(value, *(interval or (np.nan, np.nan))) for value, interval in found]
    return pd.DataFrame(rows, columns=["added", "low", "high"], index=pd.Index(levels, name="quantile"))


def tail_mean(losses: Losses, level: float, design: Design | None = None) -> Metric:
    """The mean loss added to the worst references, those above the quantile `level`: CVaR."""
    if not 0 <= level < 1:
        raise DataError(f"{level} is no level of a tail; 0.95 is the mean over the worst 5% of the references")
    value, interval = conditional_value_at_risk(losses.lost, level, design=design)
    return Metric(value=value, interval=interval)


def worst(losses: Losses, n: int, donors: Mapping[str, np.ndarray]) -> "pd.DataFrame":
    """The references whose loss scrubbing raised most, with their donors at every node."""
    table = losses.table
    table.insert(4, "added", losses.lost)
    chosen = np.argsort(-losses.lost, kind="stable")[:n]
    found = table.iloc[chosen].copy()
    for path, rows in donors.items():
        per_reference = rows.reshape(len(table), -1, *rows.shape[1:])[chosen]  # [reference, draw, *position]
        found[path] = [row.squeeze(0).tolist() if len(row) == 1 else row.tolist() for row in per_reference]
    return found.reset_index(drop=True)
