"""A plain forward pass with cross-entropy, as one would write it in torch: the denominator of the ladder's figures.

It knows nothing of graphs: two attention-only layers with fused attention, a final norm, and one of two readouts.
"simple" is a matrix product and `F.cross_entropy` for some rows at a time; "best" never holds more logits than fit in
a cache, and sums their exponentials tile by tile.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from scrubbing.lens import Transformer

from .figures import fastest

SIMPLE_ROWS = [1, 2, 4, 8, 16]
BEST_TILES = [(128, 1024), (256, 512), (256, 1024), (256, 2048), (512, 1024), (1024, 1024)]
LAYER_ROWS = 8


class Plain:
    """A shortformer with LayerNorm and no MLPs (the shipped model's kind), its weights laid out for large products."""

    def __init__(self, model: Transformer) -> None:
        config, weights = model.config, model.weights
        assert config.positional_embedding_type == "shortformer"
        assert config.normalization_type == "LN"
        self.heads, self.width, self.eps = config.n_heads, config.d_model, config.eps
        self.W_E, self.W_pos = weights["embed.W_E"], weights["pos_embed.W_pos"]
        self.W_U = weights["unembed.W_U"].contiguous()
        self.b_U = weights.get("unembed.b_U", torch.zeros(config.out_vocab, dtype=self.W_U.dtype))
        self.final = weights["ln_final.w"], weights["ln_final.b"]
        self.layers = [_layer(model, i) for i in range(config.n_layers)]

    def final_stream(self, tokens: Tensor) -> Tensor:
        """The normalised residual stream `[row, position, d_model]` that the unembedding reads."""
        rows, positions = tokens.shape
        resid = self.W_E[tokens]
        for norm_w, norm_b, W_QK, b_QK, W_V, b_V, W_O, b_O in self.layers:
            x = F.layer_norm(resid, (self.width,), norm_w, norm_b, self.eps)
            qk = torch.addmm(b_QK, (x + self.W_pos[:positions]).flatten(0, 1), W_QK).view(rows, positions, 2, -1)
            v = torch.addmm(b_V, x.flatten(0, 1), W_V).view(rows, positions, self.heads, -1)
            q, k = (part.view(rows, positions, self.heads, -1).transpose(1, 2) for part in qk.unbind(2))
            z = F.scaled_dot_product_attention(q, k, v.transpose(1, 2), is_causal=True)
            resid = resid + torch.addmm(b_O, z.transpose(1, 2).reshape(rows * positions, -1), W_O).view_as(resid)
        return F.layer_norm(resid, (self.width,), *self.final, self.eps)

    def simple(self, tokens: Tensor, labels: Tensor, *, rows: int) -> Tensor:
        """The loss at every position `[row, position]`, in nats: all logits of `rows` rows at a time."""
        return torch.cat([self._simple(t, y) for t, y in zip(tokens.split(rows), labels.split(rows), strict=True)])

    def _simple(self, tokens: Tensor, labels: Tensor) -> Tensor:
        logits = torch.addmm(self.b_U, self.final_stream(tokens).flatten(0, 1), self.W_U)
        return F.cross_entropy(logits, labels.flatten(), reduction="none").view_as(labels)

    def best(self, tokens: Tensor, labels: Tensor, *, tile: tuple[int, int]) -> Tensor:
        """The same without ever holding more than a tile `(positions, tokens)` of logits."""
        chunks = zip(tokens.split(LAYER_ROWS), labels.split(LAYER_ROWS), strict=True)
        return torch.cat([self._best(t, y, tile) for t, y in chunks])

    def _best(self, tokens: Tensor, labels: Tensor, tile: tuple[int, int]) -> Tensor:
        stream, wanted = self.final_stream(tokens).flatten(0, 1), labels.flatten()
        losses = torch.empty(len(stream), dtype=stream.dtype)
        buffer = stream.new_empty(tile[0] * tile[1])
        tiles = [slice(a, a + tile[1]) for a in range(0, self.W_U.shape[1], tile[1])]
        parts = [(self.b_U[columns], self.W_U[:, columns]) for columns in tiles]
        for a in range(0, len(stream), tile[0]):
            x, y = stream[a : a + tile[0]], wanted[a : a + tile[0]]
            ours = torch.einsum("pd,dp->p", x, self.W_U[:, y]) + self.b_U[y]
            losses[a : a + tile[0]] = _logsumexp(x, parts, buffer) - ours
        return losses.view_as(labels)

    def tuned(self, tokens: Tensor, labels: Tensor) -> tuple[int, tuple[int, int]]:
        """The row count of `simple` and the tile of `best` that are fastest here, found on a few rows."""
        few, theirs = tokens[: max(SIMPLE_ROWS)], labels[: max(SIMPLE_ROWS)]
        rows = fastest(SIMPLE_ROWS, lambda n: self.simple(few, theirs, rows=n))
        tile = fastest(BEST_TILES, lambda size: self.best(few, theirs, tile=size))
        return rows, tile


def _logsumexp(x: Tensor, parts: list[tuple[Tensor, Tensor]], buffer: Tensor) -> Tensor:
    """log sum exp of the logits, shifted by the first tile's maximum; where that overflows, by each tile's own."""
    shift, total = None, torch.zeros(len(x), dtype=x.dtype)
    for b, W in parts:
        logits = torch.addmm(b, x, W, out=buffer[: len(x) * len(b)].view(len(x), len(b)))
        shift = logits.amax(1) if shift is None else shift
        total += logits.sub_(shift[:, None]).exp_().sum(1)
    assert shift is not None
    if not total.isfinite().all():
        return torch.stack([torch.addmm(b, x, W).logsumexp(1) for b, W in parts]).logsumexp(0)
    return total.log_().add_(shift)


def _layer(model: Transformer, layer: int) -> tuple[Tensor, ...]:
    """Norm, the projections to queries and keys in one, to values and from heads, each `[in, out]`, with biases."""
    config, block = model.config, f"blocks.{layer}"
    weights = {name.removeprefix(f"{block}."): w for name, w in model.weights.items() if name.startswith(block)}
    wide = config.n_heads * config.d_head
    zeros = torch.zeros(wide, dtype=model.weights["embed.W_E"].dtype)
    W = {m: weights[f"attn.W_{m}"].transpose(0, 1).reshape(config.d_model, wide) for m in "QKV"}
    b = {m: weights[f"attn.b_{m}"].flatten() if f"attn.b_{m}" in weights else zeros for m in "QKV"}
    return (
        weights["ln1.w"],
        weights["ln1.b"],
        torch.cat([W["Q"], W["K"]], dim=1),
        torch.cat([b["Q"], b["K"]]),
        W["V"].contiguous(),
        b["V"],
        weights["attn.W_O"].reshape(wide, config.d_model),
        weights.get("attn.b_O", torch.zeros(config.d_model, dtype=zeros.dtype)),
    )
