"""The network as a graph whose output is a logit difference; and with heads that can be knocked out by position."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hypotheses.heads import Head as Head
from hypotheses.heads import head_name
from hypotheses.heads import in_words as in_words
from scrubbing import Graph, Node
from scrubbing.engine.component import Component
from scrubbing.lens.components.readout import Logits, Readout, precise
from scrubbing.lens.components.residual import RESID_POSITION_AXIS

Means = Mapping[str, Float[Tensor, "template position d_model"]]  # by head

OUTPUT = "logit_difference"


@dataclass(frozen=True, eq=False)
class LogitDifference(Component):
    """How much more one token is favoured than another, at a position of each row: `[row]`, in logits."""

    def __call__(
        self, logits: Logits, token: Int[Tensor, " row"], other: Int[Tensor, " row"], at: Int[Tensor, " row"]
    ) -> Float[Tensor, " row"]:
        readout, row = logits.readout, torch.arange(len(at), device=at.device)
        x = precise(readout.reader.norm(logits.resid[row, at]))
        return self._logit(x, token, readout) - self._logit(x, other, readout)

    def _logit(self, x: Float[Tensor, "row d_model"], token: Int[Tensor, " row"], readout: Readout) -> Tensor:
        logit = torch.linalg.vecdot(x, precise(readout.W_U.T[token]))
        logit = logit if readout.b_U is None else logit + precise(readout.b_U[token])
        return logit if readout.soft_cap is None else readout.soft_cap * (logit / readout.soft_cap).tanh()


def of_logit_difference(G: Graph, *, as_loss: bool = False) -> Graph:
    """A transformer's graph with the logit difference of the columns `io` and `s` at `END` in the place of its loss.

    `[row]`, in logits, larger where the object is favoured; with `as_loss`, where the subject is: less is better then.
    """
    nodes = {name: node for name, node in G.items() if name != G.output}
    tokens = ("s", "io") if as_loss else ("io", "s")
    return Graph(nodes | {OUTPUT: Node(LogitDifference(), ("logits", *tokens, "END"))})


def mlps(G: Graph) -> list[str]:
    """The MLPs of a graph."""
    return [name for name in G if name[0] == "m" and name[1:].isdigit()]


# -- knocking out


@dataclass(frozen=True, eq=False)
class OfTemplate(Component):
    """What a head writes on average, by template: `[row, position, d_model]`."""

    means: Float[Tensor, "template position d_model"]

    def __call__(self, template: Int[Tensor, " row"]) -> Float[Tensor, "row position d_model"]:
        return self.means[template]


@dataclass(frozen=True, eq=False)
class Kept(Component):
    """A head's value where it is kept, and its mean elsewhere."""

    head: int

    def __call__(
        self,
        value: Float[Tensor, "row position d_model"],
        mean: Float[Tensor, "row position d_model"],
        kept: Bool[Tensor, "row head position"],
    ) -> Float[Tensor, "row position d_model"]:
        return value.where(kept[:, self.head, :, None], mean)


def with_knockouts(G: Graph, means: Means) -> Graph:
    """The network with each head knocked out where the column `kept` says no: `[row, head, position]`, True or False.

    Heads are numbered as in `means`, which has what stands in for each: its mean over prompts of the same `template`.
    MLPs are computed again.

    Source: Wang et al. 2022, Interpretability in the Wild, section 2.1 (knockouts by means).
    """
    changes: dict[str, Node] = {}
    for number, (name, table) in enumerate(means.items()):
        whole, mean = f"{name}_whole", f"{name}_mean"
        changes |= {
            whole: G[name],
            mean: Node(OfTemplate(table), ("template",), RESID_POSITION_AXIS),
            name: Node(Kept(number), (whole, mean, "kept"), RESID_POSITION_AXIS),
        }
    return G | changes


@torch.no_grad()
def template_means(
    G: Graph, columns: Mapping[str, Tensor], heads: Iterable[Head], *, template: Int[Tensor, " row"], chunk: int = 32
) -> dict[str, Float[Tensor, "template position d_model"]]:
    """What heads write on average over the rows of each template, position by position; a few rows at a time."""
    names, sums, dtype = [head_name(head) for head in heads], {}, torch.float32
    for start in range(0, len(template), chunk):
        some = {name: column[start : start + chunk] for name, column in columns.items()}
        of = template[start : start + chunk]
        for name, value in zip(names, G.activations(some, *names), strict=True):
            if name not in sums:
                dtype = value.dtype
                sums[name] = value.new_zeros(int(template.max()) + 1, *value.shape[1:], dtype=torch.float64)
            sums[name].index_add_(0, of, value.double())
    counts = torch.bincount(template)[:, None, None]
    return {name: (total / counts).to(dtype) for name, total in sums.items()}
