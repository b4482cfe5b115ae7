"""The rows that the experiments are scored on: read from a file, checked, and made into columns."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scrubbing.errors import DataError
from scrubbing.lens import TransformerConfig

Per = Literal["example", "position"]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of tokens, which positions of them are evaluated and how heavily, and what else the file says of them."""

    tokens: Int[Tensor, "row position_plus_1"]
    weights: Float[Tensor, "row position"]  # as given: the loss divides by their mean per row
    other: Int[Tensor, " row"] | None
    atypical: Bool[Tensor, "row position"] | None
    selection: str  # in words, which positions are evaluated

    def columns(self, *, per: Per = "example") -> dict[str, Tensor]:
        """The columns that the network and the claims read.

        A row's loss is the sum over positions of weight times loss, divided by the mean row's weight, so that the mean
        over rows is the mean over evaluated positions. With `per="position"` it is divided by the number of positions,
        evaluated or not, as in the published figures.
        """
        weighted = self.weights.sum(1)
        divisor = weighted[weighted > 0].mean() if per == "example" else self.weights.shape[1]
        columns = {
            "tokens": self.tokens[:, :-1],
            "labels": self.tokens[:, 1:],
            "weights": self.weights / divisor,
        }
        return columns if self.atypical is None else columns | {"atypical": self.atypical}

    @property
    def references(self) -> Int[np.ndarray, " reference"]:
        """The rows with a position to evaluate; the others are donors only."""
        return (self.weights != 0).any(1).nonzero()[:, 0].numpy()


def read_rows(path: Path, config: TransformerConfig, dtype: torch.dtype) -> Rows:
    """Rows from an .npz file (`tokens`, and optionally `other`, `whitelist`, `weights`, `atypical`).

    Raises `DataError` for a file that is damaged or does not fit the model.
    """
    arrays = _read_arrays(path)
    if "tokens" not in arrays:
        raise DataError(f"{path} has no array 'tokens'; it holds {', '.join(arrays) or 'nothing'}")
    tokens = _tokens(arrays["tokens"], config, path)
    rows, positions = tokens.shape[0], tokens.shape[1] - 1
    weights, selection = _weights(arrays, tokens, config.d_vocab, path)
    other = arrays.get("other")
    if other is not None:
        _require_shape("other", other, (rows,), path)
        other = torch.from_numpy(_whole_numbers("other", other, rows, "row", path))
    atypical = arrays.get("atypical")
    if atypical is not None:
        _require_shape("atypical", atypical, (rows, positions), path)
        atypical = torch.from_numpy(_booleans("atypical", atypical, path))
    return Rows(tokens, torch.from_numpy(weights).to(dtype), other, atypical, selection)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as opened, np.lib.npyio.NpzFile(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise DataError(f"there is no data file {path}") from None
    except (OSError, ValueError, EOFError, RuntimeError, MemoryError, BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged or no .npz file of plain arrays ({error})") from None
    return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}


def _tokens(array: np.ndarray, config: TransformerConfig, path: Path) -> Int[Tensor, "row position_plus_1"]:
    if array.ndim != 2 or array.shape[1] < 2 or not len(array):
        raise DataError(f"{path}: 'tokens' has the shape {list(array.shape)}; it must be [rows, context + 1]")
    if array.shape[1] - 1 > config.n_ctx:
        raise DataError(
            f"{path}: rows of {array.shape[1]} tokens give {array.shape[1] - 1} inputs, but the model's context is "
            f"{config.n_ctx}; cut the rows to {config.n_ctx + 1} tokens"
        )
    return torch.from_numpy(_whole_numbers("tokens", array, config.d_vocab, "token", path))


def _whole_numbers(name: str, array: np.ndarray, below: int, what: str, path: Path) -> np.ndarray:
    if array.dtype.kind not in "iu":
        raise DataError(f"{path}: {name!r} is of type {array.dtype}; it must hold {what} numbers (integers)")
    wrong = np.argwhere((array.astype(np.int64) < 0) | (array.astype(np.int64) >= below))
    if len(wrong):
        place = tuple(int(i) for i in wrong[0])
        where = f"row {place[0]}" + (f", position {place[1]}" if len(place) > 1 else "")
        raise DataError(
            f"{path}: {name!r} holds {what} {array[place]} in {where}, but {what}s go from 0 to {below - 1}"
        )
    return array.astype(np.int64)


def _booleans(name: str, array: np.ndarray, path: Path) -> np.ndarray:
    if array.dtype.kind not in "biu" or not np.isin(array, (0, 1)).all():
        raise DataError(f"{path}: {name!r} is of type {array.dtype}; it must hold True or False for each")
    return array.astype(bool)


def _weights(
    arrays: dict[str, Any], tokens: Int[Tensor, "row position_plus_1"], d_vocab: int, path: Path
) -> tuple[Float[np.ndarray, "row position"], str]:
    """Each position's weight in the loss, and in words where it comes from."""
    inputs = tokens[:, :-1].numpy()
    weights, chosen = np.ones(inputs.shape), []
    if "whitelist" in arrays:
        whitelist = arrays["whitelist"]
        _require_shape("whitelist", whitelist, (d_vocab,), path)
        whitelist = _booleans("whitelist", whitelist, path)
        if not whitelist.any():
            raise DataError(f"{path}: the whitelist is empty; mark at least one token whose positions are evaluated")
        weights = weights * whitelist[inputs]
        chosen.append(f"whitelisted input tokens ({int(whitelist.sum())} of {d_vocab})")
    if "weights" in arrays:
        given = arrays["weights"]
        _require_shape("weights", given, inputs.shape, path)
        if given.dtype.kind not in "fiub" or not np.isfinite(given).all() or (given < 0).any():
            raise DataError(f"{path}: 'weights' must be finite numbers, none below 0")
        weights = weights * given
        chosen.append("the file's weights")
    if not chosen:
        weights[:, 0] = 0
        chosen.append("all positions but the first")
    if not weights.any():
        raise DataError(f"{path}: no position has a weight above 0, so there is nothing to evaluate")
    return weights, " and ".join(chosen)


def _require_shape(name: str, array: np.ndarray, shape: tuple[int, ...], path: Path) -> None:
    if array.shape != shape:
        raise DataError(
            f"{path}: {name!r} has the shape {list(array.shape)}; for these tokens it must be {list(shape)}"
        )
