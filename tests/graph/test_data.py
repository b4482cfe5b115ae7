"""Columns come as whatever has one entry per row; what has not, or would lose something, is an error in words."""

import datetime
from collections import deque
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from scrubbing.errors import DataError
from scrubbing.graph.data import appended, as_columns, at_least_one, whole_number

RECURSIVE: list = []
RECURSIVE.append(RECURSIVE)

BAD_COLUMNS = {
    "masked": (np.ma.masked_array([1, 2, 3], [0, 1, 0]), "is masked in row 1; fill it or leave such rows out"),
    "masked rows": (np.ma.masked_array([[1, 2], [3, 4]], [[0, 0], [0, 1]]), "is masked in row 1;"),
    "all masked": (np.ma.masked_all(3), "is masked in row 0;"),
    "nulls of pyarrow": (pa.array([1, None]), "has no value in 1 rows; fill it"),
    "chunks with nulls": (pa.chunked_array([[1], [None, None]]), "has no value in 2 rows"),
    "missing whole numbers": (pd.Series([1, None], dtype="Int64"), "has no value in 1 rows"),
    "missing truths": (pd.Series([True, None], dtype="boolean"), "has no value in 1 rows"),
    "missing categories": (pd.Series(["a", None]).astype("category"), "has no value in 1 rows"),
    "missing text": (pd.Series(["a", None], dtype=object), "holds None in row 1"),
    "None": (None, "is a single value"),
    "Nones": ([1.0, None], "holds None in row 1|holds 1.0 in row 0"),
    "a number": (3, "is a single value"),
    "a number of numpy": (np.float64(3), "is a single value"),
    "a tensor of no axis": (torch.tensor(3), "is a single value"),
    "text": ("abc", "is a single value"),
    "bytes": (b"abc", "is a single value"),
    "a dict of numbers": ({"a": 1}, "is a single value"),
    "a set": ({1, 2}, "is a single value"),
    "a generator": ((n for n in range(3)), "is a single value"),
    "a function": (len, "is a single value"),
    "a module": (torch.nn.Linear(1, 1), "is a single value"),
    "ragged": ([[1, 2], [3]], "is ragged: row 0 has 2 entries, row 1 has 1; pad all to one length"),
    "ragged text and lists": ([[1, 2], 3], "is ragged: row 0 has 2 entries, row 1 has None"),
    "ragged tensors": ([torch.zeros(2), torch.zeros(3)], "is ragged: row 0 has 2 entries, row 1 has 3"),
    "ragged within": ([[[1], [2, 3]]], "is no array"),
    "a list of itself": (RECURSIVE, "is no array|holds"),
    "dates of numpy": (np.array(["2020-01-01"], "M8[D]"), "holds values of type datetime64"),
    "durations": (np.array([1], "m8[s]"), "holds values of type timedelta64"),
    "dates of Python": ([datetime.date(2020, 1, 1)], "holds datetime.date"),
    "dates of pandas": (pd.to_datetime(pd.Series(["2020-01-01"])), "holds values of type datetime64"),
    "decimals": ([Decimal(1)], r"holds Decimal\('1'\) in row 0"),
    "fractions": ([Fraction(1, 2)], r"holds Fraction\(1, 2\) in row 0"),
    "objects": ([object()], "holds <object"),
    "dicts": ([{"a": 1}, {"a": 2}], "holds {'a': 1} in row 0"),
    "a deque": (deque([[1], [1, 2]]), "is no array|holds"),
    "numbers and text": ([1, "a"], "holds 1 in row 0"),
    "text and numbers": (["a", 1.0], "holds 1.0 in row 1"),
    "text and bytes": (["a", b"b"], "holds b'b' in row 1"),
    "fields": (np.zeros(3, [("a", int)]), "holds values of type"),
    "voids": (np.zeros(3, "V4"), "holds values of type"),
    "longer floats": (np.zeros(3, np.longdouble), "holds values of type float128"),
    "large whole numbers": ([2**70], "holds 1180591620717411303424 in row 0"),
    "unsigned beyond int64": (np.array([1, 2**63], np.uint64), "holds whole numbers above 2\\^63"),
    "a sparse tensor": (torch.eye(3).to_sparse(), "is no plain tensor"),
    "a tensor of no content": (torch.zeros(3, device="meta"), "is no plain tensor"),
}


@pytest.mark.parametrize("name", BAD_COLUMNS)
def test_what_is_no_column_is_named(name):
    column, message = BAD_COLUMNS[name]
    with pytest.raises(DataError, match=rf"^the column 'x' ({message})") as error:
        as_columns({"x": column})
    assert len(str(error.value)) < 400


BAD_DATA = {
    "nothing": (None, "the data are a NoneType; give a dict"),
    "a number": (3, "the data are a int"),
    "text": ("abc", "the data are a str"),
    "a list": ([1, 2], "the data are a list"),
    "a tensor": (torch.zeros(3), "the data are a Tensor"),
    "fields": (np.zeros(3, [("a", int)]), "the data are a ndarray"),
    "no columns": ({}, "the data have no columns"),
    "no columns of a table": (pd.DataFrame(), "the data have no columns"),
    "one column alone": (pd.Series([1]), "the data (are a Series|have no columns)"),
    "no rows": ({"x": []}, "the data have no rows"),
    "no rows of two": ({"x": np.zeros((0, 2))}, "the data have no rows"),
    "no rows of a table": (pd.DataFrame({"x": []}), "the data have no rows"),
    "two lengths": ({"x": [1], "y": [1, 2]}, "the columns of the data differ in length: x 1, y 2"),
    "two of a name": (pd.DataFrame([[1, 2]], columns=["x", "x"]), "the data have two columns 'x': rename one"),
    "two of a name in Arrow": (pa.table([[1], [2]], names=["x", "x"]), "the data have two columns 'x'"),
    "two of a name as text": ({1: [1], "1": [1]}, "the data have two columns '1'"),
}


@pytest.mark.parametrize("name", BAD_DATA)
@pytest.mark.usefixtures("unchecked")
def test_what_are_no_data_is_said(name):
    data, message = BAD_DATA[name]
    with pytest.raises(DataError, match=f"^{message}"):
        as_columns(data)


@pytest.mark.parametrize(
    "column",
    [
        [1, 2, 3],
        np.arange(1, 4)[::-1][::-1],
        np.array([1, 2, 3], ">i4"),
        np.array([1, 2, 3], np.uint16),
        np.ma.masked_array([1, 2, 3], [0, 0, 0]),
        pa.array([1, 2, 3]),
        pd.Series([1, 2, 3], index=[7, 8, 9]),
        pd.Series([1, 2, 3], dtype="Int64"),
        torch.tensor([1, 2, 3]),
        [torch.tensor(1), torch.tensor(2), torch.tensor(3)],
        range(1, 4),
    ],
)
def test_whatever_has_an_entry_per_row_is_a_column(column):
    found = as_columns({"x": column})["x"]
    assert isinstance(found, torch.Tensor)
    assert found.tolist() == [1, 2, 3]


@pytest.mark.parametrize("column", [["a", "bc"], np.array(["a", "bc"], object), pd.Series(["a", "bc"]), [b"a", b"bc"]])
def test_text_is_kept(column):
    found = as_columns({"x": column})["x"]
    assert isinstance(found, np.ndarray)
    assert found.dtype.kind in "US"
    assert found.tolist() == list(column)


@pytest.mark.parametrize(
    "given", [2.0, "2", True, None, [2], np.array([2]), torch.tensor(True), 2j, float("nan"), b"2"]
)
def test_what_is_no_whole_number_is_said(given):
    with pytest.raises(DataError, match=r"^n=.*, but it must be a whole number$"):
        whole_number("n", given)


def test_whole_numbers_come_in_many_types():
    for given in (7, np.int8(7), np.uint64(7), np.array(7), torch.tensor(7)):
        assert whole_number("n", given) == 7
    assert whole_number("n", -(2**80)) == -(2**80)


@pytest.mark.parametrize("given", [0, -1, 2**31, 10**12, 2**63, 10**400])
def test_counts_are_of_something_and_can_be_counted(given):
    with pytest.raises(DataError, match=r"^draws=.* (is more than can be computed|but at least one draw is needed)"):
        at_least_one("draws", given)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": torch.tensor([0.5])}, "have the column 'x' of type torch.float32; it must be torch.int64"),
        ({"x": np.array(["1"])}, "have the column 'x' of type <U1; it must be torch.int64"),
        ({"t": torch.tensor([1])}, "have the column 't' of type torch.int64; it must be <U1"),
        ({"x": torch.tensor([1, 2])}, "have the column 'x' of shape"),
        ({"z": torch.tensor([1])}, "must be a dict of columns of the data: x, t"),
        ([1], "must be a dict of columns of the data: x, t"),
    ],
)
def test_donors_are_of_the_type_of_their_columns(changed, message):
    columns = as_columns({"x": [1, 2], "t": ["a", "b"]})
    datums = {name: column[:1] for name, column in columns.items()}
    with pytest.raises(DataError, match=f"^the donors made for 'A' {message}"):
        appended(columns, datums, changed, "A")
    assert appended(columns, datums, {"x": torch.tensor([9])}, "A")["x"].tolist() == [1, 2, 9]
