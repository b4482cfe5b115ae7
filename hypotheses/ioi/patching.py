"""Path patching: what is left when some heads write to others what they would for three different names.

Source: Wang et al. 2022, Interpretability in the Wild, section 3; the several senders are those of the text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from hypotheses.heads import Head, head_name, in_words
from hypotheses.ioi.network import OUTPUT, mlps
from scrubbing import Graph, Hypothesis, paths, reads, scrub
from scrubbing.errors import DataError
from scrubbing.rewrite import split_qkv

Input = Literal["q", "k", "v", "logits"]

DONORS_OUTPUT = Graph({OUTPUT: reads("io", "s", "END")})  # what recovers 0%: the donor's whole run, the row's answers


@dataclass(frozen=True)
class Patch:
    """Senders whose values are the donor's on their way to one input of the receivers; or to the logits."""

    senders: tuple[Head, ...]
    receivers: tuple[Head, ...] = ()  # none where the logits receive
    input: Input = "logits"

    @property
    def joined(self) -> bool:
        """Whether a sender comes before a receiver."""
        last = max((layer for layer, _ in self.receivers), default=None)
        return last is None or any(layer < last for layer, _ in self.senders)

    def hypothesis(self, G: Graph, *, freeze_mlps: bool) -> Hypothesis:
        """The claim that nothing else matters. MLPs between them are computed again, or frozen.

        `G` has the receivers split (see `split`). Senders that come after every receiver send nothing.
        """
        last = max((layer for layer, _ in self.receivers), default=None)
        senders = [head_name(head) for head in self.senders if last is None or head[0] < last]
        receivers = [f"{head_name(head)}_{self.input}" for head in self.receivers] or ["logits"]
        return paths(G, senders, receivers, through=() if freeze_mlps else mlps(G))

    def __str__(self) -> str:
        to = f"{in_words(self.receivers)} {self.input}" if self.receivers else "logits"
        return f"{in_words(self.senders)} to {to}"


def split(G: Graph, patches: Sequence[Patch]) -> Graph:
    """The graph with every receiver's q, k and v as nodes."""
    return split_qkv(G, *dict.fromkeys(head_name(head) for patch in patches for head in patch.receivers))


def changes(
    G: Graph,
    patches: Sequence[Patch],
    data: Mapping[str, Tensor],
    donors: Int[Tensor, " row"],
    references: int,
    *,
    freeze_mlps: bool = False,
    **settings: Any,
) -> list[float]:
    """What each patch does to the logit difference: 0 nothing, -1 all that the donors' whole run would do.

    The first `references` rows are patched; `donors` has a row for each row. A sender that comes after every receiver
    does exactly nothing.

    Raises what `scrub` raises, and `DataError` where the donors' run is as good as the prompts'.
    """
    apart = split(G, patches)
    made = {str(i): p.hypothesis(apart, freeze_mlps=freeze_mlps) for i, p in enumerate(patches) if p.joined}
    if not made:
        return [0.0] * len(patches)
    settings = {"references": range(references), "check": False, **settings}
    scores = scrub(made, data, baseline=DONORS_OUTPUT, others=donors, **settings)
    whole = next(iter(scores.values()))
    gap = whole.original - whole.baseline
    if gap == 0:
        raise DataError(
            f"the donors' run has the prompts' own logit difference, {whole.original:.4g}, so that no change can be a "
            f"share of it; give donors that differ"
        )
    return [(scores[str(i)].scrubbed - whole.original) / gap if str(i) in scores else 0.0 for i in range(len(patches))]


def table(patches: Sequence[Patch], found: Sequence[float]) -> list[dict[str, Any]]:
    """A row for each patch."""
    return [
        {
            "senders": in_words(patch.senders),
            "receivers": in_words(patch.receivers) or "logits",
            "input": patch.input,
            "change": change,
        }
        for patch, change in zip(patches, found, strict=True)
    ]


def partners(rows: int, sets: int) -> Int[Tensor, " row"]:
    """The donor of each row where `sets` sets of rows are stacked: row i of the second for row i of the first."""
    own = torch.arange(rows * sets)
    own[:rows] += rows
    return own
