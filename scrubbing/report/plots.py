"""The plots of studies, in one style. Each takes arrays or a table and returns an Altair chart.

They show themselves in a notebook; `chart.save("plot.svg")` writes one, and `chart.properties(...)` changes it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from scrubbing.errors import DataError, MissingPackageError
from scrubbing.report.palette import LIGHT, Theme
from scrubbing.report.text import visible, visible_token

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

    from scrubbing.experiments.sweeps import Sweep

CELL = 26  # pixels of a head in a heat map
SIDE = 320  # pixels of a square plot
COLUMNS = 96  # characters in a line of a passage
CHARACTER, LINE = 7.3, 21  # pixels
FONT = "system-ui, sans-serif"


def style(theme: Theme = LIGHT) -> dict[str, Any]:
    """How all plots look, as a configuration of Vega-Lite."""
    axis = {
        "domainColor": theme.rule,
        "gridColor": theme.rule,
        "gridOpacity": 0.6,
        "labelColor": theme.ink,
        "labelFontSize": 12,
        "labelLimit": 260,
        "tickColor": theme.rule,
        "titleColor": theme.muted,
        "titleFontWeight": "normal",
    }
    legend = {"labelColor": theme.ink, "titleColor": theme.muted, "titleFontWeight": "normal", "labelFontSize": 12}
    return {
        "background": None if theme is not LIGHT else theme.paper,
        "font": FONT,
        "axis": axis,
        "legend": legend,
        "title": {"color": theme.ink, "anchor": "start", "fontSize": 13},
        "header": {"labelColor": theme.ink, "titleColor": theme.muted},
        "range": {"category": list(theme.series), "ramp": {"scheme": "blues"}, "diverging": {"scheme": "redblue"}},
        "view": {"stroke": None},
        "text": {"color": theme.ink},
    }


def heat_map(
    values: Float[np.ndarray, "layer head"], *, title: str = "", value: str = "value", middle: float | None = 0.0
) -> "alt.Chart":
    """A number for each head, by layer (first at the bottom) and head. Colours part at `middle`; None for one ramp.

    >>> heat_map(np.array([[0.1, -0.2], [0.3, 0.0]])).to_dict()["mark"]["type"]
    'rect'

    Raises `DataError` for an array that is not [layer, head], `MissingPackageError` without altair.
    """
    alt, found = imported_altair(), _array("heat_map", values, 2)
    rows = [{"layer": layer, "head": head, value: float(number)} for (layer, head), number in np.ndenumerate(found)]
    scale = alt.Scale(scheme="blues") if middle is None else alt.Scale(scheme="redblue", domainMid=middle)
    chart = alt.Chart(alt.Data(values=rows)).mark_rect(cornerRadius=2)
    chart = chart.encode(
        x=alt.X("head:O", axis=alt.Axis(labelAngle=0, grid=False)),
        y=alt.Y("layer:O", sort="descending", axis=alt.Axis(grid=False)),
        color=alt.Color(f"{_field(value)}:Q", scale=scale, title=value),
        tooltip=["layer:O", "head:O", alt.Tooltip(f"{_field(value)}:Q", format=".4g")],
    )
    layers, heads = found.shape
    return _finished(chart.properties(width=CELL * heads, height=CELL * layers), title)


def sweep_map(sweep: "Sweep", of: str = "change", *, title: str = "") -> "alt.Chart":
    """One column of a sweep's `frame` as coloured cells: its last two axes up and across, an axis before them apart.

    >>> from scrubbing import Graph, sweep
    >>> G = Graph(a0=lambda x: x, a1=lambda x: -3 * x, loss=lambda a0, a1: abs(a0 + a1))
    >>> found = sweep(G, {"layer": [0], "head": [0, 1]}, lambda layer, head: {f"a{head}": "zero"}, {"x": [1.0, 2.0]})
    >>> sweep_map(found).to_dict()["encoding"]["x"]["field"]
    'head'

    Raises `DataError` for more than three axes and an unknown column, `MissingPackageError` without altair.
    """
    alt, axes = imported_altair(), list(sweep.axes)
    if len(axes) > 3:
        raise DataError(f"a sweep of {len(axes)} axes does not fit on paper; take a slice of sweep.array()")
    frame = sweep.frame.reset_index()
    _columns("sweep_map", frame, of)
    across, up, apart = [*reversed(axes), None, None][:3]
    chart = alt.Chart(_data(frame)).mark_rect(cornerRadius=2)
    tips = [alt.Tooltip(f"{_field(axis)}:O") for axis in axes]
    tips += [alt.Tooltip(f"{_field(column)}:Q", format=".4g") for column in frame.columns if column not in axes]
    scale = alt.Scale(scheme="redblue", domainMid=0, reverse=True)
    chart = chart.encode(
        x=alt.X(f"{_field(str(across))}:O", sort=None, axis=alt.Axis(labelAngle=0, grid=False)),
        color=alt.Color(f"{_field(of)}:Q", title=of, scale=scale),
        tooltip=tips,
    )
    if up:
        chart = chart.encode(y=alt.Y(f"{_field(up)}:O", sort="descending", axis=alt.Axis(grid=False)))
    if apart:
        chart = chart.encode(column=alt.Column(f"{_field(apart)}:N", sort=None))
    return _finished(chart.properties(width=alt.Step(CELL), height=alt.Step(CELL)), title)


def scatter(frame: "pd.DataFrame", x: str, y: str, *, by: str | None = None, title: str = "") -> "alt.LayerChart":
    """Two numbers against each other, a point for each row, with the line y = x; `by` names a column of colours.

    Raises `DataError` for a column that is not there, `MissingPackageError` without altair.
    """
    alt = imported_altair()
    _columns("scatter", frame, x, y, *([by] if by else []))
    numbers = frame[[x, y]].to_numpy(dtype=float)
    finite = numbers[np.isfinite(numbers)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    scale = alt.Scale(domain=[low, high], nice=True, zero=False)
    points = alt.Chart(_data(frame)).mark_circle(size=36, opacity=0.65)
    points = points.encode(
        x=alt.X(f"{_field(x)}:Q", title=x, scale=scale),
        y=alt.Y(f"{_field(y)}:Q", title=y, scale=scale),
        tooltip=[
            alt.Tooltip(f"{_field(str(name))}:{'Q' if kind.kind in 'iuf' else 'N'}", title=str(name))
            for name, kind in frame.dtypes.items()
        ],
        **({"color": alt.Color(f"{_field(by)}:N", title=by)} if by else {}),
    )
    ends = alt.Data(values=[{"at": low}, {"at": high}])
    diagonal = alt.Chart(ends).mark_line(strokeDash=[4, 4], color="#8791a1").encode(x="at:Q", y="at:Q")
    return _finished((diagonal + points).properties(width=SIDE, height=SIDE), title)


def quantile_lines(
    columns: Mapping[str, Float[np.ndarray, " reference"]], *, value: str = "loss added (nats)", title: str = ""
) -> "alt.Chart":
    """The quantiles of several samples, a line each: how much of the references lies below each value.

    Raises `DataError` for samples without numbers, `MissingPackageError` without altair.
    """
    alt = imported_altair()
    levels = np.linspace(0.005, 0.995, 100)
    rows = []
    for name, numbers in columns.items():
        sample = _array("quantile_lines", numbers, 1)
        rows += [
            {"share": float(level), value: float(at), "of": visible(name)}
            for level, at in zip(levels, np.quantile(sample, levels), strict=True)
        ]
    chart = alt.Chart(alt.Data(values=rows)).mark_line(strokeWidth=2)
    chart = chart.encode(
        x=alt.X("share:Q", title="share of references below", axis=alt.Axis(format="%")),
        y=alt.Y(f"{_field(value)}:Q", title=value),
        color=alt.Color("of:N", title=None, sort=list(columns)),
        tooltip=["of:N", alt.Tooltip("share:Q", format=".1%"), alt.Tooltip(f"{_field(value)}:Q", format=".4g")],
    )
    return _finished(chart.properties(width=SIDE * 1.4, height=SIDE * 0.7), title)


def stacked_bars(frame: "pd.DataFrame", *, value: str = "loss added", title: str = "") -> "alt.Chart":
    """A bar for each row of the table, in parts for its columns of numbers; the index names the bars.

    Raises `DataError` for a table without numbers, `MissingPackageError` without altair.
    """
    alt = imported_altair()
    numbers = frame.select_dtypes("number")
    if numbers.empty:
        raise DataError("stacked_bars needs a table with at least one row and one column of numbers")
    rows = [
        {"bar": visible(str(bar)), "part": visible(str(part)), value: float(number)}
        for bar, row in numbers.iterrows()
        for part, number in row.items()
    ]
    chart = alt.Chart(alt.Data(values=rows)).mark_bar()
    chart = chart.encode(
        x=alt.X(f"{_field(value)}:Q", title=value),
        y=alt.Y("bar:N", sort=None, title=None),
        color=alt.Color("part:N", sort=list(map(str, numbers.columns)), title=None),
        tooltip=["bar:N", "part:N", alt.Tooltip(f"{_field(value)}:Q", format=".4g")],
    )
    return _finished(chart.properties(width=SIDE * 1.4, height=alt.Step(22)), title)


def passage(
    tokens: Sequence[str], values: Float[np.ndarray, " position"], *, value: str = "value", title: str = ""
) -> "alt.LayerChart":
    """A passage, each of its tokens on the colour of its value: red above zero, blue below.

    Raises `DataError` unless there is a value for each token, `MissingPackageError` without altair.
    """
    alt, found = imported_altair(), _array("passage", values, 1)
    if len(tokens) != len(found):
        raise DataError(f"passage needs a value for each token, and got {len(found)} for {len(tokens)}")
    rows, line, at = [], 0, 0
    for i, (token, number) in enumerate(zip(map(visible_token, tokens), found, strict=True)):
        if at and at + len(token) > COLUMNS:
            line, at = line + 1, 0
        rows.append(
            {"from": at, "to": at + len(token), "middle": at + len(token) / 2, "line": line, "token": token,
             "position": i, value: float(number)}
        )  # fmt: skip
        at += len(token)
        if "↵" in token:
            line, at = line + 1, 0
    widest = max(row["to"] for row in rows)
    largest = float(np.nanmax(np.abs(found))) if np.isfinite(found).any() else 1.0
    base = alt.Chart(alt.Data(values=rows)).encode(y=alt.Y("line:O", axis=None))
    scale = alt.Scale(domain=[0, widest])
    rectangles = base.mark_rect().encode(
        x=alt.X("from:Q", scale=scale, axis=None),
        x2="to:Q",
        color=alt.Color(
            f"{_field(value)}:Q",
            title=value,
            scale=alt.Scale(range=["#8fbaf0", "#ffffff", "#f2a097"], domain=[-largest, 0, largest]),
        ),
        tooltip=["token:N", "position:Q", alt.Tooltip(f"{_field(value)}:Q", format=".4g")],
    )
    words = base.mark_text(font="monospace", fontSize=12, color="#000").encode(
        x=alt.X("middle:Q", scale=scale, axis=None), text="token:N"
    )
    whole = (rectangles + words).properties(width=widest * CHARACTER, height=LINE * (line + 1))
    return _finished(whole, title)


def attention(
    pattern: Float[np.ndarray, "query key"], tokens: Sequence[str] | None = None, *, title: str = ""
) -> "alt.Chart":
    """An attention pattern: how much each query (a row of the picture) attends to each key.

    Raises `DataError` unless the pattern is [query, key], with a token for each position if there are any;
    `MissingPackageError` without altair.
    """
    alt, found = imported_altair(), _array("attention", pattern, 2)
    if tokens is not None and len(tokens) != max(found.shape):
        raise DataError(f"attention got a pattern of shape {list(found.shape)} and {len(tokens)} tokens")
    names = [visible_token(token) for token in tokens] if tokens is not None else [""] * max(found.shape)
    rows = [
        {"query": q, "key": k, "attention": round(float(number), 4), "at": names[q], "to": names[k]}
        for (q, k), number in np.ndenumerate(found)
        if number >= 0.0005
    ]
    chart = alt.Chart(alt.Data(values=rows)).mark_rect()
    domain = alt.Scale(domain=list(range(max(found.shape))))
    axis = alt.Axis(labels=False, ticks=False, grid=False)
    chart = chart.encode(
        x=alt.X("key:O", scale=domain, axis=axis),
        y=alt.Y("query:O", scale=domain, axis=axis),
        color=alt.Color("attention:Q", scale=alt.Scale(scheme="blues", domain=[0, 1])),
        tooltip=["query:O", "at:N", "key:O", "to:N", "attention:Q"],
    )
    return _finished(chart.properties(width=SIDE, height=SIDE), title)


def recoveries(rows: Sequence[Mapping[str, Any]], *, title: str = "") -> "alt.LayerChart":
    """The percentages that hypotheses recover, with their intervals, and published figures as diamonds.

    Each row has `name`, `group` (which decides the colour), `recovered`, and where they exist `low`, `high` and
    `published`, all in percent.
    """
    alt = imported_altair()
    rows = [{**row, "name": visible(str(row["name"])), "group": visible(str(row["group"]))} for row in rows]
    groups = list(dict.fromkeys(row["group"] for row in rows))
    base = alt.Chart(alt.Data(values=rows)).encode(y=alt.Y("name:N", sort=None, title=None))
    color = alt.Color("group:N", title=None, sort=groups, legend=None if len(groups) < 2 else alt.Legend(orient="top"))
    said = [
        alt.Tooltip("name:N", title="hypothesis"),
        *(alt.Tooltip(f"{field}:Q", format=".1f") for field in ("recovered", "low", "high", "published")),
    ]
    axis = alt.Axis(title="percent of the loss recovered")
    x = alt.X("recovered:Q", axis=axis, scale=alt.Scale(zero=True, nice=True))
    hundred = alt.Chart(alt.Data(values=[{"at": 0}, {"at": 100}])).mark_rule(strokeDash=[2, 3], color="#8791a1")
    layers = [hundred.encode(x="at:Q")]
    if any(row.get("low") is not None for row in rows):  # of a field without numbers, Vega would complain
        rule = base.mark_rule(strokeWidth=2.5)
        layers.append(rule.encode(x=alt.X("low:Q", axis=axis), x2="high:Q", color=color, tooltip=said))
    if any(row.get("published") is not None for row in rows):
        diamond = base.mark_point(shape="diamond", size=44, color="#8791a1", strokeWidth=1.5)
        layers.append(diamond.encode(x=alt.X("published:Q", axis=axis), tooltip=said))
    layers.append(base.mark_circle(size=64, opacity=1).encode(x=x, color=color, tooltip=said))
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    return _finished(alt.layer(*layers).properties(width="container", height=20 * len(rows), autosize=fit), title)


def imported_altair() -> Any:
    """The package that draws. Raises `MissingPackageError` where it is not installed."""
    try:
        import altair
    except ImportError:
        raise MissingPackageError(
            "plots need altair, which is not installed here: pip install 'scrubbing[report]'"
        ) from None
    return altair


def _finished(chart: Any, title: str) -> Any:
    return (chart.properties(title=visible(title)) if title else chart).configure(**style())


def _array(name: str, values: Any, axes: int) -> np.ndarray:
    found = np.asarray(values, dtype=float)
    if found.ndim != axes or not found.size:
        raise DataError(f"{name} needs an array of {axes} axes that is not empty, and got shape {list(found.shape)}")
    return found


def _columns(name: str, frame: "pd.DataFrame", *wanted: str) -> None:
    missing = [column for column in wanted if column not in frame.columns]
    if missing:
        raise DataError(f"{name}: the table has no column {missing[0]!r}; it has {', '.join(map(str, frame.columns))}")


def _data(frame: "pd.DataFrame") -> Any:
    alt = imported_altair()
    rows = frame.to_dict("records")
    shown = [{k: visible(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows]
    return alt.Data(values=[{k: v.item() if isinstance(v, np.generic) else v for k, v in row.items()} for row in shown])


def _field(name: str) -> str:
    """A field's name as Vega-Lite reads it: dots and brackets would be paths, colons types."""
    return "".join(f"\\{c}" if c in ".[]\\:'\"" else c for c in name)
