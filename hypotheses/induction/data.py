"""The rows that the experiments are scored on: read from a file, checked, and made into columns."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hypotheses.induction.archive import Header, read_arrays
from scrubbing.errors import DataError
from scrubbing.lens import TransformerConfig
from scrubbing.lens.language_data import check_rows, check_shape, check_weights, check_whole_numbers, normalised

Per = Literal["example", "position"]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of tokens, which positions of them are evaluated and how heavily, and what else the file says of them."""

    tokens: Int[Tensor, "row position_plus_1"]
    weights: Float[Tensor, "row position"]  # as given: the loss divides by their mean per row
    other: Int[Tensor, " row"] | None
    atypical: Bool[Tensor, "row position"] | None
    groups: Int[Tensor, " row"] | None  # the file or document that each row comes from
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
            "weights": normalised(self.weights, divisor, self.weights.dtype),
        }
        given = {"atypical": self.atypical, "groups": self.groups}
        return columns | {name: column for name, column in given.items() if column is not None}

    @property
    def references(self) -> Int[np.ndarray, " reference"]:
        """The rows with a position to evaluate; the others are donors only."""
        return (self.weights != 0).any(1).nonzero()[:, 0].numpy()


ARRAYS = ("tokens", "other", "whitelist", "weights", "atypical", "groups")


def read_rows(
    path: Path,
    config: TransformerConfig,
    dtype: torch.dtype,
    *,
    whitelist: Callable[[np.ndarray, int], np.ndarray] | None = None,
) -> Rows:
    """Rows from an .npz file (`tokens`, and optionally `other`, `whitelist`, `weights`, `atypical`, `groups`).

    The function `whitelist` of the tokens and the size of the vocabulary goes before the file's own.

    Raises `DataError` for a file that is damaged or does not fit the model.
    """

    def check(headers: Mapping[str, Header]) -> None:
        with _of(path):
            _check_shapes(headers, config)

    arrays = read_arrays(path, ARRAYS, check)
    with _of(path):
        tokens = check_whole_numbers("tokens", arrays["tokens"], config.d_vocab, "token")
        check_whole_numbers("labels", tokens[:, 1:], config.out_vocab, "token")
        if whitelist is not None:
            arrays = {**arrays, "whitelist": whitelist(tokens, config.d_vocab)}
        given, selection = _weights(arrays, tokens)
        other, atypical, groups = arrays.get("other"), arrays.get("atypical"), arrays.get("groups")
        return Rows(
            tokens=torch.from_numpy(tokens),
            weights=normalised(torch.from_numpy(given), 1.0, dtype),
            other=None if other is None else torch.from_numpy(check_whole_numbers("other", other, len(tokens), "row")),
            atypical=None if atypical is None else torch.from_numpy(_booleans("atypical", atypical)),
            groups=None if groups is None else torch.from_numpy(_group_numbers(groups)),
            selection=selection,
        )


@contextmanager
def _of(path: Path) -> Iterator[None]:
    """What is wrong with an array is said of the file that it stands in."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _check_shapes(headers: Mapping[str, Header], config: TransformerConfig) -> None:
    """Every array fits the tokens, and those the model, before any is read."""
    check_rows(headers["tokens"].shape, config.n_ctx)
    rows, positions = headers["tokens"].shape[0], headers["tokens"].shape[1] - 1
    fitting = {"other": (rows,), "groups": (rows,), "whitelist": (config.d_vocab,)}
    for name, header in headers.items():
        if name != "tokens":
            check_shape(name, header.shape, fitting.get(name, (rows, positions)))


def _booleans(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "biu" or not np.isin(array, (0, 1)).all():
        raise DataError(f"{name!r} is of type {array.dtype}; it must hold True or False for each")
    return array.astype(bool)


def _group_numbers(groups: np.ndarray) -> np.ndarray:
    if groups.dtype.kind not in "iu":
        raise DataError(f"'groups' is of type {groups.dtype}; it must hold a whole number for each row")
    return groups.astype(np.int64)


def _weights(
    arrays: Mapping[str, np.ndarray], tokens: Int[np.ndarray, "row position_plus_1"]
) -> tuple[Float[np.ndarray, "row position"], str]:
    """Each position's weight in the loss, and in words where it comes from."""
    inputs = tokens[:, :-1]
    weights, chosen = check_weights(arrays.get("weights"), inputs.shape), []
    if "whitelist" in arrays:
        whitelist = _booleans("whitelist", arrays["whitelist"])
        if not whitelist.any():
            raise DataError("the whitelist is empty; mark at least one token whose positions are evaluated")
        weights = weights * whitelist[inputs]
        chosen.append(f"whitelisted input tokens ({int(whitelist.sum())} of {len(whitelist)})")
    if "weights" in arrays:
        chosen.append("the file's weights")
    if not chosen:
        weights[:, 0] = 0
        chosen.append("all positions but the first")
    if not weights.any():
        raise DataError("no position has a weight above 0, so there is nothing to evaluate")
    return weights, " and ".join(chosen)
