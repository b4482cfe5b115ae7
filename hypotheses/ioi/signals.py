"""What S-inhibition heads say: the name not to attend to (token), or where it stood (position)?

Their outputs come from prompts in which one or both point elsewhere. Source: Wang et al. 2022, appendix A.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from hypotheses.heads import Head, head_name, in_words
from hypotheses.ioi.prompts import SIGNALS
from scrubbing import Graph, at, donor, measure

Where = Literal["all", "end"]


def patched_rows(rows: int, number: int) -> Int[Tensor, " row"]:
    """The donor of each row where the sets of `SIGNALS` are stacked: row i of set `number` for row i of the first."""
    own = torch.arange(rows * len(SIGNALS))
    own[:rows] += rows * number
    return own


def table(
    G: Graph, heads: Sequence[Head], data: Mapping[str, Tensor], rows: int, *, where: Where = "all", **settings: Any
) -> list[dict[str, Any]]:
    """The logit difference for each pair of signals: of all heads together, then of each alone.

    `data` has the prompts, then their flips, as `SIGNALS` lists them. Heads are patched at all positions, or at the end
    alone. Answers stay those of the prompts.
    """
    groups = [tuple(heads), *((head,) for head in heads if len(heads) > 1)]
    others = [donor(patched_rows(rows, number)) for number in range(len(SIGNALS))]
    instead = [at("END", other) for other in others] if where == "end" else others
    interventions = {
        f"{in_words(group)}: {token}, {position}": {head_name(head): instead[number] for head in group}
        for group in groups
        for number, (token, position) in enumerate(SIGNALS)
    }
    settings = {"references": range(rows), "check": False, **settings}
    scores = measure(G, interventions, data, **settings)
    return [
        {
            "heads": in_words(group),
            "token": token,
            "position": position,
            "logit_difference": scores[f"{in_words(group)}: {token}, {position}"].scrubbed,
        }
        for group in groups
        for token, position in SIGNALS
    ]
