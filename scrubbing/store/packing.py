"""A score as rows of the store: its losses by reference as columns of numbers, which scores share, the rest as JSON."""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from scrubbing.errors import StoreError
from scrubbing.graph.fingerprint import content_hash
from scrubbing.score import Score
from scrubbing.store.entries import check_written
from scrubbing.store.record.plausible import implausible

TYPES = {"i": "<i8", "f": "<f8"}
LARGEST_RECORD = 2**28  # bytes; more is no hypothesis


@dataclass(frozen=True)
class Array:
    """A column of numbers as bytes."""

    type: str
    content: bytes

    @property
    def digest(self) -> str:
        """Its content hash."""
        return content_hash(self.type.encode() + self.content)


@dataclass(frozen=True)
class Packed:
    """A score as JSON without its columns, and the columns by name."""

    score: str
    columns: Mapping[str, Array]

    @property
    def losses(self) -> str:
        """The columns' content hashes by name, as JSON."""
        return json.dumps({name: array.digest for name, array in self.columns.items()})

    @property
    def digest(self) -> str:
        """The content hash of all of it."""
        return content_hash(self.score + self.losses)


def pack(score: Score) -> Packed:
    """A score as text and arrays, bit for bit."""
    content = json.loads(score.model_dump_json())
    columns = {name: _array(values) for name, values in score.by_reference.model_dump().items()}
    for name in [name for name, array in columns.items() if array]:
        del content["by_reference"][name]
    return Packed(json.dumps(content), {name: array for name, array in columns.items() if array})


def unpack(score: str, losses: str, digest: str, array: Callable[[str], Array]) -> Score:
    """The score again; `array` finds a column by its content hash.

    Raises `StoreError` for content that is not what was written, or that this version does not understand.
    """
    check_written(score, losses, digest)
    content = json.loads(score)
    for name, wanted in json.loads(losses).items():
        found = array(wanted)
        if found.digest != wanted or found.type not in TYPES.values():
            raise StoreError(f"its losses ({name}) are not what was written")
        content["by_reference"][name] = np.frombuffer(found.content, dtype=found.type).tolist()
    try:
        found = Score.model_validate(content)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise StoreError(f"another version of scrubbing recorded it ({place}: {error.errors()[0]['msg']})") from None
    problem = implausible(found)
    if problem:
        raise StoreError(problem)
    return found


def pack_record(record: str) -> bytes:
    """The JSON of a hypothesis, which is long and repeats itself."""
    return zlib.compress(record.encode())


def unpack_record(content: bytes) -> str:
    """The JSON of a hypothesis."""
    try:
        return zlib.decompressobj().decompress(content, LARGEST_RECORD).decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise StoreError(f"its hypothesis is not what was written ({error})") from None


def pack_losses(losses: list[Tensor]) -> bytes:
    """A chunk's losses, bit for bit and in order; one tensor that stands for several is written once."""
    distinct = {id(loss): loss for loss in losses}
    names = {key: str(number) for number, key in enumerate(distinct)}
    places = torch.tensor([int(names[id(loss)]) for loss in losses])
    return save({"places": places, **{names[key]: loss.clone() for key, loss in distinct.items()}})


def unpack_losses(content: bytes) -> list[Tensor]:
    """A chunk's losses; raises `StoreError` for what is none."""
    try:
        found = load(content)
        return [found[str(place)] for place in found["places"].tolist()]
    except (SafetensorError, KeyError) as error:
        raise StoreError(f"its losses are not what was written ({error})") from None


def _array(values: Any) -> Array | None:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in TYPES:
        return None
    kind = TYPES[array.dtype.kind]
    return Array(kind, array.astype(kind).tobytes())
