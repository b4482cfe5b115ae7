"""Anti-induction and copy suppression of every head: what it takes from the logit of a token that it attends to.

Source: McDougall et al. 2023, Copy Suppression, section 4 and its appendix on anti-induction.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hypotheses.copy_suppression.directions import Unembeddings
from hypotheses.copy_suppression.network import Parts
from hypotheses.copy_suppression.passes import Pass, passes
from hypotheses.copy_suppression.places import Vocabulary
from hypotheses.copy_suppression.prompts import ioi_prompts
from hypotheses.heads import Head
from scrubbing.lens.components.readout import precise

SEQUENCES, LENGTH = 100, 30
SCORED_ROWS = 50

Effects = Float[Tensor, "layer head"]
# A token for each destination, and the sources through which its logit is affected.
Targets = tuple[Int[Tensor, "batch query"], Bool[Tensor, "batch query key"]]


def head_scores(
    parts: Parts,
    data: Mapping[str, Tensor],
    function_words: Bool[Tensor, " token"],
    vocabulary: Vocabulary,
    *,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Both scores of all heads: direct effects in logits, negated, so that suppression is positive.

    Anti-induction: random tokens twice over; what a head adds in the second half to the token that is right, by
    attention to the place where that stood in the first.

    Copy suppression: prompts of indirect objects; what a head adds to the name that is right, by attention to it. Where
    the model's tokenizer has no such names, rows of the data: what it adds to the word that is predicted before the
    head, by attention to where that was said.
    """
    anti = -_mean_effects(parts, _repeated(parts, function_words, seed), _first_time)
    prompts = ioi_prompts(vocabulary, seed)
    if prompts is not None:
        device = parts.readout.W_U.device
        copy = -_mean_effects(parts, {name: c.to(device) for name, c in prompts.items()}, _label_where_said)
    else:
        some = {name: column[:SCORED_ROWS] for name, column in data.items()}
        copy = -_mean_effects(parts, some, _Said(Unembeddings(parts.readout), function_words))
    return [
        {"layer": layer, "head": head, "anti_induction": anti[layer, head].item(), "copy_suppression": value.item()}
        for layer, heads in enumerate(copy)
        for head, value in enumerate(heads)
    ]


def most_suppressing(scores: list[dict[str, Any]]) -> Head:
    """The head with the largest score of copy suppression."""
    best = max(scores, key=lambda row: row["copy_suppression"])
    return best["layer"], best["head"]


def _mean_effects(parts: Parts, data: Mapping[str, Tensor], targets: Callable[[Pass, int], Targets]) -> Effects:
    """The mean over destinations with a target of what each head adds to its logit through the target's sources."""
    config = parts.config
    total, count = torch.zeros(config.n_layers, config.n_heads, dtype=torch.float64), torch.zeros(config.n_layers)
    for at in passes(parts, data):
        for layer in range(config.n_layers):
            token, sources = targets(at, layer)
            effects = direct_effects_of_pairs(at, layer, token, sources)
            total[layer] += effects.double().sum((0, 2)).cpu()
            count[layer] += sources.any(2).sum().cpu()
    return (total / count.clamp(min=1)[:, None]).float()


def direct_effects_of_pairs(
    at: Pass, layer: int, token: Int[Tensor, "batch query"], sources: Bool[Tensor, "batch query key"]
) -> Float[Tensor, "batch head query"]:
    """What each head of a layer adds to the logit of a token, through some of its sources; the norm's scale is kept."""
    attention = at.parts.attention(layer, list(range(at.parts.config.n_heads)))
    inputs = at.inputs(layer)
    pattern = precise(attention.pattern(*inputs)) * sources[:, None]
    v = precise(attention.v(*inputs[attention.terms(len(inputs))]))
    towards = Unembeddings(at.parts.readout)(token).to(v) * precise(at.size)
    read = torch.einsum("h e d, b q d -> b h q e", precise(attention.W_O), towards)
    moved = torch.einsum("b h q k, b k h e -> b h q e", pattern, v)
    return (moved * read).sum(-1)


def _repeated(parts: Parts, function_words: Bool[Tensor, " token"], seed: int) -> dict[str, Tensor]:
    """A first token, and random words twice over."""
    generator = torch.Generator().manual_seed(seed)
    content = (~function_words).nonzero()[:, 0].cpu()
    begin = function_words.nonzero()[:1, 0].cpu() if function_words.any() else content[:1]
    length = min(LENGTH, (parts.config.n_ctx - 1) // 2)
    half = torch.stack([content[torch.randperm(len(content), generator=generator)[:length]] for _ in range(SEQUENCES)])
    tokens = torch.cat([begin.expand(SEQUENCES, 1), half, half], dim=1).to(parts.readout.W_U.device)
    return {"tokens": tokens, "labels": tokens.roll(-1, 1), "weights": torch.ones(tokens.shape)}


def _first_time(at: Pass, _: int) -> Targets:
    """In the second half, the next token, and where it stood in the first."""
    batch, positions = at.tokens.shape
    half = (positions - 1) // 2
    sources = torch.zeros(batch, positions, positions, dtype=torch.bool, device=at.tokens.device)
    query = torch.arange(1 + half, positions - 1, device=at.tokens.device)
    sources[:, query, query + 1 - half] = True
    return at.labels, sources


def _label_where_said(at: Pass, _: int) -> Targets:
    """The label, and where it was said."""
    return at.labels, said_before(at, at.labels)


def said_before(at: Pass, token: Int[Tensor, "batch query"]) -> Bool[Tensor, "batch query key"]:
    """Where a token of each evaluated destination was said."""
    causal = torch.ones(token.shape[1], token.shape[1], dtype=torch.bool, device=token.device).tril()
    return (at.tokens[:, None, :] == token[:, :, None]) & causal & (at.weights != 0)[:, :, None]


@dataclass(frozen=True)
class _Said:
    """The word that is predicted before the heads of a layer, where it was said before."""

    unembeddings: Unembeddings
    function_words: Bool[Tensor, " token"]

    def __call__(self, at: Pass, layer: int) -> Targets:
        return predicted_and_said(at, layer, self.unembeddings, self.function_words)


def predicted_and_said(
    at: Pass, layer: int, unembeddings: Unembeddings, function_words: Bool[Tensor, " token"]
) -> Targets:
    """What the stream before a layer predicts, and where that was said: nowhere for function words."""
    top = (at.lens(layer) @ unembeddings.all.T.to(at.size)).argmax(-1)
    return top, said_before(at, top) & ~function_words[top][:, :, None]
