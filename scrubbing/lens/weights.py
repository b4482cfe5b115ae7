"""A transformer's weights, by transformer_lens' old parameter names, checked against its configuration."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from scrubbing.errors import ModelError, nearest
from scrubbing.graph.fingerprint import in_pieces
from scrubbing.graph.reading import in_short
from scrubbing.lens.config import TransformerConfig

Shape = tuple[int, ...]

# The types that weights are computed with. In float8 nothing is computed, and what its numbers mean depends on scales.
FLOATING = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_LAYER = re.compile(r"blocks\.(\d{1,9})\.")


@dataclass(frozen=True, eq=False)
class Transformer:
    """A configuration, and weights under the parameter names of transformer_lens' HookedTransformer.

    Raises `ModelError` for parameters that are missing, unknown or of the wrong shape, and for values not finite.
    """

    config: TransformerConfig
    weights: Mapping[str, Tensor] = field(repr=False)

    def __post_init__(self) -> None:
        problems = list(_problems(self.config, self.weights))
        if problems:
            more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
            raise ModelError(problems[0] + more)

    def to(self, dtype: torch.dtype | None = None, device: str | None = None) -> "Transformer":
        """The same with all weights of one type, on one device.

        Raises `ModelError` for weights that the type cannot hold.
        """
        try:
            moved = {name: value.to(dtype=dtype, device=device) for name, value in self.weights.items()}
        except (RuntimeError, AssertionError, TypeError) as error:  # how torch says that there is no such device
            raise ModelError(f"the weights cannot be moved to {device or dtype}: {in_short(error)}") from None
        for name, value in moved.items():
            _check_kept(name, self.weights[name], value)
        return Transformer(self.config, moved)


def promoted(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of one type: the narrowest that holds each of theirs. What is no weight stays, to be refused."""
    types = {value.dtype for value in weights.values() if value.dtype in FLOATING}
    if len(types) < 2:
        return weights
    widest = reduce(torch.promote_types, types)
    return {name: value.to(widest) if value.dtype in FLOATING else value for name, value in weights.items()}


def _check_kept(name: str, before: Tensor, after: Tensor) -> None:
    if before.dtype == after.dtype or after.dtype not in FLOATING:
        return
    if before.isfinite().all() and not after.isfinite().all():
        lost = f"as large as {before.abs().max().item():.3g}, which {_type(after)} cannot hold"
    elif before.any() and not after.any():
        lost = f"none larger than {before.abs().max().item():.3g}, which are all 0 as {_type(after)}"
    else:
        return
    raise ModelError(f"{name!r} holds weights {lost}; compute in {_type(before)} (--dtype {_type(before)})")


def _type(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _shapes(c: TransformerConfig) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Every parameter that must be there, and every one that may."""
    required: dict[str, Shape] = {"embed.W_E": (c.d_vocab, c.d_model), "unembed.W_U": (c.d_model, c.out_vocab)}
    optional: dict[str, Shape] = {"unembed.b_U": (c.out_vocab,)}
    if c.positional_embedding_type in ("standard", "shortformer"):
        required["pos_embed.W_pos"] = (c.n_ctx, c.d_model)
    norms: dict[str, int] = {"ln_final": c.d_model} | ({"embed.ln": c.d_model} if c.post_embedding_ln else {})
    shared: set[str] = set()
    for layer in range(c.n_layers):
        block = f"blocks.{layer}"
        heads = {"Q": c.n_heads, "K": c.kv_heads, "V": c.kv_heads}
        required |= {f"{block}.attn.W_{m}": (count, c.d_model, c.d_head) for m, count in heads.items()}
        required[f"{block}.attn.W_O"] = (c.n_heads, c.d_head, c.d_model)
        optional |= {f"{block}.attn.b_{m}": (count, c.d_head) for m, count in heads.items()}
        optional[f"{block}.attn.b_O"] = (c.d_model,)
        if c.qk_norm is not None:
            norms |= {
                f"{block}.attn.{m.lower()}_norm": c.d_head * (heads[m] if c.qk_norm == "layer" else 1) for m in "QK"
            }
        blocks = ["ln1"] if c.attn_only else ["ln1", "ln2"]
        norms |= {f"{block}.{name}": c.d_model for name in blocks if c.norm_placement != "after"}
        norms |= {f"{block}.{name}_post": c.d_model for name in blocks if c.norm_placement != "before"}
        if not c.attn_only:
            W_in, W_out = (c.d_model, c.neurons), (c.neurons, c.d_model)
            required |= {f"{block}.mlp.W_in": W_in, f"{block}.mlp.W_out": W_out}
            optional |= {f"{block}.mlp.b_in": (c.neurons,), f"{block}.mlp.b_out": (c.d_model,)}
        if not c.attn_only and c.gated_mlp:
            required[f"{block}.mlp.W_gate"] = (c.d_model, c.neurons)
            optional[f"{block}.mlp.b_gate"] = (c.neurons,)
        if not c.attn_only and c.act_fn == "solu_ln":
            norms[f"{block}.mlp.ln"] = c.neurons
        if c.parallel_attn_mlp:
            shared.add(f"{block}.ln2")  # the two may read one norm
    if c.norm_has_gain:
        for name, size in norms.items():
            (optional if name in shared else required)[f"{name}.w"] = (size,)
            biased = c.norm_kind == "LN" and c.norm_has_bias and name not in shared
            (required if biased else optional)[f"{name}.b"] = (size,)
    return required, optional


def _problems(config: TransformerConfig, weights: Mapping[str, Tensor]) -> Iterator[str]:
    layers = 1 + max((int(found[1]) for name in weights if (found := _LAYER.match(name))), default=-1)
    if config.n_layers > len(weights):  # before they are counted through
        yield f"config.json says n_layers is {config.n_layers}, and the weights are of {layers} layers"
        return
    required, optional = _shapes(config)
    known, unknown = required | optional, 0
    for name in required:
        if name not in weights:
            yield f"the weights lack {name!r}, which config.json's settings call for"
    for name, value in weights.items():
        if name not in known:
            unknown += 1  # looking for the nearest name takes time, and the first is shown
            meant = nearest(name, known) if unknown == 1 else ""
            yield f"the weights hold {name!r}, which config.json's settings do not call for{meant}"
        elif tuple(value.shape) != known[name]:
            yield (
                f"{name!r} has the shape {list(value.shape)}, but by config.json it must be {list(known[name])}: "
                f"the weights and the configuration are not of one model"
            )
        elif value.dtype not in FLOATING:
            yield f"{name!r} is of type {_type(value)}, in which nothing is computed; save it as float32"
        elif not all(part.isfinite().all() for part in in_pieces(value)):
            yield f"{name!r} holds values that are not finite: the file is damaged or the training diverged"
    if len({value.dtype for value in weights.values() if value.dtype in FLOATING}) > 1:
        yield "the weights are of several types; save them all in one, for example float32"
