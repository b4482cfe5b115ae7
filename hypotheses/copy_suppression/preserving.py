"""What copy-suppression-preserving ablation leaves of a head: the parts that suppress what is predicted.

Source: McDougall et al. 2023, Copy Suppression, section 3.3. A head writes at each destination the sum over sources of
attention times what the source's value writes. Of a pair that is not kept, the mean of the head stands in; of a pair
that is kept, what differs from that mean is projected onto the source's unembedding, and only what lowers it is left.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hypotheses.copy_suppression.directions import Table, Tokens, Unembeddings, span
from hypotheses.copy_suppression.sources import Pairs, Share, by_chance, kept_pairs, last_seen
from scrubbing.engine.component import Component
from scrubbing.lens.components.attention import Attention
from scrubbing.lens.components.readout import precise
from scrubbing.lens.components.residual import Resid, SizeOfStream

Mode = Literal["ov", "qk", "both"]
Ranking = Literal["predicted", "random", "recent"]
Onto = Literal["own", "another"]

Weights = Float[Tensor, "batch query key"]


DEFAULT = Share()


@dataclass(frozen=True)
class Rules:
    """What is kept.

    - `mode`: "ov" keeps all pairs and projects them; "qk" keeps the pairs of predicted sources as they are; "both"
    - `share`: how many sources of a destination count as predicted
    - `negative_only`: whether of a projection only what lowers the source's logit is kept (the paper), or all of it
    - `keep_invalid`: whether everything is kept where there are too few valid sources (the authors' code)
    - `centred`: whether unembeddings are less their mean over tokens
    - `ranking`, `onto`: "predicted" and "own"; the others are controls, that choose sources at random or the most
      recent, or project onto another token's unembedding
    """

    mode: Mode = "both"
    share: Share = DEFAULT
    negative_only: bool = True
    keep_invalid: bool = False
    centred: bool = True
    ranking: Ranking = "predicted"
    onto: Onto = "own"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Preserved(Component):
    """What is left of a head, less its mean: `[batch, position, d_model]`.

    It reads the tokens, the head's mean, the scale of the final norm in the plain run, and what the head reads.
    `function_words` marks tokens that are never kept; `related` lists for each token those whose unembeddings its
    values are projected onto, where that is more than its own.
    """

    attention: Attention
    unembeddings: Unembeddings
    function_words: Bool[Tensor, " token"]
    rules: Rules
    related: Table | None = None

    def __call__(self, tokens: Tokens, mean: Resid, size: SizeOfStream, *inputs: Tensor) -> Resid:
        pattern, written = moved_parts(self.attention, *inputs)
        pattern, written, mean = precise(pattern), precise(written), precise(mean)
        if self.rules.mode != "ov":
            resid = self.attention.q.reader.stream(*inputs[self.attention.terms(len(inputs))])
            pattern = pattern * self.kept(tokens, precise(resid) * precise(size))
        if self.rules.mode == "qk":
            found = pattern @ written - pattern.sum(-1, keepdim=True) * mean
        else:
            found = self._projected(tokens, pattern, written, mean)
        return found.to(inputs[0].dtype)

    def kept(self, tokens: Tokens, lens: Resid) -> Pairs:
        """Which pairs are kept, by what the stream predicts at the destination before the head."""
        match self.rules.ranking:
            case "predicted":
                scores = lens @ self.unembeddings(tokens).to(lens).transpose(1, 2)
            case "random":
                scores = by_chance(tokens, self.rules.seed)
            case "recent":
                scores = last_seen(tokens)
        valid = ~self.function_words[tokens]
        return kept_pairs(scores, tokens, valid, self.rules.share, keep_invalid=self.rules.keep_invalid)

    def _projected(self, tokens: Tokens, pattern: Weights, written: Resid, mean: Resid) -> Resid:
        """The sum over pairs of the projection, as coefficients: nothing `[query, key, d_model]` is ever held."""
        basis = self._basis(tokens).to(written)
        onto = torch.einsum("b k d, b k n d -> b k n", written, basis)[:, None]
        onto = onto - torch.einsum("b q d, b k n d -> b q k n", mean, basis)
        coefficients = pattern[..., None] * onto
        if self.rules.negative_only:
            coefficients = coefficients.clamp(max=0)
        return torch.einsum("b q k n, b k n d -> b q d", coefficients, basis)

    def _basis(self, tokens: Tokens) -> Float[Tensor, "batch key related d_model"]:
        tokens = self._another(tokens) if self.rules.onto == "another" else tokens
        if self.related is None:
            return span(self.unembeddings(tokens)[:, :, None])
        related: Int[Tensor, "batch key related"] = self.related[tokens]
        vectors = self.unembeddings(related.clamp(min=0).flatten(1)).unflatten(1, related.shape[1:])
        return span(torch.where((related >= 0)[..., None], vectors, 0.0))

    def _another(self, tokens: Tokens) -> Tokens:
        """For each token another one that is no function word, the same everywhere."""
        content = (~self.function_words).nonzero()[:, 0]
        place = torch.searchsorted(content, tokens)
        return content[(place + len(content) // 2) % len(content)]


def moved_parts(attention: Attention, *inputs: Tensor) -> tuple[Weights, Resid]:
    """A single head's pattern, and what it would write of each source if it attended to nothing else."""
    terms = inputs[attention.terms(len(inputs))]
    return attention.pattern(*inputs)[:, 0], attention.writer(attention.v(*terms))
