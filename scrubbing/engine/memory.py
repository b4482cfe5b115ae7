"""How much memory a run may take, and how much a piece of work takes."""

import gc
import re
import reprlib
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
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


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector: planning makes many objects that stay, and it would walk through them in vain."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


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
    """Counts the bytes of new tensors inside a `with` block, or of `counted` work: those held `now`, the most held at
    once (`peak`), and the `largest` tensor.
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
        self._taken: dict[Any, tuple[int, bool]] = {}  # by calls; and whether they give views of their arguments

    def counted(self, fn: Callable[..., Any] | None, arguments: Sequence[Any], work: Callable[[], Any]) -> Any:
        """What some work gives: to call a function, if there is one.

        A call takes what it took before with arguments of the same shapes, since to count takes longer than most calls.
        """
        call = None if fn is None else (fn, *map(_shape, arguments))
        known = self._taken.get(call)
        if known is not None:
            taken, views = known
            self.peak = max(self.peak, self.now + taken)
            result = work()
            self._hold(result, arguments if views else ())
            return result
        held, peak = self.now, self.peak
        self.peak = held
        with self:
            result = work()
        if call is not None:
            given = _keys(arguments)
            self._taken[call] = self.peak - held, not given.isdisjoint(_keys([result]))
        self.peak = max(peak, self.peak)
        return result

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self._hold(result, (args, kwargs))
        return result

    def _hold(self, result: Any, given: Iterable[Any]) -> None:
        """Count what is new: a view of what was held or given before is no allocation."""
        for tensor in _tensors([result]):
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key not in self._held and key not in _keys(given):
                self._held[key] = weakref.ref(storage, partial(self._release, key, size))
                self.now += size
                self.peak = max(self.peak, self.now)
                self.largest = max(self.largest, size)

    def _release(self, key: int, size: int, _: object) -> None:
        del self._held[key]
        self.now -= size


def _shape(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return value.shape, value.dtype
    return tuple((tensor.shape, tensor.dtype) for tensor in _tensors([value]))


def _keys(values: Iterable[Any]) -> set[int]:
    return {tensor.untyped_storage()._cdata for tensor in _tensors(values)}


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among arguments or results, those in containers included."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
        elif isinstance(value, dict):
            yield from _tensors(value.values())
