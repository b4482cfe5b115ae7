"""Strings as the columns that the network and the claims read."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hypotheses.brackets.strings import balanced, tokens_of
from scrubbing.errors import DataError


def columns(strings: Sequence[str], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The columns `tokens`, `labels` and `weights`, `[row, position]`.

    The decision is read at position 0: its label is 1 for a balanced string, and no other position counts.

    >>> found = columns(["()", ")("])
    >>> found["labels"][:, 0], found["weights"].sum(1)
    (tensor([1, 0]), tensor([1., 1.]))

    Raises `DataError` unless there are balanced strings and others.
    """
    tokens = torch.from_numpy(tokens_of(strings))
    labels, weights = torch.zeros_like(tokens), torch.zeros(tokens.shape, dtype=dtype)
    labels[:, 0] = torch.tensor([balanced(string) for string in strings])
    weights[:, 0] = 1
    if len(labels[:, 0].unique()) < 2:
        all_of_them = "balanced" if labels[0, 0] else "unbalanced"
        raise DataError(f"all {len(strings)} strings are {all_of_them}; give strings of both kinds")
    return {"tokens": tokens, "labels": labels, "weights": weights}


def base_rate_losses(columns: dict[str, Tensor]) -> Float[np.ndarray, " row"]:
    """The loss of each row if every guess is the share of balanced strings."""
    labels = columns["labels"][:, 0].double()
    share = labels.mean()
    return -torch.where(labels == 1, share, 1 - share).log().cpu().numpy()
