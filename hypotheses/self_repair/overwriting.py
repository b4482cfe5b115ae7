"""Layers skipped: the stream before a layer is overwritten with that before an earlier one.

If each layer only improves on a guess, later heads go on as before. Source: Rushing and Nanda 2024, section 5.3.1.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

from hypotheses.heads import Head
from hypotheses.self_repair.effects import Clean
from hypotheses.self_repair.network import Run
from scrubbing.experiments.reducers import TopShare

Row = dict[str, int | float]
Span = tuple[int, int]  # the stream before the first layer takes the place of that before the second


def spans(layers: int) -> list[Span]:
    """All pairs of layers."""
    return list(combinations(range(layers), 2))


@torch.no_grad()
def overwritten(clean: Clean, span: Span) -> Clean:
    """The run in which the layers from the first of two up to the second write nothing, no bias either."""
    first, second = span
    network = clean.network
    # Readers add the output biases of all layers before them, those of the skipped ones too.
    stream = clean.run.steps[first].before - network.bias_of(range(first, second))
    steps = tuple(network.steps(second, stream))
    return replace(clean, run=Run((*clean.run.steps[:second], *steps)))


def tables(batches: Iterable[Clean], kept: int) -> tuple[list[Row], list[Row]]:
    """For each pair of layers what it does to logits; and what later heads do on the tokens of their largest effects.

    Direct effects are in the plain run's scale.
    """
    changes: dict[Span, list[float]] = {}
    tops: dict[tuple[Span, Head], TopShare] = {}
    for clean in batches:
        for span in spans(len(clean.network.blocks)):
            after = overwritten(clean, span)
            change = after.logit - clean.logit
            total = changes.setdefault(span, [0.0, 0.0])
            total[0] += change.double().sum().item()
            total[1] += change.numel()
            for layer in range(span[1], len(clean.network.blocks)):
                found = zip(clean.of_heads(layer).unbind(-1), _effects(after, clean, layer).unbind(-1), strict=True)
                for head, (old, new) in enumerate(found):
                    top = tops.setdefault((span, (layer, head)), TopShare(1.0, kept))
                    top.add(old.flatten().cpu().numpy(), new=new.flatten().double().cpu().numpy())
    pairs = [
        {"first": first, "second": second, "tokens": int(count), "change_in_logit": total / count}
        for (first, second), (total, count) in changes.items()
    ]
    return pairs, [_row(span, head, top) for (span, head), top in tops.items()]


def _effects(after: Clean, clean: Clean, layer: int) -> Float[Tensor, "row position head"]:
    """The direct effects of heads after the overwriting, in the plain run's scale."""
    return after.of_heads(layer) * (clean.scale / after.scale)[..., None]


def _row(span: Span, head: Head, top: TopShare) -> Row:
    found = top.result()
    of = {"first": span[0], "second": span[1], "layer": head[0], "head": head[1], "tokens": len(found["key"])}
    return {**of, "direct_effect": float(found["key"].mean()), "new_direct_effect": float(found["new"].mean())}
