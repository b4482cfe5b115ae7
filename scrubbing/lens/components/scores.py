"""Attention scores: how they are made, and which keys a query sees."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.errors import GraphError
from scrubbing.lens.components.positions import Index, Weights
from scrubbing.lens.components.residual import PerHead, Real

MaskValue = Float[Tensor, "#batch 1 #query key"]  # what is added to scores: 0, or minus infinity
Queries = Float[Tensor, "batch query head d_head"]
PatternValue = Float[Tensor, "batch head query key"]
At = Int[Tensor, "#batch query"]  # the positions of queries; -1 for none


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

    def __call__(self, at: Index, weights: Weights, real: Real | None = None) -> MaskValue:
        dtype = torch.promote_types(weights.dtype, torch.float32)  # weights may be whole numbers, or True and False
        return self.of(at, weights.shape[1], dtype, real)

    def of(self, at: At, keys: int, dtype: torch.dtype, real: Real | None = None) -> MaskValue:
        """What to add to the scores of queries at these positions (-1 for none, where any answer will do)."""
        key, query = torch.arange(keys, device=at.device), at.clamp(min=0)[:, None, :, None]
        hidden = [key > query] if self.causal else []
        hidden += [(key - query).abs() >= self.window] if self.window is not None else []
        hidden += [real[:, None, None] == 0] if real is not None else []
        nothing = torch.zeros(1, 1, 1, keys, dtype=torch.bool, device=at.device)
        any_of_them = reduce(torch.logical_or, hidden, nothing)
        return torch.zeros(any_of_them.shape, dtype=dtype, device=at.device).masked_fill_(any_of_them, -torch.inf)


@dataclass(frozen=True)
class Scores:
    """How a query scores keys: by scaled products, capped softly at `soft_cap` if there is one, under a mask.

    A soft cap c makes c tanh(score / c) of a score (Gemma 2, 2024, section 2). With `slopes`, one per head, a score
    falls by the head's slope for each position between key and query (ALiBi; Press et al. 2022). A query that sees no
    key, as where a row begins with padding, attends to nothing.
    """

    scale: float
    mask: Mask = Mask()
    soft_cap: float | None = None
    slopes: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.soft_cap is not None and not self.soft_cap > 0:
            raise GraphError(f"scores cannot be capped at {self.soft_cap}; without a cap, soft_cap is None")

    def heads(self, heads: Sequence[int]) -> "Scores":
        """The same for some of the heads."""
        return self if self.slopes is None else replace(self, slopes=tuple(self.slopes[head] for head in heads))

    def pattern(self, q: PerHead, k: PerHead, real: Real | None = None) -> PatternValue:
        """Attention probabilities of all positions."""
        return self._pattern(q, k, self._whole_mask(q, real), _positions(q))

    def z(self, q: PerHead, k: PerHead, v: PerHead, real: Real | None = None) -> PerHead:
        """The values moved by the pattern, which is not held but where scores are capped."""
        native = self.mask.is_native and self.soft_cap is None and self.slopes is None
        return self.z_under(None if native else self._whole_mask(q, real), q, k, v, _positions(q))

    def z_under(self, mask: MaskValue | None, q: Queries, k: PerHead, v: PerHead, at: At) -> Queries:
        """The same for the queries at some positions, under their part of the mask; as many as keys are all queries."""
        if self.soft_cap is not None:
            return moved(self._pattern(q, k, mask, at), v)
        if self.slopes is None and self.mask.is_native and (q.shape == k.shape or not self.mask.causal):
            mask = None
        q, k, v = (rearrange(part, "b s h e -> b h s e") for part in (q, k, v))
        added = None if mask is None else self._sloped(mask, at).to(q.dtype)
        causal = mask is None and self.mask.causal
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=added, is_causal=causal, scale=self.scale)
        return rearrange(self._blank_where_nothing_is_seen(z, mask), "b h s e -> b s h e")

    def _pattern(self, q: Queries, k: PerHead, mask: MaskValue | None, at: At) -> PatternValue:
        scores = rearrange(q * self.scale, "b s h e -> b h s e") @ rearrange(k, "b s h e -> b h e s")
        scores = scores if self.soft_cap is None else self.soft_cap * (scores / self.soft_cap).tanh()
        scores = scores if mask is None else scores + self._sloped(mask, at)
        return self._blank_where_nothing_is_seen(scores.softmax(dim=-1), mask)

    def _whole_mask(self, q: PerHead, real: Real | None) -> MaskValue:
        return self.mask.of(_positions(q), q.shape[1], q.dtype, real)

    def _sloped(self, mask: MaskValue, at: At) -> Float[Tensor, "#batch #head #query key"]:
        """The mask with what scores fall by between positions."""
        if self.slopes is None:
            return mask
        distance = at.clamp(min=0)[:, None, :, None] - torch.arange(mask.shape[-1], device=mask.device)
        return mask - torch.tensor(self.slopes, dtype=mask.dtype, device=mask.device)[:, None, None] * distance

    def _blank_where_nothing_is_seen(self, value: Tensor, mask: MaskValue | None) -> Tensor:
        """Zero for such queries, of which a softmax makes no number."""
        if mask is None or not self.mask.padded:
            return value
        return value.masked_fill((mask == -torch.inf).all(dim=-1, keepdim=True), 0.0)


def alibi_slopes(n_heads: int) -> tuple[float, ...]:
    """ALiBi's slopes: powers of 2^(-8/n) for a power n of two, and between them for the rest (Press et al. 2022)."""
    whole = 2 ** (n_heads.bit_length() - 1)
    slopes = [2 ** (-8 * (i + 1) / whole) for i in range(whole)]
    return (*slopes, *(2 ** (-4 * (2 * i + 1) / whole) for i in range(n_heads - whole)))


def _positions(q: PerHead) -> Int[Tensor, "1 position"]:
    return torch.arange(q.shape[1], device=q.device)[None]


def moved(pattern: PatternValue, v: PerHead) -> Queries:
    """Values as a pattern moves them to its queries."""
    return rearrange(pattern @ rearrange(v, "b s h e -> b h s e"), "b h s e -> b s h e")
