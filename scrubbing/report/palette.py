"""The colours of every picture and page, light and dark: one for each kind of datum that a node can run on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Colours:
    """The fill, the line and the text of one kind of box."""

    fill: str
    line: str
    text: str


@dataclass(frozen=True)
class Theme:
    """What a page or picture is painted with. Text has a contrast of 4.5 or more to what is behind it (WCAG AA)."""

    paper: str
    card: str
    ink: str
    muted: str
    rule: str
    accent: str
    second: str
    worse: str
    kinds: dict[str, Colours]
    series: tuple[str, ...]


LIGHT = Theme(
    paper="#ffffff",
    card="#f7f7f8",
    ink="#1b1f24",
    muted="#5b6270",
    rule="#d5d8de",
    accent="#1f5fbf",
    second="#b3480f",
    worse="#b3261e",
    kinds={
        "reference": Colours("#e3eefc", "#3b76c4", "#123a6b"),
        "donor": Colours("#fdebdc", "#c8702a", "#6b3208"),
        "mixed": Colours("#efe7fa", "#8457bd", "#43216f"),
        "ablated": Colours("#ececec", "#8a8a8a", "#3d3d3d"),
        "open": Colours("#ffffff", "#9aa1ad", "#4d5462"),
        "plain": Colours("#f1f3f6", "#8791a1", "#1b1f24"),
        "column": Colours("#ffffff", "#8791a1", "#4d5462"),
    },
    series=("#1f5fbf", "#c2600f", "#2f7d4f", "#8457bd", "#a33a63", "#5b6270"),
)

DARK = Theme(
    paper="#14171c",
    card="#1c2027",
    ink="#e7eaef",
    muted="#a3abb9",
    rule="#363c47",
    accent="#84b4f5",
    second="#f0a068",
    worse="#ff9b93",
    kinds={
        "reference": Colours("#1c3555", "#6ba0e6", "#d7e7fc"),
        "donor": Colours("#4a2d17", "#dd8f51", "#fde5d3"),
        "mixed": Colours("#392a50", "#a982de", "#ecdffb"),
        "ablated": Colours("#2d2d2d", "#8f8f8f", "#dddddd"),
        "open": Colours("#14171c", "#6d7686", "#b9c0cc"),
        "plain": Colours("#252a33", "#7d8798", "#e7eaef"),
        "column": Colours("#14171c", "#7d8798", "#b9c0cc"),
    },
    series=("#84b4f5", "#f0a068", "#79c99a", "#bf9df0", "#ee93b6", "#a3abb9"),
)

OWN = {
    "reference": "its own datum is the reference",
    "donor": "its own datum is a donor that agrees",
    "mixed": "its own datum is either",
}

MEANING = {
    "reference": "computed from the reference alone",
    "donor": "computed from one donor that agrees",
    "mixed": "computed from several data",
    "ablated": "unclaimed, and replaced by a constant or mean",
    "open": "unclaimed, and run on a donor",
}
