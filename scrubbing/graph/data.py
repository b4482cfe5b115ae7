"""The dataset: named columns of one length, from a dict or a table."""

import operator
import reprlib
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from scrubbing.errors import DataError


@runtime_checkable
class Table(Protocol):
    """A table with named columns: pandas, pyarrow, or any other that exports its columns to Arrow."""

    def __getitem__(self, name: Any, /) -> Any: ...
    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...


Data = Mapping[str, Any] | Table

# Text stays an array: it serves features, and functions that know what to do with it.
Columns = Mapping[str, Tensor | np.ndarray]

LARGEST_SEED = 2**128
MOST = 2**31  # of anything that is counted out one by one


def as_columns(data: Data) -> dict[str, Tensor | np.ndarray]:
    """Columns as tensors (text as arrays): from tensors, arrays, lists, or a table with named columns.

    Raises `DataError` for no columns, two of one name, different lengths, or values that are missing or of no type that
    tensors have.
    """
    if not isinstance(data, Mapping | Table):
        raise DataError(f"the data are a {type(data).__name__}; give a dict of tensors of one length, or a table")
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
    if not isinstance(given, Tensor):
        return _from_array(as_array(name, given))
    if not is_plain(given):
        raise DataError(f"the column {name!r} is no plain tensor; give one that is, such as x.to_dense()")
    _check_entries(name, given)
    return given


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor holds its entries one by one: it is not sparse, nested, quantized or without any."""
    return tensor.layout == torch.strided and not (tensor.is_meta or tensor.is_quantized or tensor.is_nested)


def of_any_device(values: Any) -> np.ndarray:
    """An array of what numpy reads, and of a tensor on any device and of any type: bfloat16 becomes float32."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
    return np.asarray(values)


def as_array(name: str, given: Any) -> np.ndarray:
    """A column as an array of numbers or text, one entry per row.

    Raises `DataError` for values that are missing, ragged, or of a type that no tensor has.
    """
    if isinstance(given, Tensor):
        given = of_any_device(given)
    _check_present(name, given)
    try:
        array = np.asarray(given)
        if array.dtype.kind in "US" and isinstance(given, list | tuple):
            array = np.asarray(given, dtype=object)  # which does not make text of numbers among it
    except Exception as error:  # of what a container raises that is no array
        raise DataError(f"the column {name!r} {_ragged(given) or f'is no array ({error})'}") from None
    _check_entries(name, array)
    if array.dtype.kind == "O":
        array = _as_text(name, array)  # how pandas hands over text and categories
    if array.dtype.kind not in "biufcUS" or array.dtype.char in "gG":
        raise DataError(f"the column {name!r} holds values of type {array.dtype}, {_ENCODE}")
    if array.dtype == np.uint64 and (array > np.iinfo(np.int64).max).any():
        raise DataError(f"the column {name!r} holds whole numbers above 2^63, which no tensor can hold")
    return array


_ENCODE = (
    "and only numbers and text can be columns; encode it, for example with numpy.unique(column, return_inverse=True)[1]"
)


def _check_entries(name: str, column: Tensor | np.ndarray) -> None:
    if column.ndim == 0:
        raise DataError(f"the column {name!r} is a single value; it must have one entry per row")


def _check_present(name: str, given: Any) -> None:
    """Raise where a mask, or what tables have for one, says that values are missing: an array would forget it."""
    if np.ma.is_masked(given):
        row = int(np.argwhere(np.ma.getmaskarray(given))[0][0])
        raise DataError(f"the column {name!r} is masked in row {row}; fill it or leave such rows out")
    missing = getattr(given, "null_count", 0)  # of Arrow
    missing = missing() if callable(missing) else missing
    if hasattr(given, "isna") and not isinstance(getattr(given, "dtype", np.dtype(object)), np.dtype):  # pandas' own
        missing = int(given.isna().sum())
    if missing:
        raise DataError(f"the column {name!r} has no value in {missing} rows; fill it or leave such rows out")


def _as_text(name: str, array: np.ndarray) -> np.ndarray:
    kind = bytes if array.size and isinstance(array.flat[0], bytes) else str
    for place, value in enumerate(array.flat):
        if not isinstance(value, kind):
            row = place * len(array) // array.size
            raise DataError(f"the column {name!r} holds {reprlib.repr(value)} in row {row}, {_ENCODE}")
    return array.astype(kind)


def _ragged(given: Any) -> str | None:
    """Words for the first row of a list of lists whose length differs from that of row 0."""
    if not isinstance(given, list | tuple):
        return None
    lengths = [len(row) if hasattr(row, "__len__") else None for row in given]
    other = next((place for place, length in enumerate(lengths) if length != lengths[0]), None)
    if other is None:
        return None
    return f"is ragged: row 0 has {lengths[0]} entries, row {other} has {lengths[other]}; pad all to one length"


def _from_array(array: np.ndarray) -> Tensor | np.ndarray:
    if array.dtype.kind in "US":
        return array
    if array.dtype in (np.uint16, np.uint32, np.uint64):
        array = array.astype(np.int64)  # types that torch cannot index with
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    with warnings.catch_warnings():  # pandas and mapped files are read-only; so is the use made of them
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array))


def whole_number(name: str, given: Any) -> int:
    """A number given as any type of integer. Raises `DataError` for anything else, True included."""
    with suppress(TypeError, ValueError):
        number = np.asarray(given)
        if not number.ndim and number.dtype.kind in "iuO":  # large integers are objects to numpy
            return operator.index(given)
    raise DataError(f"{name}={reprlib.repr(given)}, but it must be a whole number")


def seed_number(given: Any) -> int:
    """A seed. Raises `DataError` for what is no whole number, and for one of more than 128 bits."""
    number = whole_number("seed", given)
    if abs(number) > LARGEST_SEED:
        raise DataError(f"seed={reprlib.repr(number)}, but it must lie between -2^128 and 2^128")
    return number


def at_least_one(name: str, given: Any, *, below: int = MOST) -> int:
    """A number of things that must be 1 or more; `name` is their plural. Raises `DataError` for 0."""
    number = whole_number(name, given)
    if number >= below:
        raise DataError(f"{name}={reprlib.repr(number)} is more than can be computed; give fewer than {below}")
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
        if isinstance(old, Tensor) and isinstance(new, Tensor) and torch.can_cast(new.dtype, old.dtype):
            longer[column] = torch.cat([old, new.to(old)])
        elif isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
            longer[column] = np.concatenate([old, new])
        else:
            raise DataError(
                f"the donors made for {name!r} have the column {column!r} of type {new.dtype}; it must be {old.dtype}"
            )
    return longer
