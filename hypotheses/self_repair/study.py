"""The study on one network and its rows: each table when it is asked for, from one pass over the text."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from hypotheses.heads import Head
from hypotheses.self_repair import neurons, overwriting, plots, repression, tables
from hypotheses.self_repair.data import Rows
from hypotheses.self_repair.effects import ABLATIONS, FIELDS, Clean, ablated, replaced
from hypotheses.self_repair.measuring import Design, Measured, Selection, batches, measure, statistics
from hypotheses.self_repair.network import Network
from scrubbing.experiments.progress import ShowProgress
from scrubbing.experiments.reducers import TopShare
from scrubbing.experiments.suites import Measurement

FEW = 64  # rows of the figures that take a run for each pair of layers
REPRESSION_ROWS, REPRESSION_CONTEXT = 50, 30  # as in the text
SCATTERED = 5000  # tokens of a scatter plot, as in the text
Row = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Study:
    """What is measured on which rows, and how it is told."""

    network: Network
    rows: Rows
    design: Design
    tokens: Selection = "top"
    clip: tables.Clip = "per_token"
    head: Head | None = None
    thresholds: Sequence[float] = neurons.THRESHOLDS
    checkpoint: Path | None = None
    identity: str = ""
    published: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    _made: dict[str, Any] = field(default_factory=dict)

    @property
    def measurements(self) -> dict[str, Measurement]:
        """All tables by name."""
        of = f"means over {'the top 2% of tokens of each head' if self.tokens == 'top' else 'all tokens'}, in logits"
        measured = self.measured
        found = {
            "heads": Measurement(
                lambda show: tables.heads(measured(show), self.tokens),
                f"what ablating a head does, and what makes up for it: {of}",
                plots.effect_and_change,
            ),
            "layers": Measurement(self.layers, f"the mean over a layer's heads: {of}", plots.repair_by_layer),
            "shares": Measurement(
                lambda show: tables.shares(measured(show), self.tokens, self.clip),
                "the share of the direct effect that is made up for, cut to 0..1; uncut, the mean over all tokens",
                plots.shares_by_layer,
            ),
            "frozen_norm": Measurement(
                lambda show: tables.frozen_norm(measured(show), self.tokens),
                f"the same with the final norm's scale held as it was: {of}",
                plots.frozen,
            ),
            "norm_ratios": Measurement(
                lambda show: tables.norm_ratios(measured(show)),
                "the size that the final norm divides by, clean over ablated, on each head's top tokens",
            ),
            "self_repression": Measurement(
                self.self_repression,
                "a head's direct effect, in logits, when something is added alpha times to what it reads",
                plots.repression,
            ),
            "overwritten": Measurement(
                lambda show: self.overwritten()[0],
                "change in logit where the stream before the second layer is that before the first",
            ),
            "norm_histogram": Measurement(
                lambda show: tables.norm_histogram(measured(show)),
                "how those ratios are distributed",
                plots.ratios,
                on_request=True,
            ),
            "scatter": Measurement(
                self.scatter, "one head, token by token, in logits", plots.effect_and_change, on_request=True
            ),
            "overwritten_heads": Measurement(
                lambda show: self.overwritten()[1],
                "direct effects, in logits, of later heads where layers are skipped",
                on_request=True,
            ),
        }
        has_neurons = self.network.blocks[-1].mlp is not None
        for name, (make, about, plot) in self._of_neurons().items():
            later = name == "top_neurons" or not has_neurons
            found[name] = Measurement(partial(self._neurons, make), about, plot, on_request=later)
        return found

    def measured(self, progress: ShowProgress = None) -> Measured:
        """All heads on all rows: made once."""
        run = partial(measure, progress=progress, checkpoint=self.checkpoint, identity=self.identity)
        return self._once("measured", lambda: run(self.network, self.rows, self.design))

    def layers(self, progress: ShowProgress = None) -> list[Row]:
        """The means of layers, with the published ones where the network is known."""
        rows = tables.layers(self.measured(progress), self.tokens)
        if self.published is None or self.tokens != "top":
            return rows
        for row in rows:
            known = row["ablation"] == "resample"
            for name, values in zip(("self_repair", "from_norm"), self.published, strict=True):
                row[f"published_{name}"] = values[row["layer"]] if known else None
        return rows

    @torch.no_grad()
    def self_repression(self, _: ShowProgress = None) -> list[Row]:
        """The heads of the upper half of the layers."""
        length = min(REPRESSION_CONTEXT + 1, self.rows.shape[1])
        rows = self.rows[: min(REPRESSION_ROWS, len(self.rows)), :length]
        design = replace(self.design, rows=len(rows), batch=len(rows))
        (batch,) = batches(self.network, rows, design)
        half = len(self.network.blocks) // 2
        return repression.table(
            [head for head in self.network.heads if head[0] >= half],
            batch.clean,
            partial(repression.repressed, scale=self.design.de_ln),
        )

    def overwritten(self) -> tuple[list[Row], list[Row]]:
        """Pairs of layers, and the heads after them: made once."""
        design = replace(self.design, rows=min(FEW, self.design.rows))
        kept = design.kept(self.rows.shape[1] - 1)
        return self._once("overwritten", lambda: overwriting.tables(self._plain(design), kept))

    @torch.no_grad()
    def scatter(self, _: ShowProgress = None) -> list[Row]:
        """The first tokens, of one head."""
        layer, number = head = self._head(self.network.heads)
        found: list[Row] = []
        positions = self.rows.shape[1] - 1
        for batch in batches(self.network, self.rows, self.design):
            instead = replaced(batch.clean, batch.donors, layer)[..., number, :]
            records = statistics(ablated(batch.clean, head, instead, self.design.de_ln).flatten(2))
            before = batch.start * positions
            for a, ablation in enumerate(ABLATIONS):
                values = records[a, : len(FIELDS) + 1, : SCATTERED - before].T.tolist()
                for token, of_token in enumerate(values, before):
                    at = {"row": token // positions, "position": token % positions}
                    of = {"layer": layer, "head": number, "ablation": ablation, **at}
                    found.append(of | dict(zip((*FIELDS, "self_repair"), of_token, strict=True)))
            if before + records.shape[-1] >= SCATTERED:
                break
        return sorted(found, key=lambda row: ABLATIONS.index(row["ablation"]))

    def _of_neurons(self) -> dict[str, tuple[Callable[[neurons.Collected], list[Row]], str, Any]]:
        """What is told of the neurons of the last layer."""
        return {
            "anti_erasure": (
                neurons.commonest,
                "the neurons that are most often among the ten that repair most, where the last MLP repairs most",
                None,
            ),
            "neurons_by_rank": (
                partial(neurons.repair_by_rank, thresholds=self.thresholds),
                "how often the neuron of each rank repairs more than a share of the head's direct effect",
                plots.by_rank,
            ),
            "neurons_cumulative": (
                neurons.cumulative,
                "the share of all absolute change in direct effects up to a rank, and the median direct effect there",
                plots.cumulative,
            ),
            "top_neurons": (
                neurons.top_neurons,
                "the neuron that repairs most, token by token, where the last MLP repairs most; in logits",
                plots.top_neurons,
            ),
        }

    def _neurons(self, make: Callable[[neurons.Collected], list[Row]], _: ShowProgress = None) -> list[Row]:
        last = self.network.blocks[-1]
        before = [h for h in self.network.heads if not last.parallel or h[0] < len(self.network.blocks) - 1]
        head = self._head(before or self.network.heads)
        neurons.check_neurons(self.network, head)
        kept, scale = self.design.kept(self.rows.shape[1] - 1), self.design.de_ln
        run = partial(neurons.collect, batches(self.network, self.rows, self.design), head, kept, scale=scale)
        found = make(self._once("neurons", run))
        return [{"layer": head[0], "head": head[1], **row} for row in found]

    def _head(self, among: Sequence[Head]) -> Head:
        """The head that is asked for; else the one with the largest direct effect on its top tokens."""
        if self.head is None:
            return self._once(f"head of {len(among)}", lambda: largest(self._plain(self.design), among, self.design))
        return self.head

    @torch.no_grad()
    def _plain(self, design: Design) -> Iterator[Clean]:
        for batch in batches(self.network, self.rows, design):
            yield batch.clean

    def _once(self, name: str, make: Callable[[], T]) -> T:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


@torch.no_grad()
def largest(runs: Iterator[Clean], among: Sequence[Head], design: Design) -> Head:
    """Of some heads, the one whose direct effect is largest on its top tokens."""
    tops: dict[Head, TopShare] = {}
    for clean in runs:
        kept = design.kept(clean.scale.shape[1])
        for layer in dict.fromkeys(layer for layer, _ in among):
            for number, effects in enumerate(clean.of_heads(layer).flatten(0, 1).T):
                tops.setdefault((layer, number), TopShare(1.0, kept)).add(effects.cpu().numpy())
    return max(among, key=lambda head: float(tops[head].result()["key"].mean()))
