"""Attention-only transformers as their formulas say it, one head at a time, and random weights for them.

Parameter and configuration names are transformer_lens' old ones.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scrubbing.lens import Transformer, TransformerConfig

Weights = dict[str, Tensor]
Vectors = Float[Tensor, "row position dim"]

SMALL = {"n_layers": 2, "n_heads": 3, "d_model": 6, "d_head": 4, "d_vocab": 7, "n_ctx": 5}


def config(**settings) -> TransformerConfig:
    return TransformerConfig(**(SMALL | settings))


def shapes(c: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """Every parameter that a model of this configuration may have, biases included."""
    block = {f"attn.W_{which}": (c.n_heads, c.d_model, c.d_head) for which in "QKV"}
    block |= {f"attn.b_{which}": (c.n_heads, c.d_head) for which in "QKV"}
    block |= {"attn.W_O": (c.n_heads, c.d_head, c.d_model), "attn.b_O": (c.d_model,)}
    norm = {"w": (c.d_model,), "b": (c.d_model,)} if c.normalization_type == "LN" else {"w": (c.d_model,)}
    norm = norm if c.normalization_type in ("LN", "RMS") else {}
    block |= {f"ln1.{name}": shape for name, shape in norm.items()}
    return {
        "embed.W_E": (c.d_vocab, c.d_model),
        **({} if c.positional_embedding_type == "rotary" else {"pos_embed.W_pos": (c.n_ctx, c.d_model)}),
        **{f"blocks.{layer}.{name}": shape for layer in range(c.n_layers) for name, shape in block.items()},
        **{f"ln_final.{name}": shape for name, shape in norm.items()},
        "unembed.W_U": (c.d_model, c.d_vocab),
        "unembed.b_U": (c.d_vocab,),
    }


def random_weights(c: TransformerConfig, *, seed: int = 0) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.7 * torch.randn(s, generator=generator, dtype=torch.float64) for name, s in shapes(c).items()}


def random_transformer(*, seed: int = 0, **settings) -> Transformer:
    c = config(**settings)
    return Transformer(c, random_weights(c, seed=seed))


def random_data(c: TransformerConfig, *, rows: int, seed: int = 0) -> dict[str, Tensor]:
    """Tokens, labels and weights per position, of which a few are zero."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(c.d_vocab, (rows, c.n_ctx + 1), generator=generator)
    weights = torch.rand(rows, c.n_ctx, generator=generator, dtype=torch.float64)
    return {"tokens": tokens[:, :-1], "labels": tokens[:, 1:], "weights": weights * (weights > 0.2)}


def norm(c: TransformerConfig, weights: Weights, x: Vectors, *, at: str) -> Vectors:
    if c.normalization_type is None:
        return x
    if c.normalization_type.startswith("LN"):
        x = x - x.mean(-1, keepdim=True)
    x = x / torch.sqrt((x**2).mean(-1, keepdim=True) + c.eps)
    return x * weights.get(f"{at}.w", 1.0) + weights.get(f"{at}.b", 0.0)


def rotated(x: Vectors, *, dims: int, base: float, adjacent: bool) -> Vectors:
    """Pairs of the first `dims` entries as complex numbers, turned by position * base^(-2n/dims)."""
    turned = x.clone()
    for n in range(dims // 2):
        i, j = (2 * n, 2 * n + 1) if adjacent else (n, n + dims // 2)
        for p in range(x.shape[1]):
            angle = torch.tensor(p * base ** (-2 * n / dims), dtype=torch.float64)
            number = torch.complex(x[:, p, i], x[:, p, j]) * torch.polar(torch.ones_like(angle), angle)
            turned[:, p, i], turned[:, p, j] = number.real, number.imag
    return turned


@dataclass(frozen=True)
class Attending:
    """What a query may look at: keys before it, keys near it, tokens; and how large a score may be."""

    causal: bool = True
    window: int | None = None
    soft_cap: float | None = None
    tokens: Bool[Tensor, "row position"] | None = None

    def pattern(self, scores: Float[Tensor, "row query key"]) -> Float[Tensor, "row query key"]:
        """One query after the other, over the keys that it sees; zero where it sees none."""
        pattern = torch.zeros_like(scores)
        for row in range(len(scores)):
            for query in range(scores.shape[1]):
                seen = [key for key in range(scores.shape[2]) if self.sees(row, query, key)]
                if seen:
                    these = scores[row, query, seen]
                    these = these if self.soft_cap is None else self.soft_cap * torch.tanh(these / self.soft_cap)
                    pattern[row, query, seen] = these.softmax(-1)
        return pattern

    def sees(self, row: int, query: int, key: int) -> bool:
        near = self.window is None or abs(query - key) < self.window
        token = self.tokens is None or bool(self.tokens[row, key])
        return near and token and (key <= query or not self.causal)


def head_parts(
    c: TransformerConfig, weights: Weights, x: Vectors, *, layer: int, head: int, attending: Attending | None = None
) -> dict[str, Tensor]:
    """q, k, v, pattern, z of one head on a stream, and what it writes (`out`)."""
    block = f"blocks.{layer}"
    x = norm(c, weights, x, at=f"{block}.ln1")

    def linear(which: str, x: Vectors) -> Vectors:
        bias = weights.get(f"{block}.attn.b_{which}")
        return x @ weights[f"{block}.attn.W_{which}"][head] + (0.0 if bias is None else bias[head])

    placed = x + weights["pos_embed.W_pos"][: x.shape[1]] if c.positional_embedding_type == "shortformer" else x
    q, k, v = linear("Q", placed), linear("K", placed), linear("V", x)
    if c.positional_embedding_type == "rotary":
        turn = {"dims": c.rotary_dim or c.d_head, "base": c.rotary_base, "adjacent": c.rotary_adjacent_pairs}
        q, k = rotated(q, **turn), rotated(k, **turn)
    scores = q @ k.mT / (c.attn_scale or c.d_head**0.5)
    pattern = (attending or Attending()).pattern(scores)
    z = pattern @ v
    return {"q": q, "k": k, "v": v, "pattern": pattern, "z": z, "out": z @ weights[f"{block}.attn.W_O"][head]}


def plain_logits(
    c: TransformerConfig, weights: Weights, tokens: Int[Tensor, "row position"], attending: Attending | None = None
) -> Float[Tensor, "row position token"]:
    resid = weights["embed.W_E"][tokens]
    if c.positional_embedding_type == "standard":
        resid = resid + weights["pos_embed.W_pos"][: tokens.shape[1]]
    for layer in range(c.n_layers):
        how = {"layer": layer, "attending": attending}
        heads = [head_parts(c, weights, resid, head=head, **how)["out"] for head in range(c.n_heads)]
        resid = resid + sum(heads) + weights.get(f"blocks.{layer}.attn.b_O", 0.0)
    return norm(c, weights, resid, at="ln_final") @ weights["unembed.W_U"] + weights.get("unembed.b_U", 0.0)
