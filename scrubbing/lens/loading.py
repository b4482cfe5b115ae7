"""The doors through which models come in: folders, transformer_lens' and Hugging Face's objects, names on the hub."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scrubbing.errors import ModelError
from scrubbing.errors.arguments import checked
from scrubbing.lens.config import validated
from scrubbing.lens.cross_check import check_against
from scrubbing.lens.folders import WEIGHTS, read_settings, read_weights, write_folder
from scrubbing.lens.hub import hub_folder, is_hub_name
from scrubbing.lens.hugging_face import converted, family_of
from scrubbing.lens.legacy import legacy_file, legacy_settings, legacy_weights
from scrubbing.lens.weights import Transformer, promoted

# What the native models of transformer_lens 4 compute, whatever their configuration says.
_NATIVE = {"rotary_adjacent_pairs": True, "use_attn_scale": True}


_OF_QKV = re.compile(r"blocks\.\d+\.attn\.[Wb]_[QKV]")

_NO_DOOR = (
    "{} is neither a folder nor a model of transformer_lens (it has no cfg) or of Hugging Face (it has no config); "
    "from_module takes any module apart"
)


def load_transformer(
    source: str | Path | Any, config: Mapping[str, Any] | Any = None, *, check: bool = True
) -> Transformer:
    """Load a transformer, as it is: nothing is folded or centred.

    `source` is one of

    - a folder with config.json and safetensors: what `save_transformer` writes, or a model of Hugging Face of a family
      that is known, sharded or not
    - a folder in transformer_lens' first form (`redwood_attn_2l`, `attn-only-2l-demo`): config.json and *final.pth
    - the name of such a model on the hub ("gpt2", "EleutherAI/pythia-160m"), downloaded or taken from the cache
    - a transformer_lens model: a bridge of version 4, or an older HookedTransformer
    - a model of Hugging Face's transformers
    - weights by transformer_lens' parameter names, with their `config`, as a mapping

    With `check`, the logits of a model that can be run are compared with those of its graph on a few random tokens.

    Where weights have several floating types, all become the widest of them; `.to(dtype)` changes the type. Weights
    stay where they are: those of a folder are read from the file as they are needed.

    >>> from hypotheses.induction.suite import SHIPPED  # a folder
    >>> from scrubbing.lens import load_transformer
    >>> model = load_transformer(SHIPPED)
    >>> model.config.n_layers, model.config.n_heads
    (2, 8)
    >>> model.weights["embed.W_E"].shape  # [d_vocab, d_model]
    torch.Size([4096, 256])

    Raises `ModelError` for files that are missing or damaged, and for models whose configuration says something that
    is not computed here; `from_module` takes any module apart.
    """
    if config is not None and not isinstance(source, Mapping):
        raise ModelError("config= belongs to weights; folders and models have their own")
    if isinstance(source, str | Path):
        return _from_folder(hub_folder(str(source)) if is_hub_name(source) else Path(source))
    if isinstance(source, Mapping):
        if config is None:
            raise ModelError("weights need config=, a mapping with n_layers, n_heads, d_model, ...")
        given = config if isinstance(config, Mapping) else _plain(config)
        return _from_lens(given, dict(source), "config")
    if hasattr(source, "cfg"):
        loaded = _from_transformer_lens(source)
    elif hasattr(getattr(source, "config", None), "model_type"):
        if getattr(source, "training", False):
            raise ModelError(
                "the model is in training mode, in which dropout makes its outputs random; call model.eval()"
            )
        loaded = _from_hugging_face(source.config.to_dict(), dict(source.state_dict()))
    else:
        raise ModelError(_NO_DOOR.format(type(source).__name__))
    if check and callable(source):
        check_against(source, loaded)
    return loaded


@checked
def save_transformer(model: Transformer, folder: str | Path) -> None:
    """Write a folder (config.json, model.safetensors) that `load_transformer` reads.

    >>> from tempfile import TemporaryDirectory
    >>> from hypotheses.brackets.suite import SHIPPED
    >>> from scrubbing.lens import load_transformer, save_transformer
    >>> with TemporaryDirectory() as folder:
    ...     save_transformer(load_transformer(SHIPPED), folder)
    ...     load_transformer(folder).config.n_layers
    3

    Raises `ModelError` if it cannot be written.
    """
    write_folder(Path(folder), model.config.model_dump(mode="json", exclude_defaults=True), model.weights)


def _from_folder(folder: Path) -> Transformer:
    if not os.path.isdir(folder):  # noqa: PTH112 - for names that no folder can have, Path.is_dir raises
        raise ModelError(f"there is no model folder {folder}; it must hold config.json and model.safetensors")
    settings = read_settings(folder / "config.json")
    if isinstance(settings, dict) and "n_layers" not in settings and "model_type" in settings:
        family_of(settings)  # before much is read
        return _from_hugging_face(settings, read_weights(folder))
    legacy = None if (folder / WEIGHTS).exists() else legacy_file(folder)
    config = validated(settings if legacy is None else legacy_settings(settings), str(folder / "config.json"))
    weights = read_weights(folder) if legacy is None else legacy_weights(legacy)
    return Transformer(config, promoted(_without_buffers(weights)))


def _from_hugging_face(settings: dict[str, Any], weights: dict[str, Tensor], *, bridged: bool = False) -> Transformer:
    """The model of a configuration and weights as Hugging Face has them."""
    family = family_of(settings)
    config = validated(family.config(settings), "config.json")
    found = converted(config, family.layout, weights, bridged=bridged)
    if bridged and (b_U := found.get("unembed.b_U")) is not None and not b_U.any():
        del found["unembed.b_U"]  # a bridge gives every model one
    return Transformer(config, promoted(found))


def _from_transformer_lens(model: Any) -> Transformer:
    """A transformer_lens model (a bridge of version 4, or an older HookedTransformer)."""
    original = getattr(model, "original_model", None)
    if original is not None and hasattr(getattr(original, "config", None), "model_type"):
        loaded = _from_hugging_face(original.config.to_dict(), _unwrapped(original), bridged=True)
        return Transformer(loaded.config, {**loaded.weights, **dict(_split_and_folded(model, loaded.weights))})
    settings = _plain(model.cfg)
    if settings.get("architecture") == "TransformerLensNative":
        settings |= _NATIVE
    parameters = model.tl_parameters() if hasattr(model, "tl_parameters") else model.state_dict()
    return _from_lens(settings, dict(parameters), "the model's cfg")


def _split_and_folded(bridge: Any, weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """What a bridge in compatibility mode makes of fused queries, keys and values, beside which the fused ones stay."""
    for name, value in bridge.tl_parameters().items():
        ours = weights.get(name) if _OF_QKV.fullmatch(name) else None
        if ours is not None and ours.shape == value.shape and not torch.equal(ours, value):
            yield name, value.detach()


def _from_lens(settings: Mapping[str, Any], parameters: dict[str, Tensor], where: str) -> Transformer:
    """The model of transformer_lens' configuration and parameters."""
    config = validated(dict(settings), where)
    weights = {name.replace(".attn._", ".attn."): value.detach() for name, value in parameters.items()}
    weights = {name: value for name, value in weights.items() if not (config.attn_only and _absent(name, value))}
    return Transformer(config, promoted(_without_buffers(weights)))


def _plain(config: Any) -> dict[str, Any]:
    """The settings of an object that are plain values."""
    fields = {name: getattr(config, name) for name in dir(config) if not name.startswith("_")}
    return {k: v for k, v in fields.items() if isinstance(v, str | int | float | bool | dict | list | tuple | None)}


def _unwrapped(model: Any) -> dict[str, Tensor]:
    """A model's parameters by the names that they had before a bridge wrapped its modules."""
    return {name.replace("_original_component.", ""): value.detach() for name, value in model.state_dict().items()}


def _absent(name: str, value: Tensor) -> bool:
    """A bridge lists zeros for the MLP that an attention-only model does not have."""
    return ".mlp." in name and not value.any()


def _without_buffers(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Old transformer_lens files carry masks and rotary tables, which are not parameters."""
    buffers = ("mask", "IGNORE", "rotary_sin", "rotary_cos")
    return {name: value for name, value in weights.items() if name.rsplit(".", 1)[-1] not in buffers}
