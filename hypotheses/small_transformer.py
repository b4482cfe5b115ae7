"""A small transformer with layer norms, biases and MLPs, as two studies train one: parameters and a plain pass."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from hypotheses.runs import Parameters

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]  # queries, keys and values [row, head, position, d_head]


@runtime_checkable
class Sizes(Protocol):
    """What of a recipe decides the shapes."""

    @property
    def seed(self) -> int: ...
    @property
    def n_layers(self) -> int: ...
    @property
    def n_heads(self) -> int: ...
    @property
    def d_model(self) -> int: ...
    @property
    def d_head(self) -> int: ...
    @property
    def d_mlp(self) -> int: ...
    @property
    def n_ctx(self) -> int: ...


def random_parameters(sizes: Sizes, d_vocab: int, d_vocab_out: int) -> Parameters:
    """Random parameters; a head's query, key and value columns lie side by side: `[d_model, heads * d_head]`."""
    generator = torch.Generator().manual_seed(sizes.seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * shape[0] ** -0.5

    d, inner = sizes.d_model, sizes.n_heads * sizes.d_head
    parameters = {
        "embed.W_E": torch.randn(d_vocab, d, generator=generator) * 0.5,
        "pos_embed.W_pos": torch.randn(sizes.n_ctx, d, generator=generator) * 0.5,
        "unembed.W_U": normal(d, d_vocab_out),
        "unembed.b_U": torch.zeros(d_vocab_out),
        "ln_final.w": torch.ones(d),
        "ln_final.b": torch.zeros(d),
    }
    for layer in range(sizes.n_layers):
        block = f"blocks.{layer}"
        for norm in ("ln1", "ln2"):
            parameters |= {f"{block}.{norm}.w": torch.ones(d), f"{block}.{norm}.b": torch.zeros(d)}
        for m in "QKV":
            parameters |= {f"{block}.attn.W_{m}": normal(d, inner), f"{block}.attn.b_{m}": torch.zeros(inner)}
        parameters |= {f"{block}.attn.W_O": normal(inner, d), f"{block}.attn.b_O": torch.zeros(d)}
        parameters |= {f"{block}.mlp.W_in": normal(d, sizes.d_mlp), f"{block}.mlp.b_in": torch.zeros(sizes.d_mlp)}
        parameters |= {f"{block}.mlp.W_out": normal(sizes.d_mlp, d), f"{block}.mlp.b_out": torch.zeros(d)}
    return parameters


def final_stream(
    parameters: Parameters, tokens: Int[Tensor, "row position"], sizes: Sizes, attend: Attend
) -> Float[Tensor, "row position d_model"]:
    """The stream behind the last layer, by the shortest path through PyTorch (no graph, nothing scrubbed)."""
    resid = parameters["embed.W_E"][tokens] + parameters["pos_embed.W_pos"][: tokens.shape[1]]
    for layer in range(sizes.n_layers):
        block = {name.split(".", 2)[2]: v for name, v in parameters.items() if name.startswith(f"blocks.{layer}.")}
        x = F.layer_norm(resid, resid.shape[-1:], block["ln1.w"], block["ln1.b"])
        projected = (x @ block[f"attn.W_{m}"] + block[f"attn.b_{m}"] for m in "QKV")
        z = attend(*(rearrange(y, "b s (h e) -> b h s e", h=sizes.n_heads) for y in projected))
        resid = resid + rearrange(z, "b h s e -> b s (h e)") @ block["attn.W_O"] + block["attn.b_O"]
        x = F.layer_norm(resid, resid.shape[-1:], block["ln2.w"], block["ln2.b"])
        hidden = torch.relu(x @ block["mlp.W_in"] + block["mlp.b_in"])
        resid = resid + hidden @ block["mlp.W_out"] + block["mlp.b_out"]
    return resid


def unembedded(parameters: Parameters, resid: Float[Tensor, "*row d_model"]) -> Float[Tensor, "*row token"]:
    """The logits that a stream leads to."""
    x = F.layer_norm(resid, resid.shape[-1:], parameters["ln_final.w"], parameters["ln_final.b"])
    return x @ parameters["unembed.W_U"] + parameters["unembed.b_U"]


def configuration(sizes: Any, **more: Any) -> dict[str, Any]:
    """The config.json of such a transformer: the sizes of a recipe, and `more`."""
    names = ("n_layers", "n_heads", "d_model", "d_head", "d_mlp", "d_vocab", "n_ctx")
    return {
        **{name: getattr(sizes, name) for name in names if hasattr(sizes, name)},
        "attn_only": False,
        "positional_embedding_type": "standard",
        "normalization_type": "LN",
        "eps": 1e-5,
        "act_fn": "relu",
        **more,
    }
