"""Transformers with and without MLPs as their formulas say it, one head at a time, with heads replaced on the way."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from scrubbing.lens import Transformer, TransformerConfig

SMALL = {"n_layers": 3, "n_heads": 2, "d_model": 8, "d_head": 4, "d_mlp": 12, "d_vocab": 11, "n_ctx": 7}
Head = tuple[int, int]


def model_of(weights: Mapping[str, Tensor] | None = None, *, seed: int = 0, **settings: object) -> Transformer:
    """A model with random weights, but for those given."""
    kind = {"attn_only": False, "act_fn": "relu", "normalization_type": "LN"}
    c = TransformerConfig(**(SMALL | kind | settings))  # pyright: ignore[reportArgumentType]
    block: dict[str, tuple[int, ...]] = {f"attn.W_{m}": (c.n_heads, c.d_model, c.d_head) for m in "QKV"}
    block |= {f"attn.b_{m}": (c.n_heads, c.d_head) for m in "QKV"}
    block |= {"attn.W_O": (c.n_heads, c.d_head, c.d_model), "attn.b_O": (c.d_model,)}
    if not c.attn_only:
        block |= {"mlp.W_in": (c.d_model, c.neurons), "mlp.b_in": (c.neurons,)}
        block |= {"mlp.W_out": (c.neurons, c.d_model), "mlp.b_out": (c.d_model,)}
    if c.norm_has_gain:
        norms = ("ln1",) if c.attn_only else ("ln1", "ln2")
        block |= {f"{norm}.{part}": (c.d_model,) for norm in norms for part in "wb"}
    shapes = {"embed.W_E": (c.d_vocab, c.d_model), "pos_embed.W_pos": (c.n_ctx, c.d_model)}
    shapes |= {f"blocks.{layer}.{name}": shape for layer in range(c.n_layers) for name, shape in block.items()}
    shapes |= {f"ln_final.{part}": (c.d_model,) for part in "wb"} if c.norm_has_gain else {}
    shapes |= {"unembed.W_U": (c.d_model, c.d_vocab), "unembed.b_U": (c.d_vocab,)}
    generator = torch.Generator().manual_seed(seed)
    made = {n: 0.6 * torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()}
    return Transformer(c, made | dict(weights or {}))


def zeros(**settings: object) -> dict[str, Tensor]:
    """All weights of a model as zero, and gains as one, to be built upon."""
    weights = model_of(**settings).weights
    return {n: torch.ones_like(w) if n.endswith((".w",)) else torch.zeros_like(w) for n, w in weights.items()}


def rows_of(model: Transformer, rows: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(model.config.d_vocab, (rows, model.config.n_ctx + 1), generator=generator)


def save(model: Transformer, folder: Path) -> Path:
    """A model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(model.config.model_dump(exclude_unset=True)))
    save_file({name: value.contiguous() for name, value in model.weights.items()}, folder / "model.safetensors")
    return folder


@dataclass
class Passed:
    """What a pass computes: the next token's logits, each head's z, what each part writes, the norm's size."""

    logits: Tensor
    z: dict[Head, Tensor]
    parts: dict[str, Tensor]  # embed, a{layer}_h{head}, m{layer}, neurons, biases
    size: Tensor
    resid: Tensor
    before: list[Tensor] = field(default_factory=list)
    labels_of: Tensor | None = None

    def effect(self, name: str, towards: Tensor, size: Tensor) -> Tensor:
        """A part's direct effect, in a norm of this size."""
        return (self.parts[name] * towards).sum(-1) / size


def passed(
    model: Transformer,
    rows: Tensor,
    replaced: Mapping[Head, Tensor] | None = None,
    *,
    added: Mapping[int, Tensor] | None = None,
    without: range = range(0),
    size: Tensor | None = None,
) -> Passed:
    """A pass in which heads' z are replaced, streams before layers added to, and whole layers left out."""
    c, w = model.config, model.weights
    tokens, labels = rows[:, :-1], rows[:, 1:]

    def norm(x: Tensor, name: str) -> Tensor:
        if c.normalization_type is None:
            return x
        x = x - x.mean(-1, keepdim=True)
        return x / (x.square().mean(-1, keepdim=True) + c.eps).sqrt() * w[f"{name}.w"] + w[f"{name}.b"]

    def mlp(x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        block = f"blocks.{layer}"
        hidden = torch.relu(norm(x, f"{block}.ln2") @ w[f"{block}.mlp.W_in"] + w[f"{block}.mlp.b_in"])
        return hidden, hidden @ w[f"{block}.mlp.W_out"]

    found: dict[str, Tensor] = {"embed": w["embed.W_E"][tokens] + w["pos_embed.W_pos"][: tokens.shape[1]]}
    resid, zs, before = found["embed"], {}, []
    causal = torch.ones(tokens.shape[1], tokens.shape[1]).tril().bool()
    for layer in range(c.n_layers):
        resid = resid + (added or {}).get(layer, torch.zeros(1, dtype=resid.dtype))
        before.append(resid)
        if layer in without:
            continue
        block, start = f"blocks.{layer}", resid
        for head in range(c.n_heads):
            x = norm(start, f"{block}.ln1")
            q, k, v = (x @ w[f"{block}.attn.W_{m}"][head] + w[f"{block}.attn.b_{m}"][head] for m in "QKV")
            scores = (q @ k.mT / c.d_head**0.5).masked_fill(~causal, -torch.inf)
            z = (replaced or {}).get((layer, head), scores.softmax(-1) @ v)
            zs[layer, head] = z
            found[f"a{layer}_h{head}"] = z @ w[f"{block}.attn.W_O"][head]
            resid = resid + found[f"a{layer}_h{head}"]
        resid = resid + w[f"{block}.attn.b_O"]
        if not c.attn_only:
            read = start if c.parallel_attn_mlp else resid
            found["neurons"], written = mlp(read, layer)
            found[f"m{layer}"] = written + w[f"{block}.mlp.b_out"]
            resid = resid + found[f"m{layer}"]
    centred = resid if c.normalization_type is None else resid - resid.mean(-1, keepdim=True)
    if size is None:
        own = torch.ones_like(resid[..., 0])
        size = own if c.normalization_type is None else (centred.square().mean(-1) + c.eps).sqrt()
    gain = w.get("ln_final.w", torch.ones(c.d_model, dtype=resid.dtype))
    bias = w.get("ln_final.b", torch.zeros(c.d_model, dtype=resid.dtype))
    all_logits = (centred / size[..., None] * gain + bias) @ w["unembed.W_U"] + w["unembed.b_U"]
    logits = all_logits.gather(-1, labels[..., None])[..., 0]
    return Passed(logits, zs, found, size, resid, before)


def towards(model: Transformer, rows: Tensor, mean: Tensor | None = None) -> Tensor:
    """What a part of the stream is multiplied by, for the next token: through the norm's gain and centring."""
    w, c = model.weights, model.config
    u = w["unembed.W_U"].T[rows[:, 1:]]
    u = u if mean is None else u - mean
    u = u * w.get("ln_final.w", torch.ones(c.d_model, dtype=u.dtype))
    return u if c.normalization_type is None else u - u.mean(-1, keepdim=True)
