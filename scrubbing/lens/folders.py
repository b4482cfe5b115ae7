"""Model folders: config.json and weights in safetensors, in one file or in shards. Nothing in them is run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from scrubbing.errors import ModelError
from scrubbing.graph.reading import in_short, open_file, read_json
from scrubbing.lens.legacy import legacy_file

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def read_settings(path: Path) -> Any:
    """A configuration from a JSON file. Raises `ModelError` if it cannot be read."""
    try:
        return read_json(path)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; it holds the model's n_layers, n_heads, d_model, ...") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {in_short(error)}") from None


def weight_files(folder: Path) -> list[Path]:
    """The files that a model's weights are read from, in the order of their names."""
    if (folder / INDEX).exists():
        return sorted({folder / name for name in _files_by_tensor(folder).values()})
    legacy = None if (folder / WEIGHTS).exists() else legacy_file(folder)
    return [legacy or folder / WEIGHTS]


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, mapped from its files.

    Raises `ModelError` for files that are missing or damaged, and where there are pickles only.
    """
    if not (folder / INDEX).exists():
        return _read(folder / WEIGHTS)
    files = _files_by_tensor(folder)
    weights: dict[str, Tensor] = {}
    for name in dict.fromkeys(files.values()):
        weights |= _read(folder / name)
    lost = next((name for name in files if name not in weights), None)
    if lost is not None:
        raise ModelError(f"{folder / files[lost]} lacks {lost!r}, which {INDEX} says it holds")
    return weights


def write_folder(folder: Path, settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Write a folder that can be read again. Raises `ModelError` if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(settings, indent=1) + "\n")
        save_file({name: value.contiguous() for name, value in weights.items()}, folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"the folder {folder} cannot be written: {in_short(error)}") from None


def _files_by_tensor(folder: Path) -> dict[str, str]:
    index = read_settings(folder / INDEX)
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict) or not all(
        isinstance(name, str) and name == Path(name).name for name in files.values()
    ):
        raise ModelError(f"{folder / INDEX} is damaged: it has no weight_map from tensors to files of the folder")
    return files


def _read(path: Path) -> dict[str, Tensor]:
    try:
        open_file(path).close()  # a pipe would be waited for
        return load_file(path)
    except FileNotFoundError:
        pickles = sorted(p.name for p in path.parent.glob("*.bin")) + sorted(p.name for p in path.parent.glob("*.pt*"))
        there = f"; {pickles[0]} may run code when it is read, so convert it to safetensors first" if pickles else ""
        raise ModelError(f"{path} is missing; it holds the model's weights{there}") from None
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RuntimeError, MemoryError) as error:
        raise ModelError(
            f"{path} is damaged or no safetensors file ({in_short(error)}); copy it again from where it came from"
        ) from None
