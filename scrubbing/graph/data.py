"""The dataset: named columns of one length, whatever they came as."""

import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from scrubbing.errors import DataError


@runtime_checkable
class Table(Protocol):
    """A table with named columns, of pandas, pyarrow or whatever else hands its columns to Arrow."""

    def __getitem__(self, name: Any, /) -> Any: ...
    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...


Data = Mapping[str, Any] | Table

# Text stays an array: it serves features, and functions that know what to do with it.
Columns = Mapping[str, Tensor | np.ndarray]


def as_columns(data: Data) -> dict[str, Tensor | np.ndarray]:
    """Columns as tensors (text as arrays): from tensors, arrays, lists, or a table with named columns.

    Raises `DataError` for no columns, two of one name, different lengths, or values of no fixed type.
    """
    names = _names(data)
    twice = [name for name, count in Counter(map(str, names)).items() if count > 1]
    if twice:
        raise DataError(f"the data have two columns {twice[0]!r}: rename one of them")
    columns = {str(name): _as_column(str(name), data[name]) for name in names}
    if not columns:
        raise DataError("the data have no columns; give a dict of tensors of one length")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"the columns of the data differ in length: {shown}")
    if not next(iter(lengths.values())):
        raise DataError("the data have no rows")
    return columns


def _names(data: Data) -> list[Any]:
    if isinstance(data, Mapping):
        return list(data)
    return list(getattr(data, "column_names", getattr(data, "columns", ())))  # pyarrow's `columns` are the values


def _as_column(name: str, given: Any) -> Tensor | np.ndarray:
    column = given if isinstance(given, Tensor) else _from_array(name, np.asarray(given))
    if column.ndim == 0:
        raise DataError(f"the column {name!r} is a single value; it must have one entry per row")
    return column


def _from_array(name: str, array: np.ndarray) -> Tensor | np.ndarray:
    if array.dtype.kind == "O" and all(isinstance(value, str) for value in array.flat):
        array = array.astype(str)  # how pandas hands over text and categories
    if array.dtype.kind in "US":
        return array
    if array.dtype.kind not in "biufc":
        raise DataError(
            f"the column {name!r} holds values of type {array.dtype}, and only numbers and text can be columns; "
            f"encode it, for example with numpy.unique(column, return_inverse=True)[1]"
        )
    if array.dtype in (np.uint16, np.uint32, np.uint64):
        array = array.astype(np.int64)  # types that torch cannot index with
    with warnings.catch_warnings():  # pandas and mapped files are read-only; so is the use made of them
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array))


def whole_number(name: str, given: Any) -> int:
    """A number given as any type of integer. Raises `DataError` for what is none, as True is."""
    number = np.asarray(given)
    if number.ndim or number.dtype.kind not in "iu":
        raise DataError(f"{name}={given!r}, but it must be a whole number")
    return int(number)


def at_least_one(name: str, given: Any) -> int:
    """How many there are to be of what `name` says in the plural. Raises `DataError` for none."""
    number = whole_number(name, given)
    if number < 1:
        raise DataError(f"{name}={number}, but at least one {name.removesuffix('s')} is needed")
    return number


def appended(columns: Columns, datums: Columns, changed: Any, name: str) -> dict[str, Tensor | np.ndarray]:
    """The columns with more rows: the datums given, with what was changed of them by the maker of donors for `name`.

    Raises `DataError` for changes that are no columns of the data, or of another shape.
    """
    if not isinstance(changed, Mapping) or set(changed) - set(columns):
        raise DataError(f"the donors made for {name!r} must be a dict of columns of the data: {', '.join(columns)}")
    longer: dict[str, Tensor | np.ndarray] = {}
    for column, old in columns.items():
        new = _as_column(column, changed.get(column, datums[column]))
        if new.shape != datums[column].shape:
            raise DataError(
                f"the donors made for {name!r} have the column {column!r} of shape {list(new.shape)}; "
                f"it must be {list(datums[column].shape)}, a row for each datum given"
            )
        if isinstance(old, Tensor):
            longer[column] = torch.cat([old, torch.as_tensor(new).to(old)])
        else:
            longer[column] = np.concatenate([old, np.asarray(new)])
    return longer
