"""Attention scores: how they are made, and which keys a query sees."""

from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.errors import GraphError
from scrubbing.lens.components.positions import Index, Weights
from scrubbing.lens.components.residual import PerHead

Tokens = Bool[Tensor, "batch position"]  # True where there is a token, and False for padding
MaskValue = Float[Tensor, "#batch 1 query key"]  # what is added to scores: 0, or minus infinity
Queries = Float[Tensor, "batch query head d_head"]
PatternValue = Float[Tensor, "batch head query key"]


@dataclass(frozen=True, eq=False)
class Mask(Component):
    """Which keys a query sees.

    With `causal` those up to its own position, with a `window` those fewer than so many positions away; if the rows are
    `padded`, only tokens.
    """

    causal: bool = True
    window: int | None = None
    padded: bool = False

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 1:
            raise GraphError(f"a window of {self.window} positions; a query sees at least itself, which is window=1")

    @property
    def is_native(self) -> bool:
        """Whether fused attention needs to be given no mask."""
        return self.window is None and not self.padded

    def __call__(self, at: Index, weights: Weights, tokens: Tokens | None = None) -> MaskValue:
        dtype = torch.promote_types(weights.dtype, torch.float32)  # weights may be whole numbers, or True and False
        return self.of(at, weights.shape[1], dtype, tokens)

    def of(
        self, at: Int[Tensor, "#batch query"], keys: int, dtype: torch.dtype, tokens: Tokens | None = None
    ) -> MaskValue:
        """What to add to the scores of queries at these positions (-1 for none, where any answer will do)."""
        key, query = torch.arange(keys, device=at.device), at.clamp(min=0)[:, None, :, None]
        hidden = [key > query] if self.causal else []
        hidden += [(key - query).abs() >= self.window] if self.window is not None else []
        hidden += [~tokens[:, None, None]] if tokens is not None else []
        none = torch.zeros_like(query, dtype=torch.bool).expand(-1, -1, -1, keys)
        any_of_them = reduce(torch.logical_or, hidden) if hidden else none
        return torch.zeros(any_of_them.shape, dtype=dtype, device=at.device).masked_fill_(any_of_them, -torch.inf)


@dataclass(frozen=True)
class Scores:
    """How a query scores keys: by scaled products, capped softly at `soft_cap` if there is one, under a mask.

    A soft cap c makes c tanh(score / c) of a score (Gemma 2, 2024, section 2). A query that sees no key, as where a row
    begins with padding, attends to nothing.
    """

    scale: float
    mask: Mask = Mask()
    soft_cap: float | None = None

    def __post_init__(self) -> None:
        if self.soft_cap is not None and not self.soft_cap > 0:
            raise GraphError(f"scores cannot be capped at {self.soft_cap}; without a cap, soft_cap is None")

    def pattern(self, q: PerHead, k: PerHead, tokens: Tokens | None = None) -> PatternValue:
        """Attention probabilities of all positions."""
        return self._pattern(q, k, self._whole_mask(q, tokens))

    def z(self, q: PerHead, k: PerHead, v: PerHead, tokens: Tokens | None = None) -> PerHead:
        """The values moved by the pattern, which is not held but where scores are capped."""
        native = self.mask.is_native and self.soft_cap is None
        return self.z_under(None if native else self._whole_mask(q, tokens), q, k, v)

    def z_under(self, mask: MaskValue | None, q: Queries, k: PerHead, v: PerHead) -> Queries:
        """The same for some queries, under their part of the mask; as many queries as keys are all queries."""
        if self.soft_cap is not None:
            return moved(self._pattern(q, k, mask), v)
        if self.mask.is_native and (q.shape == k.shape or not self.mask.causal):
            mask = None
        q, k, v = (rearrange(part, "b s h e -> b h s e") for part in (q, k, v))
        added, causal = None if mask is None else mask.to(q.dtype), mask is None and self.mask.causal
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=added, is_causal=causal, scale=self.scale)
        return rearrange(self._blank_where_nothing_is_seen(z, mask), "b h s e -> b s h e")

    def _pattern(self, q: Queries, k: PerHead, mask: MaskValue | None) -> PatternValue:
        scores = rearrange(q * self.scale, "b s h e -> b h s e") @ rearrange(k, "b s h e -> b h e s")
        scores = scores if self.soft_cap is None else self.soft_cap * (scores / self.soft_cap).tanh()
        scores = scores if mask is None else scores.add_(mask)
        return self._blank_where_nothing_is_seen(scores.softmax(dim=-1), mask)

    def _whole_mask(self, q: PerHead, tokens: Tokens | None) -> MaskValue:
        return self.mask.of(torch.arange(q.shape[1], device=q.device)[None], q.shape[1], q.dtype, tokens)

    def _blank_where_nothing_is_seen(self, value: Tensor, mask: MaskValue | None) -> Tensor:
        """Zero for such queries, of which a softmax makes no number."""
        if mask is None or not self.mask.padded:
            return value
        return value.masked_fill((mask == -torch.inf).all(dim=-1, keepdim=True), 0.0)


def moved(pattern: PatternValue, v: PerHead) -> Queries:
    """Values as a pattern moves them to its queries."""
    return rearrange(pattern @ rearrange(v, "b s h e -> b h s e"), "b h s e -> b s h e")
