"""A head of a network on some rows: what every table of the study is made from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hypotheses.copy_suppression.directions import Table, Unembeddings
from hypotheses.copy_suppression.divergence import DivergenceByPosition
from hypotheses.copy_suppression.network import MEAN_ABLATION, Parts, hypothesis, told_apart
from hypotheses.copy_suppression.passes import Pass, passes
from hypotheses.copy_suppression.places import Vocabulary
from hypotheses.copy_suppression.preserving import Mode, Preserved, Rules
from hypotheses.heads import Head
from scrubbing import Hypothesis, scrub
from scrubbing.lens.components.residual import Resid
from scrubbing.score import Score

MODES: tuple[Mode, ...] = ("ov", "qk", "both")
CONTROLS: Mapping[str, Mapping[str, Any]] = {
    "random sources": {"ranking": "random"},
    "most recent sources": {"ranking": "recent"},
    "another token's unembedding": {"onto": "another"},
}
PerToken = Float[np.ndarray, " token"]


@dataclass(frozen=True, eq=False)
class Study:
    """The head, its mean by position, what the ablation keeps, and the rows."""

    parts: Parts
    head: Head
    mean: Float[Tensor, "position d_model"] = field(repr=False)
    rules: Rules
    function_words: Bool[Tensor, " token"] = field(repr=False)
    data: Mapping[str, Tensor] = field(repr=False)
    vocabulary: Vocabulary = field(repr=False)
    related: Table | None = field(default=None, repr=False)

    @property
    def unembeddings(self) -> Unembeddings:
        """Tokens as directions of the final stream."""
        return Unembeddings(self.parts.readout, self.rules.centred)

    def hypothesis(self, **rules: Any) -> Hypothesis:
        """The claim that the head does what some rules keep, and nothing else: `mode="ov"`."""
        related = self.related if rules.get("onto", "own") == "own" else None
        made = told_apart(self.parts, self.head, self.mean, replace(self.rules, **rules), self.function_words, related)
        return hypothesis(made)

    def passes(self) -> Iterator[Pass]:
        """The plain run on all rows, a few at a time."""
        return passes(self.parts, self.data)

    def averaged(self, at: Pass) -> Resid:
        """The head's mean, for each row."""
        return self.mean[: at.tokens.shape[1]].expand(len(at.tokens), -1, -1)

    def left(self, at: Pass, mode: Mode) -> Resid:
        """What the ablation leaves of the head."""
        attention = self.parts.attention(self.head[0], [self.head[1]])
        rules = replace(self.rules, mode=mode)
        preserved = Preserved(attention, self.unembeddings, self.function_words, rules, self.related)
        mean = self.averaged(at)
        return mean + preserved(at.tokens, mean, at.size, *at.inputs(self.head[0]))

    def moved(self, at: Pass, written: Resid) -> Float[Tensor, "batch position"]:
        """KL(clean || with `written` in place of the head, on the direct path) at each evaluated position, in nats."""
        head = at.written(self.head)
        return DivergenceByPosition(self.parts.readout)(at.final, at.size, head, written, at.weights)

    @cached_property
    def by_token(self) -> dict[str, PerToken]:
        """The divergence at each evaluated token: of mean ablation ("mean"), and of each mode."""
        found: dict[str, list[Tensor]] = {name: [] for name in ("mean", *MODES)}
        for at in self.passes():
            where = at.weights != 0
            found["mean"].append(self.moved(at, self.averaged(at))[where])
            for mode in MODES:
                found[mode].append(self.moved(at, self.left(at, mode))[where])
        return {name: torch.cat(parts).double().cpu().numpy() for name, parts in found.items()}


def effect_explained(scores: Mapping[str, Score]) -> list[dict[str, Any]]:
    """The effect explained by each mode: one less the ratio of the two divergences, in nats, with its 95% interval."""
    return [
        {
            "mode": mode,
            "kl": score.scrubbed,
            "kl_mean_ablation": score.baseline,
            "explained": score.recovered,
            "low": None if score.interval is None else score.interval[0],
            "high": None if score.interval is None else score.interval[1],
        }
        for mode, score in scores.items()
    ]


def controls(study: Study, progress: Any = None) -> list[dict[str, Any]]:
    """The effect explained by ablations that keep as much as "both", but of what suppression does not speak of."""
    made = {name: study.hypothesis(mode="both", **rules) for name, rules in CONTROLS.items()}
    scores = scrub(made, study.data, baseline=MEAN_ABLATION, unclaimed="zero", progress=progress)
    return [{"control": row.pop("mode"), **row} for row in effect_explained(scores)]


def quantiles(study: Study, number: int) -> list[dict[str, Any]]:
    """Tokens sorted by the divergence of mean ablation, in so many parts: the mean of it, and of each mode's."""
    order = np.argsort(study.by_token["mean"], kind="stable")
    found: list[dict[str, Any]] = []
    for quantile, part in enumerate((part for part in np.array_split(order, number) if len(part)), start=1):
        means = {name: float(kl[part].mean()) for name, kl in study.by_token.items()}
        ablated = means.pop("mean")
        found.append(
            {
                "quantile": quantile,
                "tokens": len(part),
                "kl_mean_ablation": ablated,
                **{f"kl_{mode}": kl for mode, kl in means.items()},
                "explained": 1 - means["both"] / ablated if ablated else None,
            }
        )
    return found


def plot_quantiles(frame: Any) -> Any:
    """The divergence of each mode against that of mean ablation; the diagonal is full ablation, zero is none."""
    import altair as alt

    x = alt.X("kl_mean_ablation:Q", title="mean ablation (KL, nats)")
    lines = (
        alt.Chart(frame)
        .transform_fold([f"kl_{mode}" for mode in MODES], as_=["mode", "kl"])
        .mark_line(point=True)
        .encode(x=x, y=alt.Y("kl:Q", title="preserving ablation (KL, nats)"), color="mode:N")
    )
    diagonal = alt.Chart(frame).mark_line(strokeDash=[4, 4], color="gray")
    return diagonal.encode(x=x, y="kl_mean_ablation:Q") + lines
