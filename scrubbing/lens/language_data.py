"""Rows of tokens as the columns that a language model's graph reads, checked entry by entry."""

import warnings
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from scrubbing.errors import DataError, ScrubbingWarning
from scrubbing.errors.arguments import checked
from scrubbing.graph import Graph
from scrubbing.graph.data import Columns, as_array, as_columns
from scrubbing.lens.blocks import PADDING
from scrubbing.lens.components.loss import WeightedCrossEntropy
from scrubbing.lens.components.readout import Readout
from scrubbing.lens.components.residual import Embedding
from scrubbing.lens.weights import Transformer


@checked
def next_token_data(
    tokens: Any,
    lengths: Any = None,
    weights: Any = None,
    groups: Any = None,
    *,
    attention_mask: Any = None,
    model: Transformer | None = None,
    d_vocab: int | None = None,
    n_ctx: int | None = None,
) -> dict[str, Tensor | np.ndarray]:
    """Make the columns that a language model's graph reads, from rows of tokens `[row, position + 1]`.

    - `tokens` `[row, position]`: all tokens but the last of each row
    - `labels` `[row, position]`: the token to predict at each position, so all but the first
    - `weights` `[row, position]`: how much each position counts; 1 for all if you give none. They are divided by the
      mean sum of a row, so that the mean loss over rows is the (weighted) mean over positions, in nats
    - `groups` `[row]`: kept as a column, if you give it

    Where rows differ in length, pad them at the right and give `lengths` `[row]`, in tokens. Or pad them at either side
    and give `attention_mask` `[row, position + 1]`, 1 for tokens and 0 for padding, as tokenizers make it: it becomes
    the column that `transformer(model, padded=True)` reads. Padding has weight 0 and may hold any number. With a
    `model` (or `d_vocab` and `n_ctx`), tokens are checked against its vocabulary, and rows against its context.

    >>> from scrubbing.lens import next_token_data
    >>> data = next_token_data([[5, 3, 9], [5, 4, 0]], lengths=[3, 2])
    >>> data["tokens"].tolist(), data["labels"].tolist()
    ([[5, 3], [5, 4]], [[3, 9], [4, 0]])
    >>> [[round(w, 2) for w in row] for row in data["weights"].tolist()]
    [[0.67, 0.67], [0.67, 0.0]]

    Raises `DataError` with the column, row and position of the first entry that is wrong.
    """
    config = None if model is None else model.config
    rows = _tokens(tokens, n_ctx if config is None else config.n_ctx)
    real = _real(lengths, attention_mask, rows.shape)
    rows = np.where(real, rows, 0)  # padding may hold anything
    rows = check_whole_numbers("tokens", rows, d_vocab if config is None else config.d_vocab, "token")
    if config is not None:
        check_whole_numbers("labels", rows[:, 1:], config.out_vocab, "token")
    heavy = check_weights(weights, (rows.shape[0], rows.shape[1] - 1)) * (real[:, :-1] & real[:, 1:])
    if not heavy.any():
        raise DataError("no position of the data has a weight above 0, so there is nothing to evaluate")
    kind = weights.dtype if isinstance(weights, Tensor) and weights.is_floating_point() else torch.get_default_dtype()
    columns: dict[str, Tensor | np.ndarray] = {
        "tokens": torch.from_numpy(rows[:, :-1].copy()),
        "labels": torch.from_numpy(rows[:, 1:].copy()),
        "weights": normalised(torch.from_numpy(heavy), torch.from_numpy(heavy).sum(1).mean(), kind),
    }
    if attention_mask is not None:
        columns[PADDING] = torch.from_numpy(real[:, :-1].astype(np.int64))
    return columns if groups is None else columns | {"groups": _groups(groups, len(rows))}


def check_language_columns(network: Graph, columns: Columns) -> None:
    """Check the columns that a network's embedding and loss read, against its vocabulary and each other.

    Without this check, negative tokens and labels of the wrong length would give wrong losses, silently.

    Raises `DataError` that names the column and the row of the first entry that is wrong.
    """
    nodes = {type(node.fn): node for node in network.values()}
    if not {Embedding, WeightedCrossEntropy, Readout} <= nodes.keys():
        return
    embedding, readout = cast(Embedding, nodes[Embedding].fn), cast(Readout, nodes[Readout].fn)
    named = (nodes[Embedding].inputs[0], *nodes[WeightedCrossEntropy].inputs[1:3])
    if any(name not in columns for name in named):
        return  # reported elsewhere, or computed by a node
    tokens, labels, weights = named
    arrays = {name: as_array(name, columns[name]) for name in named}
    check_whole_numbers(tokens, arrays[tokens], len(embedding.W_E), "token")
    if embedding.W_pos is not None and arrays[tokens].shape[1:] > (len(embedding.W_pos),):
        positions, n_ctx = arrays[tokens].shape[1], len(embedding.W_pos)
        raise DataError(f"{tokens!r} has rows of {positions} tokens, but the model's context is {n_ctx}; cut the rows")
    for name in (labels, weights):
        check_shape(name, arrays[name].shape, arrays[tokens].shape)
    check_numbers(weights, arrays[weights])
    evaluated = np.where(arrays[weights] != 0, arrays[labels], 0)  # labels of other positions are not read
    check_whole_numbers(labels, evaluated, readout.W_U.shape[1], "token")
    if PADDING in columns and PADDING not in network.columns and not as_array(PADDING, columns[PADDING]).all():
        warnings.warn(
            f"the data have padding ({PADDING!r} is 0 somewhere), and no node of the network reads {PADDING!r}: it "
            f"attends to padding as to tokens; make the graph with transformer(model, padded=True)",
            ScrubbingWarning,
            stacklevel=2,
        )


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
    check_numbers("weights", array)
    wrong = np.argwhere(array < 0)
    if len(wrong):
        found = array[tuple(wrong[0])]
        raise DataError(f"'weights' holds {found} in {_place(wrong[0])}; they must be finite numbers, none below 0")
    return array.astype(np.float64)


def check_numbers(name: str, array: np.ndarray) -> None:
    """Raise `DataError` with the place of the first entry that is no finite number."""
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name!r} is of type {array.dtype}; it must hold numbers")
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        found = array[tuple(wrong[0])]
        raise DataError(f"{name!r} holds {found} in {_place(wrong[0])}; they must be finite numbers, none below 0")


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


def _real(lengths: Any, attention_mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Which entries of the tokens are not padding."""
    if attention_mask is not None:
        if lengths is not None:
            raise DataError("both lengths and attention_mask say where padding is; give one of them")
        return _real_entries(attention_mask, shape)
    if lengths is None:
        return np.ones(shape, dtype=bool)
    array = as_array("lengths", lengths)
    check_shape("lengths", array.shape, shape[:1])
    array = check_whole_numbers("lengths", array, shape[1] + 1, "length")
    empty = np.flatnonzero(array == 0)
    if len(empty):
        raise DataError(f"'lengths' holds length 0 in row {empty[0]}; leave out rows without tokens")
    return np.arange(shape[1]) < array[:, None]


def _real_entries(attention_mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = as_array(PADDING, attention_mask)
    check_shape(PADDING, array.shape, shape)
    real = check_whole_numbers(PADDING, array.astype(np.int64) if array.dtype == bool else array, 2, "mark") > 0
    check_mask(real)
    return real


def check_mask(real: np.ndarray) -> None:
    """Raise `DataError` for a row whose tokens are none, or do not stand together."""
    runs = (np.diff(real.astype(np.int8), axis=1, prepend=0) == 1).sum(1)
    wrong = np.flatnonzero(runs != 1)
    if len(wrong) and runs[wrong[0]]:
        raise DataError(f"'attention_mask' has padding between the tokens of row {wrong[0]}; pad at one side")
    if len(wrong):
        raise DataError(f"'attention_mask' marks no token in row {wrong[0]}; leave out rows without tokens")


def _groups(groups: Any, rows: int) -> Tensor | np.ndarray:
    column = as_columns({"groups": groups})["groups"]
    check_shape("groups", tuple(column.shape), (rows,))
    return column


def _place(entry: np.ndarray) -> str:
    return f"row {entry[0]}" + (f", position {entry[1]}" if len(entry) > 1 else "")
