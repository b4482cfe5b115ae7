"""The text's figures: each takes a table as a DataFrame and returns an Altair chart."""

from typing import TYPE_CHECKING, Any

from scrubbing.report.plots import imported_altair

if TYPE_CHECKING:
    import pandas as pd

SIDE = 320
POINTS = 5000  # of a scatter plot
GREY = "#8791a1"


def repair_by_layer(frame: "pd.DataFrame") -> Any:
    """Self-repair and the norm's part of it, by layer and ablation (figures 1 and 6)."""
    alt = imported_altair()
    parts = frame.melt(["layer", "ablation"], ["self_repair", "from_norm"], "part", "logits")
    chart = alt.Chart(parts).mark_line(point=True)
    return chart.encode(x="layer:O", y="logits:Q", color="ablation:N", column="part:N").properties(width=SIDE)


def effect_and_change(frame: "pd.DataFrame") -> Any:
    """Direct effect against change in logit (figures 2, 3 and 5): between y = -x and the axis lies what is repaired."""
    alt = imported_altair()
    effects = frame["direct_effect"].to_numpy()
    low, high = float(effects.min()), float(effects.max())
    by_layer = {"color": "layer:O"} if len(set(frame["layer"])) > 1 else {}
    points = (
        alt.Chart()
        .mark_circle(size=30, opacity=0.6)
        .encode(
            x=alt.X("direct_effect:Q", title="direct effect"),
            y=alt.Y("change_in_logit:Q", title="change in logit"),
            tooltip=[column for column in ("layer", "head", "direct_effect", "change_in_logit") if column in frame],
            **by_layer,
        )
    )
    ends = alt.Chart(alt.Data(values=[{"x": low, "y": -low}, {"x": high, "y": -high}]))
    line = ends.mark_line(strokeDash=[4, 4], color=GREY).encode(x="x:Q", y="y:Q")
    charts = [
        alt.layer(line, points, data=frame.query("ablation == @ablation").head(POINTS)).properties(
            width=SIDE, height=SIDE, title=str(ablation)
        )
        for ablation in dict.fromkeys(frame["ablation"])
    ]
    return alt.hconcat(*charts)


def shares_by_layer(frame: "pd.DataFrame") -> Any:
    """The share of the direct effect that the norm makes up for, cut and uncut, by layer (figures 10 and 11)."""
    alt = imported_altair()
    parts = frame.melt(["layer", "head", "ablation"], ["norm", "uncut_norm"], "share", "of the direct effect")
    chart = alt.Chart(parts).mark_circle()
    encoded = chart.encode(x="layer:O", y="of the direct effect:Q", color="ablation:N", column="share:N")
    return encoded.resolve_scale(y="independent").properties(width=SIDE)


def ratios(frame: "pd.DataFrame") -> Any:
    """How the ratio of the norm's sizes is distributed, with a line at one, for each head (figures 4, 16 to 18)."""
    alt = imported_altair()
    frame = frame.assign(name=frame["layer"].astype(str) + "." + frame["head"].astype(str))
    bars = (
        alt.Chart()
        .mark_bar(opacity=0.5)
        .encode(
            x=alt.X("low:Q", title="clean over ablated"),
            x2="high:Q",
            y=alt.Y("share:Q", stack=None),
            color="ablation:N",
        )
    )
    one = alt.Chart().mark_rule(color=GREY, strokeDash=[4, 4]).encode(x=alt.datum(1))
    shown = frame.query("share > 0").head(POINTS)
    return alt.layer(bars, one, data=shown).properties(width=160, height=100).facet("name:N", columns=4)


def frozen(frame: "pd.DataFrame") -> Any:
    """Self-repair with the norm as it is, against that with the norm frozen."""
    alt = imported_altair()
    chart = alt.Chart(frame).mark_circle(size=30)
    return chart.encode(x="self_repair:Q", y="frozen_self_repair:Q", color="ablation:N").properties(width=SIDE)


def repression(frame: "pd.DataFrame") -> Any:
    """The slope of new direct effects over old ones, by how much was added (figures 9 and 19); 1 is no change."""
    alt = imported_altair()
    frame = frame.assign(name=frame["layer"].astype(str) + "." + frame["head"].astype(str))
    chart = alt.Chart(frame).mark_line(point=True)
    return chart.encode(x="alpha:Q", y="slope:Q", color="name:N", column="added:N").properties(width=200)


def top_neurons(frame: "pd.DataFrame") -> Any:
    """The direct effect of the neuron that repairs most, before and after (figure 7)."""
    alt = imported_altair()
    points = alt.Chart(frame.head(POINTS)).mark_circle(size=30)
    scatter = points.encode(x="clean_effect:Q", y="ablated_effect:Q", color=alt.Color("layer_effect:Q"))
    counts = alt.Chart(frame.head(POINTS)).mark_bar().encode(x=alt.X("clean_effect:Q", bin=True), y="count()")
    return alt.vconcat(counts.properties(height=60, width=SIDE), scatter.properties(width=SIDE, height=SIDE))


def by_rank(frame: "pd.DataFrame") -> Any:
    """How often the N-th neuron repairs more than a share of the head's direct effect (figure 8)."""
    alt = imported_altair()
    lines = frame.melt("rank", var_name="threshold", value_name="share of tokens")
    return alt.Chart(lines).mark_line().encode(x="rank:Q", y="share of tokens:Q", color="threshold:N")


def cumulative(frame: "pd.DataFrame") -> Any:
    """The share of all absolute change up to a rank, coloured by the median direct effect (figures 12 to 15)."""
    alt = imported_altair()
    chart = alt.Chart(frame).mark_circle()
    return chart.encode(
        x="rank:Q", y="percent:Q", color=alt.Color("median_effect:Q", scale=alt.Scale(scheme="redblue"))
    )
