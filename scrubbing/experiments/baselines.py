"""Baselines by name, from knowing the labels alone upwards: against which is a percentage measured?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch
from jaxtyping import Float
from rich.console import RenderableType

from scrubbing.engine.exact import exact_losses
from scrubbing.engine.policy import Policy
from scrubbing.errors import DataError
from scrubbing.experiments.arguments import baseline_of
from scrubbing.experiments.explanation import at_rows
from scrubbing.experiments.scoring import Baseline, Data, Settings, scrub
from scrubbing.graph import Graph, reads
from scrubbing.graph.data import Columns, as_columns
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.lens.components.loss import WeightedCrossEntropy
from scrubbing.lens.components.readout import Logits
from scrubbing.score import Score
from scrubbing.score.statistics import fieller, mean_interval
from scrubbing.score.tables import decimals_for, estimate, fixed, rendered, titled

if TYPE_CHECKING:
    import pandas as pd

PAIRS = 20_000_000  # of a reference and another datum, of which each is one call of the loss
TILE = 2**23  # logits held at a time

Losses = Float[np.ndarray, " reference"]


@dataclass(frozen=True, eq=False)
class Rung:
    """One baseline: its loss on each reference, and how much a hypothesis recovers against it."""

    name: str
    losses: Losses
    scrubbed: Losses
    original: Losses

    @property
    def loss(self) -> float:
        """Its mean loss."""
        return float(self.losses.mean())

    @property
    def loss_interval(self) -> tuple[float, float] | None:
        """The 95% interval of its mean loss (Student)."""
        return mean_interval(self.losses)

    @property
    def recovered(self) -> float | None:
        """The fraction of the loss between this baseline and the network that the hypothesis recovers."""
        gap = float((self.losses - self.original).mean())
        tiny = 1e-12 * float(np.abs(self.losses).mean() + np.abs(self.original).mean())
        return None if abs(gap) <= tiny else float((self.losses - self.scrubbed).mean()) / gap

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its 95% interval (Fieller); None where the baseline does not differ significantly from the network."""
        return None if self.recovered is None else fieller(self.losses - self.scrubbed, self.losses - self.original)


@dataclass(frozen=True, eq=False)
class BaselineLadder:
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
        own = np.array(self.score.by_reference.scrubbed), np.array(self.score.by_reference.original)
        ends = [
            (name, estimate(float(losses.mean()), mean_interval(losses), decimals), "")
            for name, losses in zip(("the hypothesis", "the network"), own, strict=True)
        ]
        title = "what the hypothesis recovers, by the baseline"
        notes = [f"{self.score.references} references, 95% intervals"]
        return titled(title, ["baseline", "its loss", "recovered"], [*rows, None, *ends], notes)

    def __str__(self) -> str:
        return rendered(self)

    __repr__ = __str__


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
    scrubbed, original = (np.array(losses) for losses in (score.by_reference.scrubbed, score.by_reference.original))
    losses = {n: np.array(found[n].by_reference.scrubbed) if n in found else given[n][references] for n in baselines}
    rungs = [Rung(name, loss, scrubbed, original) for name, loss in losses.items()]
    return BaselineLadder(score, tuple(sorted(rungs, key=lambda rung: -rung.loss)))


def labels_alone(G: Graph) -> Graph:
    """The explanation that knows the labels (and weights) and nothing else: the predictions come from random donors.

    >>> labels_alone(Graph(out=lambda x: 2 * x, loss=lambda out, y: (out - y) ** 2))
    Graph of 1 nodes, output 'loss', columns y
      loss(y)
    """
    return Graph({G.output: reads(*(column for column in G[G.output].inputs if column not in G))})


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
    size = max(1, TILE // (int(evaluated.sum()) * readout.W_U.shape[1]))
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


def _per_row(name: str, given: Any, rows: int) -> Losses:
    losses = np.asarray(given, dtype=np.float64)
    if losses.shape != (rows,):
        raise DataError(
            f"the baseline {name!r} must be a Graph, a Hypothesis, or a loss for each of the {rows} rows; "
            f"it has shape {list(losses.shape)}"
        )
    wrong = np.flatnonzero(~np.isfinite(losses))
    if len(wrong):
        raise DataError(f"the baseline {name!r} has the loss {losses[wrong[0]]} in row {wrong[0]}; it must be finite")
    return losses


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
