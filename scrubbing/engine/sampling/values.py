"""Values in bulk: a tensor (of text an array) with one entry per row, or a tuple of values."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from scrubbing.engine.sampling.agreement import classes_of, whole
from scrubbing.engine.sampling.distributions import first_places, joint
from scrubbing.errors import DataError

INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}  # by size in bytes; whatever is longer is split into int64


def take(value: Any, rows: Int[np.ndarray, "*n"] | int) -> Any:
    """The entries of the given rows (or of one)."""
    index = torch.from_numpy(rows) if isinstance(rows, np.ndarray) else rows
    return mapped(lambda held: held[index if isinstance(held, Tensor) else rows], value)


def concatenated(values: Sequence[Any]) -> Any:
    """The rows of all values, one after the other."""
    return values[0] if len(values) == 1 else mapped(lambda *tensors: torch.cat(tensors), *values)


def one_per_row(value: Any, rows: int) -> Any:
    """The value, without gradients. Raises `DataError` unless it has one entry for each of the rows."""

    def checked(tensor: Any) -> Tensor:
        if not isinstance(tensor, Tensor) or tensor.shape[:1] != (rows,):
            what = f"shape {list(tensor.shape)}" if isinstance(tensor, Tensor) else f"type {type(tensor).__name__}"
            raise DataError(f"it has {what}, but must be a tensor with one entry for each of {rows} rows")
        return tensor.detach()

    return mapped(checked, value)


def distinct(value: Any, rows: int) -> tuple[Any, Int[np.ndarray, " row"]]:
    """The distinct values among the rows, compared by their bytes, and the number of the value of each row."""
    numbers = joint([classes_of(whole(_bits(part), rows)).ids for part in flat(value)], rows)
    return take(value, first_places(numbers)), numbers


def _bits(part: Tensor | np.ndarray) -> Tensor | np.ndarray:
    if not isinstance(part, Tensor):
        return part
    flat = part.reshape(len(part), -1).contiguous()
    bits = flat.view(INTEGERS.get(flat.element_size(), torch.int64))
    return bits[:, 0] if bits.shape[1] == 1 else bits


def flat(value: Any) -> list[Any]:
    """The parts of a tuple of tuples; a single value is its one part."""
    return [p for part in value for p in flat(part)] if isinstance(value, tuple) else [value]


def mapped(fn: Callable[..., Any], *values: Any) -> Any:
    """Apply a function of tensors to values: tensor by tensor, where they are tuples."""
    if isinstance(values[0], tuple):
        return tuple(mapped(fn, *parts) for parts in zip(*values, strict=True))
    return fn(*values)
