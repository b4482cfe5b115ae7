"""What a language model that looks at no more than one token could do: unigram and bigram losses, counted on data."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from scrubbing.errors import DataError, nearest
from scrubbing.errors.arguments import check_between, checked
from scrubbing.graph.data import as_columns, at_least_one, of_any_device

Keys = Int[np.ndarray, "row position"]
OtherKeys = Int[np.ndarray, "other_row other_position"]
Values = Float[np.ndarray, "row position"]


@checked
def unigram(
    data: Mapping[str, Any],
    *,
    counted_on: Mapping[str, Any] | None = None,
    d_vocab: int | None = None,
    labels: str = "labels",
    weights: str = "weights",
) -> Float[np.ndarray, " row"]:
    """The loss `[row]`, in nats, of a model that knows how frequent each label is, and nothing else.

    The columns `labels` and `weights` are `[row, position]`. Labels are counted at all positions of the other rows of
    `data` (a row never predicts itself), or of `counted_on`. Each of `d_vocab` tokens (by default the largest label,
    plus one) is counted once more. A row's loss is the sum over positions, weighted; the mean, where the data have no
    weights.

    >>> unigram({"labels": [[0, 1], [0, 1]]}).round(3)
    array([0.693, 0.693])

    Raises `DataError` for labels that are missing, are not whole numbers `[row, position]`, or exceed `d_vocab`.
    """
    wanted = _tokens(data, labels)
    other = None if counted_on is None else _tokens(counted_on, labels)
    return _weighted(-np.log(_unigram(wanted, other, _vocabulary(wanted, other, d_vocab))), data, weights)


@checked
def bigram(
    data: Mapping[str, Any],
    *,
    counted_on: Mapping[str, Any] | None = None,
    strength: int | float = 3.0,
    d_vocab: int | None = None,
    tokens: str = "tokens",
    labels: str = "labels",
    weights: str = "weights",
) -> Float[np.ndarray, " row"]:
    """The loss `[row]`, in nats, of a model that knows how often each label follows each token, and nothing else.

    Pairs are counted as `unigram` counts labels. `strength` more pairs follow the unigram's frequencies, so that a pair
    that was never seen falls back on them. The columns `tokens`, `labels` and `weights` are `[row, position]`.

    >>> bigram({"tokens": [[0, 1], [0, 1]], "labels": [[1, 0], [1, 0]]}).round(3)
    array([0.47, 0.47])

    Raises `DataError` for a `strength` that is not positive, and for columns as in `unigram`.

    Source: MacKay and Peto, "A hierarchical Dirichlet language model" (1995).
    """
    check_between("strength", strength, 0, math.inf, "pairs that were never seen need some")
    wanted, given = _tokens(data, labels), _tokens(data, tokens)
    others = None if counted_on is None else (_tokens(counted_on, labels), _tokens(counted_on, tokens))
    d_vocab = _vocabulary(wanted, others and others[0], d_vocab)
    fallback = _unigram(wanted, others and others[0], d_vocab)
    pairs = _counts(given * d_vocab + wanted, others and others[1] * d_vocab + others[0])
    before = _counts(given, others and others[1])
    return _weighted(-np.log((pairs + strength * fallback) / (before + strength)), data, weights)


def _unigram(wanted: Keys, other: OtherKeys | None, d_vocab: int) -> Values:
    total = wanted.size - wanted.shape[1] if other is None else other.size
    return (_counts(wanted, other) + 1) / (total + d_vocab)


def _counts(keys: Keys, other: OtherKeys | None) -> Values:
    """How often the key at each place occurs in other rows, or in `other`."""
    if other is not None:
        known, counts = np.unique(other, return_counts=True)
        at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        return np.where(known[at] == keys, counts[at], 0).astype(np.float64)
    known, number, counts = np.unique(keys, return_inverse=True, return_counts=True)
    number = number.reshape(keys.shape)
    by_row = np.arange(len(keys))[:, None] * len(known) + number
    _, own, own_counts = np.unique(by_row, return_inverse=True, return_counts=True)
    return (counts[number] - own_counts[own.reshape(keys.shape)]).astype(np.float64)


def _vocabulary(wanted: Keys, other: OtherKeys | None, d_vocab: int | None) -> int:
    largest = int(max(wanted.max(), -1 if other is None else other.max()))
    if d_vocab is not None and at_least_one("d_vocab", d_vocab) <= largest:
        raise DataError(f"d_vocab={d_vocab}, but the labels go up to {largest}")
    return largest + 1 if d_vocab is None else d_vocab


def _tokens(data: Mapping[str, Any], name: str) -> Int[np.ndarray, "_ _"]:
    columns = as_columns(data)
    if name not in columns:
        raise DataError(
            f"the data have no column {name!r}, of which n-grams are counted; there are {', '.join(columns)}"
        )
    array = of_any_device(columns[name])
    if array.ndim != 2 or array.dtype.kind not in "iu":
        raise DataError(
            f"the column {name!r} must hold integers [row, position]; it is {array.dtype} {list(array.shape)}"
        )
    return array.astype(np.int64)


def _weighted(nats: Values, data: Mapping[str, Any], weights: str) -> Float[np.ndarray, " row"]:
    columns = as_columns(data)
    if weights not in columns:
        if weights != "weights":
            raise DataError(f"the data have no column weights={weights!r}{nearest(weights, columns)}")
        return nats.mean(axis=1)
    return (nats * of_any_device(columns[weights]).astype(np.float64)).sum(axis=1)
