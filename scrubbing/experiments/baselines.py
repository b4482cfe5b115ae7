"""Baselines by name, from knowing the labels alone upwards: against which is a percentage measured?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch
from jaxtyping import Float
from rich.console import RenderableType

from scrubbing.engine.exact import exact_losses
from scrubbing.engine.policy import Policy
from scrubbing.errors import DataError
from scrubbing.errors.arguments import checked, shown
from scrubbing.experiments.arguments import baseline_of
from scrubbing.experiments.explanation import at_rows
from scrubbing.experiments.scoring import Baseline, Data, Settings, scrub
from scrubbing.graph import Graph, reads
from scrubbing.graph.data import Columns, as_array, as_columns
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.lens.components.loss import WeightedCrossEntropy
from scrubbing.lens.components.readout import Logits
from scrubbing.score import Score
from scrubbing.score.participation import Participation
from scrubbing.score.self_donors import hull, self_donors
from scrubbing.score.statistics import Column, interval_of_mean, interval_of_ratio
from scrubbing.score.tables import Printed, decimals_for, estimate, fixed, titled

if TYPE_CHECKING:
    import pandas as pd

PAIRS = 20_000_000  # of a reference and another datum, of which each is one call of the loss
TILE = 2**23  # logits, or numbers of a stream, held at a time

LossByReference = Float[np.ndarray, " reference"]


@dataclass(frozen=True, eq=False)
class Rung:
    """One baseline: its loss on each reference, and how much a hypothesis recovers against it.

    The 95% intervals are those of `loss` and of `recovered`; the latter is None where the baseline does not differ
    significantly from the network.
    """

    name: str
    losses: LossByReference
    scrubbed: LossByReference
    original: LossByReference
    loss_interval: tuple[float, float] | None
    interval: tuple[float, float] | None

    @property
    def loss(self) -> float:
        """Its mean loss."""
        return float(self.losses.mean())

    @property
    def recovered(self) -> float | None:
        """The fraction of the loss between this baseline and the network that the hypothesis recovers."""
        gap = float((self.losses - self.original).mean())
        tiny = 1e-12 * float(np.abs(self.losses).mean() + np.abs(self.original).mean())
        return None if abs(gap) <= tiny else float((self.losses - self.scrubbed).mean()) / gap


@dataclass(frozen=True, eq=False, repr=False)
class BaselineLadder(Printed):
    """One scrubbed loss against several baselines, the highest loss first."""

    score: Score
    rungs: tuple[Rung, ...]

    @property
    def ladder(self) -> "pd.DataFrame":
        """A row for each baseline: its loss, and the fraction recovered against it, each with a 95% interval."""
        import pandas as pd

        return pd.DataFrame([_row(rung) for rung in self.rungs])

    def __rich__(self) -> RenderableType:
        decimals = decimals_for([rung.loss for rung in self.rungs] + [self.score.scrubbed])
        rows = [(rung.name, estimate(rung.loss, rung.loss_interval, decimals), _percent(rung)) for rung in self.rungs]
        own = {"the hypothesis": self.score.column("scrubbed"), "the network": self.score.column("original")}
        ends = [
            (name, estimate(losses.mean(), interval_of_mean(losses, design=self.score.design), decimals), "")
            for name, losses in own.items()
        ]
        title = "what the hypothesis recovers, by the baseline"
        notes = [f"{self.score.references} references, 95% intervals"]
        return titled(title, ["baseline", "its loss", "recovered"], [*rows, None, *ends], notes)


@checked
def baseline_ladder(
    hypothesis: Hypothesis,
    data: Data,
    baselines: Mapping[str, Baseline | Any],
    **settings: Unpack[Settings],
) -> BaselineLadder:
    """What a hypothesis recovers against each of several baselines, in one run on common references and donors.

    A baseline is a `Graph` (applied to the hypothesis's own network), a `Hypothesis`, or an array `[row]` with a loss
    for each row of the data, in the unit of the network's loss: `labels_permuted(G, data)`, `unigram(data)`,
    `bigram(data)`, or numbers of your own. `settings` are those of `scrub`.

    >>> from hypotheses import toy
    >>> case = toy.case("a threshold too high")
    >>> all_pairs = labels_permuted(case.hypothesis.G, case.data)
    >>> found = baseline_ladder(case.hypothesis, case.data, {"one draw": case.baseline, "all pairs": all_pairs})
    >>> [(rung.name, f"{rung.recovered:.3f}") for rung in found.rungs]
    [('one draw', '0.635'), ('all pairs', '0.634')]

    Raises `DataError` for no baselines, and for losses that are not one finite number per row.
    """
    if not baselines:
        raise DataError('there are no baselines; name some, for example {"labels alone": labels_alone(h.G)}')
    columns = as_columns(data)
    rows = len(next(iter(columns.values())))
    scored = {name: baseline_of(hypothesis, b) for name, b in baselines.items() if isinstance(b, Graph | Hypothesis)}
    given = {name: _per_row(name, b, rows) for name, b in baselines.items() if name not in scored}
    scores = scrub([hypothesis, *scored.values()], columns, baseline=hypothesis, **settings)
    score, found = scores[0], dict(zip(scored, scores[1:], strict=True))
    references = np.array(score.by_reference.reference)
    losses = {n: found[n].column("scrubbed") if n in found else Column(given[n][references]) for n in baselines}
    rungs = [_rung(name, loss, score) for name, loss in losses.items()]
    return BaselineLadder(score, tuple(sorted(rungs, key=lambda rung: -rung.loss)))


@checked
def labels_alone(G: Graph) -> Graph:
    """The explanation that knows the labels (and weights) and nothing else: the predictions come from random donors.

    >>> labels_alone(Graph(out=lambda x: 2 * x, loss=lambda out, y: (out - y) ** 2))
    Graph of 1 nodes, output 'loss', columns y
      loss(y)
    """
    return Graph({G.output: reads(*(column for column in G[G.output].inputs if column not in G))})


@checked
@torch.no_grad()
def labels_permuted(G: Graph, data: Mapping[str, Any]) -> Float[np.ndarray, " row"]:
    """The loss `[row]` of each row's labels under the predictions for every row, averaged over all of these.

    It is what the baseline `labels_alone(G)` costs on average, without an error of sampling, in the unit of the
    network's loss. For a transformer's weighted cross-entropy it takes one forward pass of the data: the mean over rows
    of logsumexp(logits) - logits[label] needs only the mean logits at each position. For any other loss it takes one
    call for each distinct pair of a prediction and labels.

    >>> G = Graph(guess=lambda x: x, loss=lambda guess, y: (guess - y) ** 2)
    >>> labels_permuted(G, {"x": [0, 2], "y": [0, 2]})
    array([2., 2.])

    Raises `HypothesisError` where there are too many pairs: score `labels_alone(G)`, which samples them.
    """
    columns = as_columns(data)
    rows = len(next(iter(columns.values())))
    output = G[G.output]
    if isinstance(output.fn, WeightedCrossEntropy) and isinstance(_logits(G, columns), Logits):
        return _cross_entropy_of_all_pairs(G, columns, rows)
    h = Hypothesis(G, labels_alone(G))
    return exact_losses(h, columns, np.arange(rows), Policy(), cap=PAIRS).mean


def _logits(G: Graph, columns: Columns) -> Any:
    """What the loss reads of the first row."""
    name = G[G.output].inputs[0]
    return G.activations(at_rows(columns, np.arange(1)), name)[0]


def _cross_entropy_of_all_pairs(G: Graph, columns: Columns, rows: int) -> Float[np.ndarray, " row"]:
    logits_name, labels_name, weights_name = G[G.output].inputs
    labels, weights = (torch.as_tensor(columns[name]) for name in (labels_name, weights_name))
    evaluated = (weights != 0).any(dim=0)
    (first,) = G.activations(at_rows(columns, np.arange(1)), logits_name)
    readout = first.readout
    d_model, d_vocab = readout.W_U.shape
    size = max(1, TILE // max(int(evaluated.sum()) * d_vocab, weights.shape[1] * d_model))
    streams, logsumexps = [], []
    for some in np.array_split(np.arange(rows), -(-rows // size)):
        (lazy,) = G.activations(at_rows(columns, some), logits_name)
        x = readout.reader.norm(lazy.resid[:, evaluated.to(lazy.resid.device)])
        streams.append(x.double().sum(dim=0))
        logsumexps.append(readout.unembed(x).logsumexp(dim=-1).double().sum(dim=0))
    # Logits are linear in the normalised stream, so that their mean is that of its mean.
    mean_stream, mean_logsumexp = (sum(parts[1:], parts[0]) / rows for parts in (streams, logsumexps))
    mean_logits = readout.unembed(mean_stream.to(readout.W_U)).double()
    labels, weights = (part[:, evaluated].to(mean_logits.device) for part in (labels, weights.double()))
    expected = mean_logsumexp - mean_logits[torch.arange(labels.shape[1], device=labels.device), labels]
    return (weights * expected).sum(dim=-1).cpu().numpy()


def _per_row(name: str, given: Any, rows: int) -> LossByReference:
    found = as_array(name, given)
    losses = found.astype(np.float64) if found.dtype.kind in "iuf" else np.zeros(0)
    if losses.shape != (rows,):
        raise DataError(
            f"the baseline {name!r} must be a Graph, a Hypothesis, or a loss for each of the {rows} rows; "
            f"it is {shown(given)}, of shape {list(found.shape)}"
        )
    wrong = np.flatnonzero(~np.isfinite(losses))
    if len(wrong):
        raise DataError(f"the baseline {name!r} has the loss {losses[wrong[0]]} in row {wrong[0]}; it must be finite")
    return losses


def _rung(name: str, losses: Column, score: Score) -> Rung:
    scrubbed, original = score.column("scrubbed"), score.column("original")
    kept, gap = losses - scrubbed, losses - original
    references = np.array(score.by_reference.reference)
    rung = Rung(
        name,
        losses.values,
        scrubbed.values,
        original.values,
        interval_of_mean(losses, design=score.design),
        interval_of_ratio(kept, gap, design=score.design, signed=False),
    )
    if rung.recovered is None:
        return replace(rung, interval=None)
    taken = score.donated or Participation()
    itself = self_donors(taken, references, original.values, losses, scrubbed.values, score.estimates)
    return replace(rung, interval=hull(rung.interval, itself))


def _row(rung: Rung) -> dict[str, Any]:
    low, high = rung.loss_interval or (math.nan, math.nan)
    recovered_low, recovered_high = rung.interval or (math.nan, math.nan)
    return {
        "baseline": rung.name,
        "loss": rung.loss,
        "loss_low": low,
        "loss_high": high,
        "recovered": math.nan if rung.recovered is None else rung.recovered,
        "low": recovered_low,
        "high": recovered_high,
    }


def _percent(rung: Rung) -> Any:
    if rung.recovered is None:
        return "nothing to recover"
    low, high = rung.interval or (None, None)
    if low is None or high is None:
        return f"{fixed(100 * rung.recovered, 1)}%\nunbounded"
    return estimate(100 * rung.recovered, (100 * low, 100 * high), 1, after="%")
