"""Weights and configuration from a folder or from transformer_lens, checked before anything is computed."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from scrubbing.errors import ModelError, nearest
from scrubbing.graph.reading import in_short, open_file, read_json
from scrubbing.lens.config import TransformerConfig

Shape = tuple[int, ...]

# The types that weights are computed with. In float8 nothing is computed, and what its numbers mean depends on scales.
FLOATING = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_LAYER = re.compile(r"blocks\.(\d{1,9})\.")

# What the native models of transformer_lens 4 compute, whatever their configuration says.
_NATIVE = {"rotary_adjacent_pairs": True, "use_attn_scale": True}


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


def load_transformer(source: str | Path | Any) -> Transformer:
    """Load a transformer from a folder (config.json, model.safetensors), or take a transformer_lens model.

    Nothing is folded or centred. Where weights have several floating types, all become the widest of them; `.to(dtype)`
    changes the type.

    >>> from hypotheses.induction.suite import SHIPPED  # a folder
    >>> from scrubbing.lens import load_transformer
    >>> model = load_transformer(SHIPPED)
    >>> model.config.n_layers, model.config.n_heads
    (2, 8)
    >>> model.weights["embed.W_E"].shape  # [d_vocab, d_model]
    torch.Size([4096, 256])

    Raises `ModelError` for files that are missing or damaged, and for models that are not attention-only transformers
    of the kinds that `TransformerConfig` knows.
    """
    if not isinstance(source, str | Path):
        return from_transformer_lens(source)
    folder = Path(source)
    if not os.path.isdir(folder):  # noqa: PTH112 - for names that no folder can have, Path.is_dir raises
        raise ModelError(f"there is no model folder {folder}; it must hold config.json and model.safetensors")
    return Transformer(read_config(folder / "config.json"), _read_weights(folder / "model.safetensors"))


def from_transformer_lens(model: Any) -> Transformer:
    """A transformer_lens model (a bridge of version 4, or an older HookedTransformer), as it is: nothing is folded."""
    config = getattr(model, "cfg", None)
    if config is None:
        raise ModelError(f"{type(model).__name__} is neither a folder nor a transformer_lens model (it has no cfg)")
    fields = {name: getattr(config, name) for name in dir(config) if not name.startswith("_")}
    plain = {k: v for k, v in fields.items() if isinstance(v, str | int | float | bool | dict | None)}
    if plain.get("architecture") == "TransformerLensNative":
        plain |= _NATIVE
    parameters = model.tl_parameters() if hasattr(model, "tl_parameters") else model.state_dict()
    weights = {name: value.detach() for name, value in dict(parameters).items() if not _absent_mlp(name, value)}
    return Transformer(_validated(plain, "the model's cfg"), _promoted(_without_buffers(weights)))


def read_config(path: Path) -> TransformerConfig:
    """A configuration from a JSON file."""
    try:
        given = read_json(path)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; it holds the model's n_layers, n_heads, d_model, ...") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {in_short(error)}") from None
    return _validated(given, str(path))


def _validated(given: Any, where: str) -> TransformerConfig:
    try:
        return TransformerConfig.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ModelError(
            f"{where}: {place + ': ' if place else ''}{first['msg'].removeprefix('Value error, ')}"
        ) from None


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        open_file(path).close()  # a pipe would be waited for
        return _promoted(_without_buffers(load_file(path)))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; it holds the model's weights") from None
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RuntimeError, MemoryError) as error:
        raise ModelError(
            f"{path} is damaged or no safetensors file ({in_short(error)}); copy it again from where it came from"
        ) from None


def _absent_mlp(name: str, value: Tensor) -> bool:
    """A bridge lists zeros for the MLP that an attention-only model does not have."""
    return ".mlp." in name and not value.any()


def _without_buffers(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Old transformer_lens files carry masks and rotary tables, which are not parameters."""
    buffers = ("mask", "IGNORE", "rotary_sin", "rotary_cos")
    return {name: value for name, value in weights.items() if name.rsplit(".", 1)[-1] not in buffers}


def _promoted(weights: dict[str, Tensor]) -> dict[str, Tensor]:
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
    if c.positional_embedding_type != "rotary":
        required["pos_embed.W_pos"] = (c.n_ctx, c.d_model)
    norms = ["ln_final"]
    for layer in range(c.n_layers):
        block = f"blocks.{layer}"
        norms.append(f"{block}.ln1")
        required |= {f"{block}.attn.W_{m}": (c.n_heads, c.d_model, c.d_head) for m in "QKV"}
        required[f"{block}.attn.W_O"] = (c.n_heads, c.d_head, c.d_model)
        optional |= {f"{block}.attn.b_{m}": (c.n_heads, c.d_head) for m in "QKV"}
        optional[f"{block}.attn.b_O"] = (c.d_model,)
    if c.norm_has_gain:
        required |= {f"{norm}.w": (c.d_model,) for norm in norms}
        (required if c.norm_kind == "LN" else optional).update({f"{norm}.b": (c.d_model,) for norm in norms})
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
        elif not value.isfinite().all():
            yield f"{name!r} holds values that are not finite: the file is damaged or the training diverged"
    if len({value.dtype for value in weights.values() if value.dtype in FLOATING}) > 1:
        yield "the weights are of several types; save them all in one, for example float32"
