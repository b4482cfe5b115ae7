"""The arrays of a data file that somebody else made: shapes first, then those that fit; nothing is unpickled."""

import math
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from hypotheses.induction.places import CANDIDATES
from scrubbing.errors import DataError, nearest
from scrubbing.graph.reading import in_short, open_file

LARGEST = 2**33  # bytes that the arrays of a file may unpack to
MANY = 1000
MISSPELT = 0.85  # how alike an unknown name is to a known one that was meant
READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class Header:
    """What an array says of itself before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bytes: int


def read_arrays(
    path: Path, names: tuple[str, ...], check: Callable[[Mapping[str, Header]], None]
) -> dict[str, np.ndarray]:
    """Those of the named arrays that a file holds, once `check` has seen their shapes; the first has to be there.

    A file of torch's (.pt) holds the tokens alone, and the file of candidates beside it the whitelist.

    Raises `DataError` for a file that is missing or damaged, and for arrays that are no plain numbers or too large.
    """
    if path.suffix == ".pt":
        return _of_torch(path, check)
    try:
        with warnings.catch_warnings(), open_file(path) as opened, closing(ZipFile(opened)) as archive:
            warnings.simplefilter("ignore")  # of old formats, and of how damaged headers look to Python
            members = _members(archive, names)
            headers = {name: _header(archive, member) for name, member in members.items()}
            if names[0] not in headers:
                there = ", ".join(repr(n.removesuffix(".npy")) for n in archive.namelist()[:10]) or "nothing"
                raise DataError(f"{path} has no array {names[0]!r}; it holds {there}")
            if sum(header.bytes for header in headers.values()) > LARGEST:
                raise DataError(f"{path} unpacks to more than {LARGEST // 2**30} GiB; give fewer rows")
            check(headers)
            return {name: _array(archive, member) for name, member in members.items()}
    except FileNotFoundError:
        raise DataError(f"there is no data file {path}") from None
    except DataError:
        raise
    # numpy reads a header as Python, and zipfile unpacks by several libraries: what is damaged can raise anything.
    except Exception as error:
        raise DataError(f"{path} is damaged or no .npz file of plain arrays ({in_short(error)})") from None


def _of_torch(path: Path, check: Callable[[Mapping[str, Header]], None]) -> dict[str, np.ndarray]:
    files = {"tokens": path, "whitelist": path.with_name(CANDIDATES)}
    found = {name: _tensor(file) for name, file in files.items() if name == "tokens" or file.exists()}
    check({name: Header(array.shape, array.dtype, array.nbytes) for name, array in found.items()})
    return found


def _tensor(path: Path) -> np.ndarray:
    """The one tensor of a file of torch's, of which nothing else is unpickled."""
    try:
        open_file(path).close()  # a pipe would be waited for
        value = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(value, Tensor):
            raise TypeError(f"it holds {type(value).__name__}")
        return value.detach().numpy()
    except FileNotFoundError:
        raise DataError(f"there is no data file {path}") from None
    except Exception as error:  # what torch, zipfile and pickle raise for damaged files is not listed anywhere
        raise DataError(f"{path} is damaged or no file of one tensor ({in_short(error)})") from None


def _members(archive: ZipFile, names: tuple[str, ...]) -> dict[str, ZipInfo]:
    """The files in the archive that hold the arrays."""
    found: dict[str, ZipInfo] = {}
    if len(archive.infolist()) > MANY:
        raise ValueError(f"it holds more than {MANY} arrays")
    for member in archive.infolist():
        archive.open(member).close()  # where its name stands again
        name = member.filename.removesuffix(".npy")
        if name not in names and (meant := nearest(name, names, cutoff=MISSPELT)):
            raise ValueError(f"there is no use for an array {name!r}{meant}")
        if name in names:
            if name in found:
                raise ValueError(f"it holds two arrays {name!r}")
            found[name] = member
    return found


def _header(archive: ZipFile, member: ZipInfo) -> Header:
    """The header of an array, which has to say how many bytes follow it."""
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version not in READERS:
            raise ValueError(f"{member.filename} is of format {version[0]}.{version[1]}")
        shape, _, dtype = READERS[version](file)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds Python objects, which are not unpickled")
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or file.tell() + size != member.file_size:
            raise ValueError(f"{member.filename} says its shape is {shape}, and {member.file_size} bytes are there")
        return Header(shape, dtype, size)


def _array(archive: ZipFile, member: ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        array = npy.read_array(file, allow_pickle=False)
        if file.read(1):  # to the end, where the checksum stands
            raise ValueError(f"{member.filename} goes on after its array")
    return array
