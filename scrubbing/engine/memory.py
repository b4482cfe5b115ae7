"""How much memory a run may take, and how much a piece of work takes."""

import re
import reprlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from pydantic import ByteSize, TypeAdapter, ValidationError
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from scrubbing.errors import DataError

Memory = str | int  # "2GiB", "500 MB", or bytes
DEFAULT = 2 * 2**30
MOST = 2**60  # bytes: more than any machine has
AMOUNT = re.compile(r"\s*(?:\d{1,30}(?:\.\d{1,30})?|\.\d{1,30})\s*[kmgtpe]?i?b?\s*", re.IGNORECASE | re.ASCII)


def memory_in_bytes(memory: Memory | None) -> int:
    """The number of bytes that text such as "2GiB" stands for; 2 GiB for None."""
    if memory is None:
        return DEFAULT
    whole = isinstance(memory, int | np.integer) and not isinstance(memory, bool)
    size = int(memory) if whole else 0
    if isinstance(memory, str) and AMOUNT.fullmatch(memory):  # pydantic would ignore what follows the unit
        with suppress(ValidationError):
            size = int(TypeAdapter(ByteSize).validate_python(memory))
    if not 0 < size < MOST:
        raise DataError(f'memory={reprlib.repr(memory)} is no amount of memory; write for example memory="2GiB"')
    return size


def allocations_of(work: Callable[[], Any]) -> "Allocations":
    """The memory that a function allocates while it runs."""
    with Allocations() as allocations:
        work()
    return allocations


def held_bytes(values: Any) -> int:
    """The bytes of all tensors in nested containers; memory that two of them share counts once."""
    return sum(storage.nbytes() for storage in _storages(values).values())


def _storages(values: Any) -> dict[int, torch.UntypedStorage]:
    storages = (leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor))
    return {storage._cdata: storage for storage in storages}


def readable(size: int) -> str:
    """A number of bytes in words: "2.0 GiB"."""
    return ByteSize(size).human_readable(separator=" ")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's words for a CPU


class Allocations(TorchDispatchMode):
    """Counts the bytes of new tensors inside a `with` block: those held `now`, the most held at once (`peak`), and the
    `largest` tensor.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or entering it would import torch's compiler, which takes a second

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self.largest = 0
        self._held: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors([result]):
            self._hold(tensor.untyped_storage(), [*args, *(kwargs or {}).values()])
        return result

    def _hold(self, storage: torch.UntypedStorage, given: Iterable[Any]) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._held or any(tensor.untyped_storage()._cdata == key for tensor in _tensors(given)):
            return  # a view of what was there is no allocation
        self._held[key] = weakref.ref(storage, lambda _: self._release(key, size))
        self.now += size
        self.peak = max(self.peak, self.now)
        self.largest = max(self.largest, size)

    def _release(self, key: int, size: int) -> None:
        del self._held[key]
        self.now -= size


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among an operation's arguments or results, those in lists included."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
