"""Rows of tokens as the columns that a language model's graph reads, checked entry by entry."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from scrubbing.errors import DataError
from scrubbing.graph.data import as_array, as_columns
from scrubbing.lens.loading import Transformer


def next_token_data(
    tokens: Any,
    lengths: Any = None,
    weights: Any = None,
    groups: Any = None,
    *,
    model: Transformer | None = None,
    d_vocab: int | None = None,
    n_ctx: int | None = None,
) -> dict[str, Tensor | np.ndarray]:
    """The columns of a next-token task, from rows of tokens `[row, position + 1]`.

    `tokens` become all but the last of each row, and `labels` all but the first. `weights` `[row, position]` (1 where
    none are given) say how heavily each position is evaluated: the loss of row i is `sum_p w_ip l_ip / mean_j sum_p
    w_jp`, so that the mean over rows is the mean over evaluated positions. Of a row of `lengths` `[row]` tokens the
    rest is padding: it is not evaluated, and may hold any number. `groups` `[row]` are kept as a column.

    With a `model` (or `d_vocab` and `n_ctx`) tokens are checked against its vocabulary, rows against its context.

    Raises `DataError` that names the column and the row of the first entry that is wrong.

    >>> data = next_token_data([[5, 3, 9], [5, 4, 0]], lengths=[3, 2])
    >>> data["labels"].tolist()
    [[3, 9], [4, 0]]
    >>> [[round(w, 2) for w in row] for row in data["weights"].tolist()]
    [[0.67, 0.67], [0.67, 0.0]]
    """
    config = None if model is None else model.config
    rows = _tokens(tokens, n_ctx if config is None else config.n_ctx)
    real = _real(lengths, rows.shape)
    rows = np.where(real, rows, 0)  # what stands in the padding is no token
    check_whole_numbers("tokens", rows, d_vocab if config is None else config.d_vocab, "token")
    if config is not None:
        check_whole_numbers("labels", rows[:, 1:], config.out_vocab, "token")
    heavy = check_weights(weights, (rows.shape[0], rows.shape[1] - 1)) * real[:, 1:]
    if not heavy.any():
        raise DataError("no position of the data has a weight above 0, so there is nothing to evaluate")
    kind = weights.dtype if isinstance(weights, Tensor) and weights.is_floating_point() else torch.get_default_dtype()
    columns: dict[str, Tensor | np.ndarray] = {
        "tokens": torch.from_numpy(rows[:, :-1].copy()),
        "labels": torch.from_numpy(rows[:, 1:].copy()),
        "weights": normalised(torch.from_numpy(heavy), torch.from_numpy(heavy).sum(1).mean(), kind),
    }
    return columns if groups is None else columns | {"groups": _groups(groups, len(rows))}


def check_whole_numbers(name: str, array: np.ndarray, below: int | None, what: str) -> np.ndarray:
    """An array as whole numbers from 0 to below `below`. Raises `DataError` with the row of the first that is none."""
    if array.dtype.kind not in "iu":
        raise DataError(f"{name!r} is of type {array.dtype}; it must hold {what} numbers (integers)")
    top = np.iinfo(np.int64).max if below is None else below - 1
    wrong = np.argwhere((array < 0) | (array > top))
    if len(wrong):
        range_ = "are none below 0" if below is None else f"go from 0 to {top}"
        raise DataError(f"{name!r} holds {what} {array[tuple(wrong[0])]} in {_place(wrong[0])}, but {what}s {range_}")
    return array.astype(np.int64)


def check_weights(weights: Any, shape: tuple[int, int]) -> np.ndarray:
    """Weights by position: finite, none below 0; 1 where none are given.

    Raises `DataError` with the row and position of the first that is not.
    """
    if weights is None:
        return np.ones(shape)
    array = as_array("weights", weights)
    check_shape("weights", array.shape, shape)
    if array.dtype.kind not in "fiub":
        raise DataError(f"'weights' is of type {array.dtype}; it must hold numbers")
    wrong = np.argwhere(~(np.isfinite(array) & (array >= 0)))
    if len(wrong):
        found = array[tuple(wrong[0])]
        raise DataError(f"'weights' holds {found} in {_place(wrong[0])}; they must be finite numbers, none below 0")
    return array.astype(np.float64)


def check_shape(name: str, given: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    """Raise `DataError` for a column that does not fit the tokens."""
    if given != wanted:
        raise DataError(f"{name!r} has the shape {list(given)}; for these tokens it must be {list(wanted)}")


def check_rows(shape: tuple[int, ...], n_ctx: int | None) -> None:
    """Raise `DataError` for tokens that are no rows of at least two, or longer than the model's context and a label."""
    if len(shape) != 2 or shape[1] < 2 or not shape[0]:
        raise DataError(f"'tokens' has the shape {list(shape)}; it must be [rows, context + 1]")
    if n_ctx is not None and shape[1] - 1 > n_ctx:
        raise DataError(
            f"rows of {shape[1]} tokens give {shape[1] - 1} inputs, but the model's context is {n_ctx}; "
            f"cut the rows to {n_ctx + 1} tokens"
        )


def normalised(weights: Tensor, divisor: Tensor | float, dtype: torch.dtype) -> Tensor:
    """Weights divided, as numbers of a type. Raises `DataError` where the type cannot hold them."""
    found = (weights / divisor).to(dtype)
    largest = weights.max().item()
    if not found.isfinite().all() or not found.any():
        lost = "are not finite" if found.any() else "are all 0"
        raise DataError(f"'weights' of up to {largest:.3g} {lost} as {dtype}; give weights of around 1")
    return found


def _tokens(tokens: Any, n_ctx: int | None) -> np.ndarray:
    array = as_array("tokens", tokens)
    check_rows(array.shape, n_ctx)
    if array.dtype.kind not in "iu":
        raise DataError(f"'tokens' is of type {array.dtype}; it must hold token numbers (integers)")
    return array


def _real(lengths: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Which entries of the tokens are none of the padding."""
    if lengths is None:
        return np.ones(shape, dtype=bool)
    array = as_array("lengths", lengths)
    check_shape("lengths", array.shape, shape[:1])
    array = check_whole_numbers("lengths", array, shape[1] + 1, "length")
    empty = np.flatnonzero(array == 0)
    if len(empty):
        raise DataError(f"'lengths' holds length 0 in row {empty[0]}; leave out rows without tokens")
    return np.arange(shape[1]) < array[:, None]


def _groups(groups: Any, rows: int) -> Tensor | np.ndarray:
    column = as_columns({"groups": groups})["groups"]
    check_shape("groups", tuple(column.shape), (rows,))
    return column


def _place(entry: np.ndarray) -> str:
    return f"row {entry[0]}" + (f", position {entry[1]}" if len(entry) > 1 else "")
