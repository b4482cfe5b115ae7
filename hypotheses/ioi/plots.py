"""The plots of the text, of the tables of the study."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from scrubbing.report.plots import heat_map, scatter, style

if TYPE_CHECKING:
    import pandas as pd

Chart = Any  # of altair, which is an extra


def _by_head(frame: "pd.DataFrame", column: str) -> Float[np.ndarray, "layer head"]:
    return frame.pivot_table(index="layer", columns="head", values=column).to_numpy()


def direct_effects(frame: "pd.DataFrame") -> Chart:
    """Three heat maps, before, after and the change; and before against after with the line y = x."""
    frame = frame.assign(change=frame["ablated"] - frame["clean"])
    titles = {"clean": "no ablation", "ablated": "the top name mover is ablated", "change": "change"}
    maps = [heat_map(_by_head(frame, column), title=title, value="logits") for column, title in titles.items()]
    heads = frame.assign(head=frame["layer"].astype(str) + "." + frame["head"].astype(str))
    points = scatter(heads.drop(columns=["layer", "change"]), "ablated", "clean", title="direct effects of heads")
    return _column(_row(*maps), points)


def norm_sizes(frame: "pd.DataFrame") -> Chart:
    """The final norm's size, before against after, with the line y = x."""
    ratio = (frame["clean"] / frame["ablated"]).mean()
    return scatter(frame, "clean", "ablated", title=f"size of the final norm; before over after {ratio:.4f}")


def scores(frame: "pd.DataFrame") -> Chart:
    """Three heat maps: duplicate-token, previous-token and induction scores."""
    kinds = ("duplicate", "previous", "induction")
    return _row(*(heat_map(_by_head(frame, kind), title=kind, value="attention", middle=None) for kind in kinds))


def path_patching(frame: "pd.DataFrame") -> Chart:
    """A heat map in percent for each input that receives, by the head that sends."""
    alone = frame[~frame["senders"].str.contains(" ")].assign(percent=100 * frame["change"])
    places = alone["senders"].str.split(".", expand=True).astype(int)
    receivers = (alone["receivers"] + " " + alone["input"]).str.replace("logits logits", "logits")
    alone = alone.assign(layer=places[0], head=places[1], to=receivers)
    maps = [
        heat_map(_by_head(some, "percent"), title=f"to {title}", value="%")
        for title, some in alone.groupby("to", sort=False)
        if len(some) > 2
    ]
    return _column(*maps)


def signals(frame: "pd.DataFrame") -> Chart:
    """The 3 x 2 tables: token signal down, position signal across, a facet for each set of heads."""
    import altair as alt

    order = ["original", "random", "inverted"]
    x, y = alt.X("position:N", sort=order), alt.Y("token:N", sort=order)
    cells = (
        alt.Chart()
        .mark_rect()
        .encode(x, y, alt.Color("logit_difference:Q", scale=alt.Scale(scheme="redblue", domainMid=0), title="logits"))
    )
    text = alt.Chart().mark_text().encode(x, y, alt.Text("logit_difference:Q", format=".2f"))
    facets = alt.layer(cells, text, data=_values(frame)).facet("heads:N", columns=3)
    return facets.configure(**style())


def minimality(frame: "pd.DataFrame") -> Chart:
    """A bar for each place of the circuit: what it changes, as a share of F(M), with its interval."""
    import altair as alt

    some = frame.loc[frame["criterion"].str.startswith("minimality")]
    bars = (
        alt.Chart()
        .mark_bar()
        .encode(
            x=alt.X("value:Q", title="change, as a share of the whole network's"),
            y=alt.Y("nodes:N", sort=None, title=None),
        )
    )
    ranges = alt.Chart().mark_rule().encode(x="low:Q", x2="high:Q", y=alt.Y("nodes:N", sort=None))
    return alt.layer(bars, ranges, data=_values(some)).facet(row="criterion:N").configure(**style())


def completeness(frame: "pd.DataFrame") -> Chart:
    """F of the circuit against F of the network without the same places, with the line y = x."""
    return scatter(frame, "network_without", "circuit_without", by="circuit", title="F without the same places")


def repeated(frame: "pd.DataFrame") -> Chart:
    """The pattern of each head on repeated tokens."""
    import altair as alt

    chart = (
        alt.Chart(_values(frame))
        .mark_rect()
        .encode(alt.X("key:O"), alt.Y("query:O"), alt.Color("attention:Q", scale=alt.Scale(scheme="blues")))
    )
    return chart.facet("head:N").configure(**style())


def _values(frame: "pd.DataFrame") -> Any:
    import altair as alt

    return alt.Data(values=frame.to_dict("records"))


def _row(*charts: Chart) -> Chart:
    return _joined("hconcat", charts)


def _column(*charts: Chart) -> Chart:
    return _joined("vconcat", charts)


def _joined(how: str, charts: Sequence[Chart]) -> Chart:
    """Several charts beside or below each other; how they look is said once, of all."""
    import altair as alt

    bare = [chart.copy() for chart in charts]
    for chart in bare:
        chart.config = alt.Undefined
    return getattr(alt, how)(*bare).resolve_scale(color="independent").configure(**style())
