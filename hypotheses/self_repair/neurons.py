"""Which neurons of the last layer make up for an ablated head: those that erased what it wrote, and now erase less.

Source: Rushing and Nanda 2024, section 4 and appendix C. A neuron's direct effect is read at the neuron: its activation
times what it writes towards the token. No array of neurons, tokens and `d_model` is ever held.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hypotheses.heads import Head, in_words
from hypotheses.self_repair.effects import FIELDS, Clean, Scale, followed, replaced
from hypotheses.self_repair.measuring import Batch
from hypotheses.self_repair.network import Network
from scrubbing.errors import ModelError
from scrubbing.experiments.reducers import TopShare

FIRST, COMMON = 50, 10  # the neurons that repair most: of figure 8, and of section 4.2.2
THRESHOLDS = (0.5, 0.1, 0.05, 0.025, 0.01)  # of the head's direct effect; the text has 2%, its code 2.5%
CURVE = 60  # ranks at which the cumulative curve is read
AT_ONCE = 256  # tokens
Row = dict[str, int | float | bool | None]
ByNeuron = Float[Tensor, "token neuron"]


def check_neurons(network: Network, head: Head) -> None:
    """Raise `ModelError` unless the last layer has neurons that read what the head writes."""
    layers, last = len(network.blocks), network.blocks[-1]
    if last.mlp is None:
        raise ModelError(
            "the model has attention alone, and so no neurons that could repair; name a model with MLPs with --model"
        )
    if last.parallel and head[0] == layers - 1:
        raise ModelError(
            f"head {in_words([head])} is in the last layer, whose MLP stands beside its heads and reads none of them; "
            f"name a head of layers 0 to {layers - 2}"
        )


@dataclass(frozen=True, eq=False)
class OfTokens:
    """The neurons of the last layer on some tokens, those that repair most first."""

    head_effect: Float[Tensor, " token"]
    layer_effect: Float[Tensor, " token"]  # of the whole MLP in the plain run
    layer_repair: Float[Tensor, " token"]
    order: Int[Tensor, "token neuron"]
    clean: ByNeuron  # direct effects, in this order
    repair: ByNeuron

    @classmethod
    def of(cls, head_effect: Tensor, layer_effect: Tensor, clean: ByNeuron, ablated: ByNeuron) -> "OfTokens":
        """Of the direct effects of neurons in the plain run and in the ablated one."""
        repair, order = (ablated - clean).sort(dim=-1, descending=True)
        return cls(head_effect, layer_effect, repair.sum(dim=-1), order, clean.gather(-1, order), repair)

    def summary(self, ranks: Int[Tensor, " rank"]) -> Float[Tensor, "field token"]:
        """What is kept of each token: of a length that does not grow with the number of neurons."""
        size = self.repair.abs()
        covered = size.cumsum(dim=-1) / size.sum(dim=-1, keepdim=True)
        some = slice(FIRST)
        parts = [
            torch.stack([self.head_effect, self.layer_effect, self.layer_repair], dim=-1),
            _filled(self.order[:, some].to(self.repair)),
            _filled(self.repair[:, some]),
            _filled(self.clean[:, some]),
            covered[:, ranks],
            self.clean[:, ranks],
        ]
        return torch.cat(parts, dim=-1).T


def _filled(first: Float[Tensor, "token some"]) -> Float[Tensor, "token first"]:
    """As many columns as there may be; models of fewer neurons have no number in the rest."""
    return torch.nn.functional.pad(first, (0, FIRST - first.shape[1]), value=torch.nan)


@dataclass(frozen=True, eq=False)
class Summaries:
    """What is kept of the neurons on some tokens (see `OfTokens`)."""

    records: Float[Tensor, "field token"]

    @classmethod
    def of(cls, top: TopShare) -> "Summaries":
        """Those of the top tokens."""
        return cls(torch.from_numpy(top.result()["summary"]).T)

    def part(self, start: int, stop: int) -> Tensor:
        return self.records[start:stop].double()

    @property
    def head_effect(self) -> Float[Tensor, " token"]:
        """The head's direct effect."""
        return self.records[0].double()

    @property
    def layer(self) -> Float[Tensor, "2 token"]:
        """The whole MLP's direct effect, and what it repairs."""
        return self.part(1, 3)

    @property
    def order(self) -> Float[Tensor, "first token"]:
        """The numbers of the neurons that repair most."""
        return self.part(3, 3 + FIRST)

    @property
    def repair(self) -> Float[Tensor, "first token"]:
        """How much these repair."""
        return self.part(3 + FIRST, 3 + 2 * FIRST)

    @property
    def clean(self) -> Float[Tensor, "first token"]:
        """Their direct effects in the plain run."""
        return self.part(3 + 2 * FIRST, 3 + 3 * FIRST)

    @property
    def curve(self) -> Float[Tensor, "2 rank token"]:
        """By rank, the share of all change up to there, and the direct effect of the neuron at that rank."""
        return self.records[3 + 3 * FIRST :].double().unflatten(0, (2, -1))

    @property
    def anti_erasing(self) -> Bool[Tensor, " token"]:
        """Whether the first neuron erased (its effect was below 0) and now does so less."""
        return (self.clean[0] < 0) & (self.repair[0] > 0)


@dataclass(eq=False)
class Collected:
    """Neurons on the tokens of the largest direct effects of a head, and on those that the last MLP repairs most."""

    by_effect: TopShare
    by_repair: TopShare
    ranks: Int[Tensor, " rank"]
    neurons: int
    tokens: int = field(default=0)


@torch.no_grad()
def collect(batches: Iterable[Batch], head: Head, kept: int, *, scale: Scale = "clean") -> Collected:
    """Ablate a head by resampling, and keep what neurons do on the tokens that the figures speak of.

    Raises `ModelError` for a head that no neuron of the last layer reads.
    """
    found: Collected | None = None
    for batch in batches:
        network = batch.clean.network
        if found is None:
            check_neurons(network, head)
            neurons = batch.clean.run.neurons.shape[-1]
            found = Collected(TopShare(1.0, kept), TopShare(1.0, kept), _ranks(neurons), neurons)
        _collect(found, batch, head, scale)
    assert found is not None
    return found


def _collect(found: Collected, batch: Batch, head: Head, scale: Scale) -> None:
    clean = batch.clean
    instead = replaced(clean, batch.donors, head[0], ("resample",))[..., head[1], :]
    records, last = followed(clean, head, instead, scale)
    effect, ratio = (records[0, FIELDS.index(name)].flatten() for name in ("direct_effect", "norm_ratio"))
    assert last.neurons is not None
    assert last.written is not None
    old = clean.scale.flatten()
    new = old if scale == "clean" else old * ratio
    bias = clean.of_mlps()[-1].flatten() - clean.written[-1].flatten() * old
    repair = clean.reading.along(last.written).flatten() * new - clean.written[-1].flatten() * old
    some = partial(
        _on_tokens, clean, clean.run.neurons.flatten(0, 1), last.neurons.flatten(0, 1), old, new, effect, bias
    )
    found.tokens += effect.numel()
    for top, keys in ((found.by_effect, effect), (found.by_repair, repair)):
        chosen = _candidates(top, keys)
        if len(chosen):
            summaries = torch.cat([some(few).summary(found.ranks) for few in chosen.split(AT_ONCE)], dim=-1)
            top.add(keys[chosen].cpu().numpy(), summary=summaries.T.cpu().numpy())


def _candidates(top: TopShare, keys: Float[Tensor, " token"]) -> Int[Tensor, " candidate"]:
    """The tokens that may be among the top ones, those with the largest keys first."""
    held = top.result().get("key")
    order = keys.sort(descending=True, stable=True).indices[: top.size]
    return order if held is None or len(held) < top.size else order[keys[order] > float(held[-1])]


def _on_tokens(
    clean: Clean,
    before: ByNeuron,
    after: ByNeuron,
    old: Tensor,
    new: Tensor,
    effect: Tensor,
    bias: Tensor,
    chosen: Int[Tensor, " chosen"],
) -> OfTokens:
    mlp = clean.network.blocks[-1].mlp
    assert mlp is not None
    along = clean.reading.towards.flatten(0, 1)[chosen] @ mlp.W_out.T
    own = before[chosen] * along * old[chosen, None]
    own_after = after[chosen] * along * new[chosen, None]
    return OfTokens.of(effect[chosen], own.sum(dim=-1) + bias[chosen], own, own_after)


def _ranks(neurons: int) -> Int[Tensor, " rank"]:
    """The ranks at which curves are read: the first ten, and then ever further apart; counted from 0."""
    spaced = torch.logspace(0, torch.log10(torch.tensor(float(neurons))).item(), CURVE).round().long()
    return torch.cat([torch.arange(1, min(10, neurons) + 1), spaced]).unique().clamp(1, neurons) - 1


def top_neurons(found: Collected) -> list[Row]:
    """A row for each token that the last MLP repairs most: the neuron that repairs most of it (figure 7)."""
    of = Summaries.of(found.by_repair)
    columns = of.order[0], of.clean[0], of.clean[0] + of.repair[0], of.layer[0], of.layer[1], of.anti_erasing
    names = "neuron", "clean_effect", "ablated_effect", "layer_effect", "layer_repair", "anti_erasing"
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [{**dict(zip(names, row, strict=True)), "neuron": int(row[0])} for row in rows]


def repair_by_rank(found: Collected, thresholds: Sequence[float] = THRESHOLDS) -> list[Row]:
    """How often the N-th neuron repairs more than so much of the head's direct effect (figure 8)."""
    of = Summaries.of(found.by_effect)
    share = of.repair / of.head_effect
    rows: list[Row] = []
    for n in range(min(FIRST, found.neurons)):
        row: Row = {"rank": n + 1}
        rows.append(row | {f"above_{100 * t:g}%": (share[n] > t).double().mean().item() for t in thresholds})
    return rows


def cumulative(found: Collected) -> list[Row]:
    """The share of all absolute change up to a rank, and the median direct effect there (appendix C)."""
    shares, effects = Summaries.of(found.by_effect).curve
    columns = zip(
        found.ranks.tolist(), shares.nanmean(dim=1).tolist(), effects.median(dim=1).values.tolist(), strict=True
    )
    return [{"rank": rank + 1, "percent": 100 * share, "median_effect": effect} for rank, share, effect in columns]


def commonest(found: Collected) -> list[Row]:
    """The neurons that are most often among the ten that repair most, and how often they come first (section 4.2.2)."""
    of = Summaries.of(found.by_repair)
    among = of.order[: min(COMMON, found.neurons)].long()
    tokens = among.shape[1]
    counts = torch.bincount(among.flatten(), minlength=found.neurons) / tokens
    firsts = torch.bincount(among[0], minlength=found.neurons) / tokens
    rows: list[Row] = []
    for neuron in (counts + firsts / (tokens + 1)).argsort(descending=True, stable=True)[:COMMON].tolist():
        anti = of.anti_erasing[among[0] == neuron]
        row: Row = {"neuron": neuron, "among_ten": counts[neuron].item(), "first": firsts[neuron].item()}
        rows.append(row | {"anti_erasing_where_first": anti.double().mean().item() if len(anti) else None})
    return rows
