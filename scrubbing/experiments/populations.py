"""What a run estimates: the mean over the dataset or its source, and which rows are one observation of it."""

import hashlib
import warnings
from typing import Any

import numpy as np
from jaxtyping import Int

from scrubbing.errors import DataError, ScrubbingWarning, nearest
from scrubbing.graph.data import Columns, of_any_device
from scrubbing.score import Estimand, Population, packed


def population_of(
    estimand: Estimand | None,
    groups: Any,
    columns: Columns,
    references: Int[np.ndarray, " reference"],
    *,
    drawn: bool,
) -> Population:
    """The population that the options describe.

    Raises `DataError` for groups that are none, and warns of groups that change nothing.
    """
    if estimand not in (None, "source", "dataset"):
        raise DataError(f'estimand={estimand!r} is not known; choose "source" or "dataset"')
    rows = len(next(iter(columns.values())))
    estimand = estimand or ("dataset" if drawn else "source")
    if groups is None:
        return Population(estimand=estimand, rows=rows, drawn=drawn)
    name = groups if isinstance(groups, str) else "groups"
    if isinstance(groups, str) and groups not in columns:
        raise DataError(f"groups={groups!r}: the data have no such column{nearest(groups, columns)}")
    number = _numbered(name, columns[groups] if isinstance(groups, str) else groups, rows)
    if estimand == "source":
        _check_references(name, number[references])
    return Population(estimand=estimand, rows=rows, drawn=drawn, groups=name, group_of_row=packed(number))


def settings_of(population: Population) -> dict[str, Any]:
    """What a result says of its population, among its settings."""
    groups = population.group_of_row
    digest = None if groups is None else hashlib.blake2b(groups.encode(), digest_size=8).hexdigest()
    return {"estimand": population.estimand, "groups": None if groups is None else [population.groups, digest]}


def _numbered(name: str, groups: Any, rows: int) -> Int[np.ndarray, " row"]:
    """The number of each row's group."""
    array = of_any_device(groups)
    if array.shape != (rows,):
        raise DataError(
            f"{name!r} must hold one group for each of the {rows:,} rows, and has the shape {list(array.shape)}"
        )
    missing = np.array([value is None or value != value for value in array.tolist()])
    if missing.any():
        raise DataError(f"{name!r} has no group in row {int(missing.argmax())} (NaN); leave such rows out")
    if array.dtype == object:
        array = np.array([str(value) for value in array.tolist()])
    return np.unique(array, return_inverse=True)[1].reshape(-1)


def _check_references(name: str, groups: Int[np.ndarray, " reference"]) -> None:
    distinct = len(np.unique(groups))
    if distinct == 1 and len(groups) > 1:
        raise DataError(
            f"all {len(groups):,} references are of one group of {name!r}, and one observation has no interval; group "
            f'by something that varies, or ask for the mean over these rows alone: estimand="dataset"'
        )
    if distinct == len(groups) > 1:
        warnings.warn(
            f"each reference has a group of {name!r} of its own, so that groups change nothing",
            ScrubbingWarning,
            stacklevel=4,
        )
