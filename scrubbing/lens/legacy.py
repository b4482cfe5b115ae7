"""Repositories in transformer_lens' first form: config.json in words of its own, and a state dict in a *.pth file.

transformer_lens 4 lists those with shortformer positions, and refuses to load them.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scrubbing.errors import ModelError
from scrubbing.graph.reading import in_short, open_file

OWNERS = ("NeelNanda/", "ArthurConmy/", "Baidicoot/")  # of such repositories
PATTERN = "*final.pth"

# What has kept its name. All else is either said in other words, or is about how the model was trained.
_KEPT = ("n_layers", "n_heads", "d_model", "d_head", "d_vocab", "n_ctx", "attn_only", "act_fn", "final_rms", "eps")


def legacy_file(folder: Path) -> Path | None:
    """The file of a folder that holds weights in the first form, if one does."""
    return next(iter(sorted(folder.glob(PATTERN))), None)


def legacy_settings(given: Any) -> Any:
    """The settings in today's words. Raises `ModelError` for layouts of weights that are not read."""
    if not isinstance(given, dict):
        return given  # to be refused as any other configuration
    layout = given.get("architecture", "neel")
    if layout != "neel":
        raise ModelError(f"config.json: architecture is {layout!r}, and of these repositories only 'neel' is read")
    said = {name: given[name] for name in _KEPT if name in given}
    if not given.get("attn_only"):
        said["d_mlp"] = given.get("d_mlp")
    return said | {
        "normalization_type": given.get("normalization", given.get("normalization_type", "LN")),
        "positional_embedding_type": "shortformer" if given.get("shortformer_pos") else "standard",
    }


def legacy_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, of which nothing but tensors is unpickled.

    Raises `ModelError` for a file that is missing, damaged or holds anything else.
    """
    try:
        open_file(path).close()  # a pipe would be waited for
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch, zipfile and pickle raise for damaged files is not listed anywhere
        raise ModelError(f"{path} is damaged or no state dict of tensors ({in_short(error)})") from None
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ModelError(f"{path} holds {type(found).__name__}, and not a dict from names to tensors")
    return {str(name): value.detach() for name, value in found.items()}
