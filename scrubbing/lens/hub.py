"""Models by name: files of a repository on the hub, from its cache where there is no network."""

import importlib
import re
from collections.abc import Sequence
from pathlib import Path

from scrubbing.errors import ModelError
from scrubbing.graph.reading import in_short
from scrubbing.lens.legacy import OWNERS, PATTERN

NAME = re.compile(r"[a-zA-Z0-9][\w.-]{0,95}(/[\w.-]{1,96})?", re.ASCII)
FILES = ("config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer.json")  # no pickles, and no code


def is_hub_name(source: str | Path) -> bool:
    """Whether it may be a name on the hub: a text that is one, and no path that exists."""
    return isinstance(source, str) and NAME.fullmatch(source) is not None and not Path(source).exists()


def hub_folder(name: str, *, files: Sequence[str] = FILES, also: Sequence[str] = ()) -> Path:
    """The folder with a repository's files, downloaded or from the cache; transformer_lens' short names are known.

    `also` are further files. A repository of transformer_lens' first form has its weights in a *.pth file.

    Raises `ModelError` if the name is unknown or there is neither a network nor the model in the cache.
    """
    registry = importlib.import_module("transformer_lens.supported_models")  # which takes seconds
    hub = importlib.import_module("huggingface_hub")
    try:
        official = name if "/" in name else registry.get_official_model_name(name)
        legacy = (PATTERN,) if official.startswith(OWNERS) else ()
        return Path(hub.snapshot_download(official, allow_patterns=[*files, *legacy, *also]))
    except (OSError, ValueError) as error:  # what the hub's library raises for names, networks and caches
        raise ModelError(
            f"there is no model folder {name}, and no such model could be had from the hub: {in_short(error)}"
        ) from None
