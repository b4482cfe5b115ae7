"""The figures of the text: behaviours as stacked bars, and what the row of each position is worth."""

from typing import TYPE_CHECKING, Any

from scrubbing.report.plots import stacked_bars, style

if TYPE_CHECKING:
    import pandas as pd


def proportions(table: "pd.DataFrame") -> Any:
    """Figure 1: for each destination a bar, in parts for the behaviours."""
    wide = table.pivot_table(index="destination", columns="behaviour", values="share", sort=False)
    return stacked_bars(wide, value="share of rows")


def sweep(table: "pd.DataFrame") -> Any:
    """For each family a line over the tokens of its first prompt."""
    import altair as alt

    lines = []
    for family, part in table.groupby("family", sort=False):
        ticks = [f"{position}: {token}" for position, token in zip(part["position"], part["token"], strict=True)]
        values = [{"token": tick, "change": change} for tick, change in zip(ticks, part["change"], strict=True)]
        base = alt.Chart(alt.Data(values=values), title=str(family)).mark_line(point=True)
        lines.append(
            base.encode(
                x=alt.X("token:O", sort=ticks, title=None, axis=alt.Axis(labelAngle=-90)),
                y=alt.Y("change:Q", title="points of probability"),
            ).properties(width=18 * len(ticks), height=160)
        )
    return alt.vconcat(*lines).configure(**style())
