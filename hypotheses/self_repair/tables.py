"""The tables of a measured network: what the text's figures show."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from hypotheses.self_repair.effects import ABLATIONS, FIELDS
from hypotheses.self_repair.measuring import PARTS, STATISTICS, Measured, Selection

Row = dict[str, Any]
Clip = Literal["per_token", "ratio_of_means"]

SHOWN = (
    "direct_effect",
    "change_in_logit",
    "self_repair",
    "from_heads",
    "from_mlps",
    "from_norm",
    "norm_ratio_above_one",
)
QUANTILES = {"low": 0.05, "median": 0.5, "high": 0.95}
BINS, SPREAD = 40, 0.5  # of a histogram of ratios, and how far from 1 it goes


def heads(measured: Measured, selection: Selection) -> list[Row]:
    """Each head under each ablation (figures 2, 5 and, in parts, 1 and 6)."""
    count = {"tokens": measured.count(selection)}
    return [{**of, **count, **{name: row[name] for name in SHOWN}} for of, row in _rows(measured, selection)]


def layers(measured: Measured, selection: Selection) -> list[Row]:
    """The mean of each layer's heads, under each ablation (figures 1 and 6)."""
    rows = heads(measured, selection)
    found: list[Row] = []
    for layer in dict.fromkeys(layer for layer, _ in measured.heads):
        for ablation in ABLATIONS:
            of = [row for row in rows if (row["layer"], row["ablation"]) == (layer, ablation)]
            means = {name: sum(row[name] for row in of) / len(of) for name in SHOWN}
            found.append({"layer": layer, "ablation": ablation, "heads": len(of), **means})
    return found


def shares(measured: Measured, selection: Selection, clip: Clip) -> list[Row]:
    """What share of a head's direct effect each part makes up for, cut to 0..1 (figure 11), and uncut (figure 10).

    Cut for each token, and then averaged; or, with "ratio_of_means", the ratio of the means is. Uncut it is a mean over
    all tokens, of ratios that may be of any size.
    """
    every = [row for _, row in _rows(measured, "all")]
    found: list[Row] = []
    for (of, row), all_tokens in zip(_rows(measured, selection), every, strict=True):
        cut = {part: row[f"clipped_{part}"] if clip == "per_token" else _ratio(row, part) for part in PARTS}
        uncut = {f"uncut_{part}": all_tokens[f"share_{part}"] for part in PARTS}
        found.append({**of, **cut, **uncut})
    return found


def frozen_norm(measured: Measured, selection: Selection) -> list[Row]:
    """The same ablations with the final norm's scale held as it was: what heads and MLPs alone make up for."""
    return [
        {
            **of,
            "change_in_logit": row["change_in_logit"],
            "frozen_change_in_logit": row["change_in_logit"] - row["from_norm"],
            "self_repair": row["self_repair"],
            "frozen_self_repair": row["from_heads"] + row["from_mlps"],
        }
        for of, row in _rows(measured, selection)
    ]


def norm_ratios(measured: Measured) -> list[Row]:
    """The size that the final norm divides by, clean over ablated, on the top tokens; and the stream's own length."""
    found: list[Row] = []
    for of, ratios, lengths in _ratios(measured):
        quantiles = {name: ratios.quantile(at).item() for name, at in QUANTILES.items()}
        above = (ratios > 1).double().mean().item()
        found.append(
            {**of, "tokens": len(ratios), "above_one": above, **quantiles, "stream_ratio": lengths.mean().item()}
        )
    return found


def norm_histogram(measured: Measured) -> list[Row]:
    """How the norm's ratios are distributed (figures 4, 16 to 18); what is further from 1 stands in the last bins."""
    edges = torch.linspace(1 - SPREAD, 1 + SPREAD, BINS + 1, dtype=torch.float64)
    found: list[Row] = []
    for of, ratios, _ in _ratios(measured):
        counts = torch.histc(ratios.clamp(1 - SPREAD, 1 + SPREAD), BINS, 1 - SPREAD, 1 + SPREAD)
        for low, high, count in zip(edges.tolist(), edges[1:].tolist(), counts.tolist(), strict=False):
            found.append({**of, "low": low, "high": high, "share": count / len(ratios)})
    return found


def _ratios(measured: Measured) -> list[tuple[Row, Float[Tensor, " kept"], Float[Tensor, " kept"]]]:
    ratios, lengths = (measured.top[:, :, FIELDS.index(name)].double() for name in ("norm_ratio", "stream_ratio"))
    return [
        ({"layer": layer, "head": head, "ablation": ablation}, ratios[n, a], lengths[n, a])
        for n, (layer, head) in enumerate(measured.heads)
        for a, ablation in enumerate(ABLATIONS)
    ]


def _rows(measured: Measured, selection: Selection) -> list[tuple[Row, Mapping[str, float]]]:
    """Each head and ablation, with its means."""
    means = measured.means(selection)
    return [
        ({"layer": layer, "head": head, "ablation": ablation}, dict(zip(STATISTICS, means[n, a].tolist(), strict=True)))
        for n, (layer, head) in enumerate(measured.heads)
        for a, ablation in enumerate(ABLATIONS)
    ]


def _ratio(row: Mapping[str, float], part: str) -> float | None:
    """The ratio of two means, cut to 0..1; none where nothing is there to be made up for."""
    if row["direct_effect"] == 0:
        return None
    ratio = row[f"from_{part}"] / row["direct_effect"]
    return None if math.isnan(ratio) else min(max(ratio, 0.0), 1.0)
