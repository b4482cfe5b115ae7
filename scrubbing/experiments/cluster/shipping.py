"""Pack a run for other processes: what it is, and apart from that the memory of its tensors, each piece once.

Views of one matrix (the heads of a layer, tied embeddings) stay views of one matrix. All processes of a machine read
the pieces from one place, Ray's shared memory, so they cannot be written to.
"""

import io
import pickle
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ray import cloudpickle
from torch import UntypedStorage
from torch.storage import TypedStorage

Piece = tuple[str, np.ndarray]  # the kind of its device, and its bytes


@dataclass(frozen=True)
class Shipment:
    """An object in pickled form, and the pieces of memory that its tensors are views of."""

    content: bytes
    pieces: Sequence[Piece]

    @property
    def nbytes(self) -> int:
        """All of it."""
        return len(self.content) + sum(memory.nbytes for _, memory in self.pieces)


def packed(thing: Any) -> Shipment:
    """Anything that can be pickled, functions of a notebook and lambdas too. Raises what pickling raises."""
    pieces: dict[int, tuple[int, UntypedStorage]] = {}  # by address, which stays taken while the storage is held

    class Packer(cloudpickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            if not isinstance(obj, TypedStorage):
                return None
            storage = obj._untyped_storage
            number, _ = pieces.setdefault(storage._cdata, (len(pieces), storage))
            return number, obj.dtype

    file = io.BytesIO()
    Packer(file).dump(thing)
    return Shipment(file.getvalue(), [(storage.device.type, _bytes_of(storage)) for _, storage in pieces.values()])


def unpacked(shipment: Shipment) -> Any:
    """What was packed, with the memory where it lies now; on a GPU, where it was on one."""
    storages = [_storage_of(device, memory) for device, memory in shipment.pieces]

    class Unpacker(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> TypedStorage:
            number, dtype = pid
            return TypedStorage(wrap_storage=storages[number], dtype=dtype, _internal=True)

    return Unpacker(io.BytesIO(shipment.content)).load()


def _bytes_of(storage: UntypedStorage) -> np.ndarray:
    return torch.tensor([], dtype=torch.uint8).set_(storage.cpu()).numpy()


def _storage_of(device: str, memory: np.ndarray) -> UntypedStorage:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(memory).to(device).untyped_storage()
