"""Tensors one after the other; where they are neighbours in memory, as a model's heads are, nothing is copied."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

import torch
from torch import Tensor

Thing = TypeVar("Thing")


def joined(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The parts one after the other along a dimension, as a view where they lie so in memory."""
    if len(parts) == 1:
        return parts[0]
    step = _step(parts, dim)
    if step is None:
        return torch.cat(list(parts), dim)
    first = parts[0]
    size, stride = list(first.shape), list(first.stride())
    size[dim], stride[dim] = len(parts) * size[dim], step // size[dim]
    return first.as_strided(size, stride)


def by_storage(parts: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Parts in succession that lie in one piece of memory."""
    return (list(some) for _, some in groupby(parts, lambda part: part.untyped_storage().data_ptr()))


def in_memory_order(things: Iterable[Thing], part: Callable[[Thing], Tensor]) -> list[Thing]:
    """Things by where their parts lie, pieces of memory in the order in which they come: parts may be neighbours so."""
    pieces: dict[int, list[Thing]] = {}
    for thing in things:
        pieces.setdefault(part(thing).untyped_storage().data_ptr(), []).append(thing)
    return [thing for piece in pieces.values() for thing in sorted(piece, key=lambda t: part(t).storage_offset())]


def _step(parts: Sequence[Tensor], dim: int) -> int | None:
    """How far each part is behind the one before, if all are equally far, so that one stride leads through all."""
    first = parts[0]
    size, stride = first.shape[dim], first.stride(dim)
    step = int(parts[1].storage_offset() - first.storage_offset())
    storage = first.untyped_storage().data_ptr()
    alike = all(
        part.shape == first.shape
        and part.stride() == first.stride()
        and part.untyped_storage().data_ptr() == storage
        and part.storage_offset() == first.storage_offset() + n * step
        for n, part in enumerate(parts)
    )
    return step if alike and step > 0 and size > 0 and (size == 1 or step == size * stride) else None
