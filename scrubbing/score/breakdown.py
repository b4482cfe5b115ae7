"""Where the loss was added: by strata of the data, in the tails, and at single references. Tables are DataFrames."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from scrubbing.errors import DataError
from scrubbing.score.losses import Losses, Metric
from scrubbing.score.statistics import conditional_value_at_risk, fieller, quantile

if TYPE_CHECKING:
    import pandas as pd


def strata(losses: Losses, column: Any) -> "pd.DataFrame":
    """The fraction recovered, with its interval, and mean losses for each value of a column of the data."""
    import pandas as pd

    held = column.cpu().numpy() if isinstance(column, Tensor) else column
    values = pd.Series(held if np.ndim(held) == 1 else [], name=getattr(held, "name", None) or "stratum")
    rows = np.array(losses.reference)
    if len(values) <= rows.max():
        raise DataError(
            f"strata needs one value for each row of the data, and got an array of shape {list(np.shape(held))}; "
            f"the references go up to row {rows.max()}"
        )
    groups = list(losses.table.groupby(values.iloc[rows].set_axis(range(len(rows))), observed=True))
    return pd.DataFrame(
        [_stratum(table) for _, table in groups], index=pd.Index([v for v, _ in groups], name=values.name)
    )


def _stratum(table: "pd.DataFrame") -> dict[str, Any]:
    original, baseline, scrubbed = (table[name].to_numpy() for name in ("original", "baseline", "scrubbed"))
    interval = fieller(baseline - scrubbed, baseline - original) or (np.nan, np.nan)
    gap = float(np.mean(baseline - original))
    return {
        "references": len(table),
        "recovered": float(np.mean(baseline - scrubbed)) / gap if gap else np.nan,
        "low": interval[0],
        "high": interval[1],
        "scrubbed": scrubbed.mean(),
        "original": original.mean(),
        "baseline": baseline.mean(),
    }


def quantiles(losses: Losses, levels: Sequence[float]) -> "pd.DataFrame":
    """Quantiles of the loss that scrubbing adds to a reference, with 95% intervals."""
    import pandas as pd

    wrong = [level for level in levels if not 0 < level < 1]
    if wrong:
        raise DataError(f"{wrong[0]} is no level of a quantile; give one between 0 and 1, such as 0.95")
    found = [quantile(losses.lost, level) for level in levels]
    rows = [(value, *(interval or (np.nan, np.nan))) for value, interval in found]
    return pd.DataFrame(rows, columns=["added", "low", "high"], index=pd.Index(levels, name="quantile"))


def tail_mean(losses: Losses, level: float) -> Metric:
    """The mean loss added to the worst references, those above the quantile `level`: CVaR."""
    if not 0 <= level < 1:
        raise DataError(f"{level} is no level of a tail; 0.95 is the mean over the worst 5% of the references")
    value, interval = conditional_value_at_risk(losses.lost, level)
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
