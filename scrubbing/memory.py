"""How much memory a run may take, and how much a piece of work takes."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pydantic import ByteSize, TypeAdapter, ValidationError
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from scrubbing.errors import DataError

Memory = str | int  # "2GiB", "500 MB", or bytes
DEFAULT = 2 * 2**30


def memory_in_bytes(memory: Memory | None) -> int:
    """The number of bytes that "2GiB" and the like stand for; 2 GiB where nothing is said."""
    if memory is None:
        return DEFAULT
    try:
        size = 0 if isinstance(memory, bool) else int(TypeAdapter(ByteSize).validate_python(memory))
    except ValidationError:
        size = 0
    if size <= 0:
        raise DataError(f'memory={memory!r} is no amount of memory; write for example memory="2GiB"')
    return size


def peak_bytes(work: Callable[[], Any]) -> int:
    """The most bytes of tensors that a piece of work holds at once, besides those that were there before."""
    with Allocations() as allocations:
        work()
    return allocations.peak


@dataclass(frozen=True)
class Footprint:
    """The bytes that some work takes: for each row, and however many there are."""

    each: int
    fixed: int

    def rows(self, memory: int) -> int:
        """How many rows at once fit into the memory; none, if not even one does."""
        return max(0, (memory - self.fixed) // self.each)


def footprint(work: Callable[[int], Any]) -> Footprint:
    """What work on a number of rows takes: measured on one and on two."""
    one, two = (peak_bytes(partial(work, rows)) for rows in (1, 2))
    each = max(1, two - one)
    return Footprint(each, max(0, one - each))


def held_bytes(values: Any) -> int:
    """What the tensors in a nest of containers take; memory that two of them share counts once."""
    storages = (leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor))
    return sum({storage._cdata: storage.nbytes() for storage in storages}.values())


def readable(size: int) -> str:
    """A number of bytes in words: "2.0 GiB"."""
    return ByteSize(size).human_readable(separator=" ")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's words for a CPU


class Allocations(TorchDispatchMode):
    """Counts the bytes of all tensors that come into being while it is entered, and are still held."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or entering it would import torch's compiler, which takes a second

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._held: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._hold(leaf.untyped_storage())
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._held:
            self._held.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._held.discard(key)
        self.now -= size
