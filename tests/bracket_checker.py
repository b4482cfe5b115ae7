"""Bracket checkers as their formulas say it, random weights for them, and where the published one may be."""

import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import Tensor

from scrubbing.lens import Transformer, TransformerConfig

PUBLISHED = Path(__file__).parents[2] / "shared" / "data" / "brackets"
ABSENT = f"the published bracket checker is not at {PUBLISHED}"

SMALL = {
    "n_layers": 3,
    "n_heads": 2,
    "d_model": 8,
    "d_head": 4,
    "d_mlp": 8,
    "d_vocab": 5,
    "d_vocab_out": 2,
    "n_ctx": 12,
}
KIND = {"attn_only": False, "act_fn": "relu", "attention_dir": "bidirectional", "normalization_type": "LN"}
PAD = 1


def random_checker(seed: int = 0, **settings: object) -> Transformer:
    c = TransformerConfig(**(SMALL | KIND | settings))  # pyright: ignore[reportArgumentType]
    block = {"ln1.w": (c.d_model,), "ln1.b": (c.d_model,), "ln2.w": (c.d_model,), "ln2.b": (c.d_model,)}
    block |= {f"attn.W_{m}": (c.n_heads, c.d_model, c.d_head) for m in "QKV"}
    block |= {f"attn.b_{m}": (c.n_heads, c.d_head) for m in "QKV"}
    block |= {"attn.W_O": (c.n_heads, c.d_head, c.d_model), "attn.b_O": (c.d_model,)}
    block |= {"mlp.W_in": (c.d_model, 8), "mlp.b_in": (8,), "mlp.W_out": (8, c.d_model), "mlp.b_out": (c.d_model,)}
    shapes = {"embed.W_E": (c.d_vocab, c.d_model), "pos_embed.W_pos": (c.n_ctx, c.d_model)}
    shapes |= {f"blocks.{layer}.{name}": shape for layer in range(c.n_layers) for name, shape in block.items()}
    shapes |= {"ln_final.w": (c.d_model,), "ln_final.b": (c.d_model,)}
    shapes |= {"unembed.W_U": (c.d_model, c.out_vocab), "unembed.b_U": (c.out_vocab,)}
    generator = torch.Generator().manual_seed(seed)
    return Transformer(c, {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()})


def save(model: Transformer, folder: Path) -> Path:
    """A model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config.model_dump(exclude_unset=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file({name: value.float().contiguous() for name, value in model.weights.items()}, folder / "model.safetensors")
    return folder


Stream = Float[Tensor, "row position d_model"]
Tokens = Int[Tensor, "row position"]


class Plain:
    """A forward pass, component by component; every method takes tokens, or a stream."""

    def __init__(self, model: Transformer) -> None:
        self.w, self.c = model.weights, model.config

    def norm(self, x: Stream, name: str) -> Stream:
        x = x - x.mean(-1, keepdim=True)
        x = x / torch.sqrt((x**2).mean(-1, keepdim=True) + self.c.eps)
        return x * self.w[f"{name}.w"] + self.w[f"{name}.b"]

    def embed(self, tokens: Tokens) -> Stream:
        return self.w["embed.W_E"][tokens] + self.w["pos_embed.W_pos"][: tokens.shape[1]]

    def head(self, layer: int, head: int, resid: Stream, tokens: Tokens) -> Stream:
        """What a head writes of a stream, under the mask of these tokens."""
        x, attn = self.norm(resid, f"blocks.{layer}.ln1"), f"blocks.{layer}.attn"
        q, k, v = (x @ self.w[f"{attn}.W_{m}"][head] + self.w[f"{attn}.b_{m}"][head] for m in "QKV")
        scores = q @ k.mT / np.sqrt(self.c.d_head)
        scores[(tokens == PAD)[:, None].expand_as(scores)] = -1e5
        return scores.softmax(-1) @ v @ self.w[f"{attn}.W_O"][head]

    def mlp(self, layer: int, resid: Stream) -> Stream:
        """What an MLP writes of a stream, without its bias."""
        x, mlp = self.norm(resid, f"blocks.{layer}.ln2"), f"blocks.{layer}.mlp"
        hidden = torch.relu(x @ self.w[f"{mlp}.W_in"] + self.w[f"{mlp}.b_in"])
        return hidden @ self.w[f"{mlp}.W_out"]

    def attention_bias(self, layer: int) -> Tensor:
        return self.w[f"blocks.{layer}.attn.b_O"]

    def mlp_bias(self, layer: int) -> Tensor:
        return self.w[f"blocks.{layer}.mlp.b_out"]

    def parts(self, tokens: Tokens) -> dict[str, Stream]:
        """What every component writes, and the stream before each layer and at the end (`r0`, ..., `r3`)."""
        found = {"embed": self.embed(tokens)}
        resid = found["embed"]
        for layer in range(self.c.n_layers):
            found[f"r{layer}"] = resid
            for head in range(self.c.n_heads):
                found[f"a{layer}_h{head}"] = self.head(layer, head, found[f"r{layer}"], tokens)
                resid = resid + found[f"a{layer}_h{head}"]
            resid = resid + self.attention_bias(layer)
            found[f"m{layer}"] = self.mlp(layer, resid)
            resid = resid + found[f"m{layer}"] + self.mlp_bias(layer)
        return found | {f"r{self.c.n_layers}": resid}

    def losses(self, resid: Float[Tensor, "row d_model"], labels: Int[Tensor, " row"]) -> Float[Tensor, " row"]:
        """The cross-entropy of the decision, of the last stream at position 0."""
        logits = self.norm(resid, "ln_final") @ self.w["unembed.W_U"] + self.w["unembed.b_U"]
        return torch.nn.functional.cross_entropy(logits, labels, reduction="none")
