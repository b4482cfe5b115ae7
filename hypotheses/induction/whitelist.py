"""The token filter: the tokens after which counting earlier occurrences in the row beats the bigram statistics.

Causal scrubbing on induction heads (Redwood Research), appendix "How we picked the subset of tokens". A token is kept
or not by itself alone: never by the example it stands in, nor by the token that follows.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Integer

from scrubbing.errors import DataError, nearest

Form = Literal["log", "linear"]
Numbers = Float[np.ndarray, "..."] | float
Counts = Integer[np.ndarray, "..."] | int

# How far the counts (m matching, n not matching) move the logit, at beta = 1.
_SHIFTS = {
    "log": lambda m, n: np.log1p(m) - np.log1p(n),
    "linear": lambda m, n: np.subtract(m, n, dtype=np.float64),
}


def induction_probability(
    p: Numbers,
    matching: Counts,
    not_matching: Counts,
    *,
    beta: float,
    form: Form = "log",
) -> Numbers:
    """The bigram probability `p` of B after A, updated by how often B did and did not follow A earlier in the row.

    `sigmoid(logit(p) + beta ln(matching + 1) - beta ln(not_matching + 1))`, or with `form="linear"`
    `sigmoid(logit(p) + beta (matching - not_matching))`. A certain bigram (`p` = 1) stays certain.

    >>> round(float(induction_probability(0.1, 2, 1, beta=1.0)), 6)
    0.142857
    """
    p = np.asarray(p, dtype=np.float64)
    if not np.all((p >= 0) & (p <= 1)):
        raise DataError("a bigram probability lies outside 0 to 1; give probabilities")
    return np.exp(_log_induction_probability(p, _shift(matching, not_matching, beta, form)))


def token_gains(
    rows: Integer[np.ndarray, "row position_plus_1"], d_vocab: int, *, beta: float = 1.0, form: Form = "log"
) -> Float[np.ndarray, " d_vocab"]:
    """What each token A gains by the induction heuristic: `mean(-ln p) - mean(-ln p')` over its occurrences, in nats.

    The bigram probabilities are those of `rows` themselves. An occurrence is an input: the last token of a row is only
    a label. NaN for tokens that never occur.
    """
    pairs = _adjacent_pairs(rows, d_vocab)
    shift = _shift(pairs.matching, pairs.followed - pairs.matching, beta, form)
    gain = _log_induction_probability(pairs.probability, shift) - np.log(pairs.probability)
    occurrences = np.bincount(pairs.first, minlength=d_vocab)
    total = np.bincount(pairs.first, weights=gain, minlength=d_vocab)
    return np.divide(total, occurrences, out=np.full(d_vocab, np.nan), where=occurrences > 0)


def whitelist(
    rows: Integer[np.ndarray, "row position_plus_1"],
    d_vocab: int,
    *,
    beta: float = 1.0,
    threshold: float | None = None,
    share: float = 0.2,
    form: Form = "log",
    exclude: Collection[int] = (),
) -> Bool[np.ndarray, " d_vocab"]:
    """The tokens A with `gain(A) > threshold`; without a threshold, the best `share` of the tokens that occur.

    Tokens in `exclude` (a row's BEGIN, a file's END) are neither kept nor counted. The published list holds 10,249 of
    50,259 tokens; its beta and threshold are not published.
    """
    gains = without(token_gains(rows, d_vocab, beta=beta, form=form), exclude)
    return kept(gains, threshold=share_threshold(gains, share) if threshold is None else threshold)


def without(gains: Float[np.ndarray, " d_vocab"], exclude: Collection[int]) -> Float[np.ndarray, " d_vocab"]:
    """The gains with the tokens in `exclude` treated as if they never occurred."""
    outside = [token for token in exclude if not 0 <= token < len(gains)]
    if outside:
        raise DataError(f"token {outside[0]} cannot be excluded: the vocabulary is 0 to {len(gains) - 1}")
    return np.where(np.isin(np.arange(len(gains)), list(exclude)), np.nan, gains)


def share_threshold(gains: Float[np.ndarray, " d_vocab"], share: float) -> float:
    """The threshold above which `share` of the occurring tokens lie (fewer, if gains are tied there)."""
    if not 0 < share <= 1:
        raise DataError(f"share {share} of the vocabulary was asked for; give a share above 0 and at most 1")
    occurring = np.sort(_occurring(gains))
    dropped = len(occurring) - max(1, round(share * len(occurring)))
    return float(occurring[dropped - 1]) if dropped else -math.inf


def kept(gains: Float[np.ndarray, " d_vocab"], *, threshold: float) -> Bool[np.ndarray, " d_vocab"]:
    """The tokens whose gain exceeds the threshold; never none."""
    best = _occurring(gains).max()
    if not best > threshold:
        raise DataError(
            f"the whitelist is empty: no token's gain exceeds the threshold {threshold:g} nats "
            f"(the largest is {best:g}); lower the threshold, or give rows in which tokens recur"
        )
    return gains > threshold


def _occurring(gains: Float[np.ndarray, " d_vocab"]) -> Float[np.ndarray, " occurring"]:
    occurring = gains[~np.isnan(gains)]
    if not len(occurring):
        raise DataError("no token occurs, apart from the excluded ones; give rows that hold others")
    return occurring


@dataclass(frozen=True)
class _Pairs:
    """Every adjacent pair (A at t, B at t+1), row after row."""

    first: Integer[np.ndarray, " pair"]  # A
    probability: Float[np.ndarray, " pair"]  # of B after A, over the corpus
    followed: Integer[np.ndarray, " pair"]  # occurrences of A before t in the row
    matching: Integer[np.ndarray, " pair"]  # those of them that B followed


def _adjacent_pairs(rows: Integer[np.ndarray, "row position_plus_1"], d_vocab: int) -> _Pairs:
    rows = _checked(rows, d_vocab).astype(np.int64)
    first, second = rows[:, :-1].ravel(), rows[:, 1:].ravel()
    row = np.repeat(np.arange(len(rows)), rows.shape[1] - 1)
    bigrams, bigram, count = np.unique(first * d_vocab + second, return_inverse=True, return_counts=True)
    return _Pairs(
        first=first,
        probability=(count / np.bincount(first)[bigrams // d_vocab])[bigram],
        followed=_earlier(row * d_vocab + first),
        matching=_earlier(row * len(bigrams) + bigram),
    )


def _earlier(key: Integer[np.ndarray, " item"]) -> Integer[np.ndarray, " item"]:
    """How many items before each one have the same key."""
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    rank = np.arange(len(key)) - np.repeat(starts, np.diff(starts, append=len(key)))
    earlier = np.empty_like(rank)
    earlier[order] = rank
    return earlier


def _log_induction_probability(p: Numbers, shift: Numbers) -> Numbers:
    """`ln sigmoid(logit(p) + shift)`, without overflow, and `ln p` itself where nothing shifts it."""
    with np.errstate(divide="ignore"):  # logit(0) and logit(1) are infinite, as they should be
        log_p, logit = np.log(p), np.log(p) - np.log1p(-p)
    return np.where(shift == 0, log_p, -np.logaddexp(0, -(logit + shift)))


def _shift(matching: Counts, not_matching: Counts, beta: float, form: Form) -> Numbers:
    if form not in _SHIFTS:
        raise DataError(f"form {form!r} is unknown; the forms are {' and '.join(_SHIFTS)}{nearest(form, _SHIFTS)}")
    if not math.isfinite(beta):
        raise DataError(f"beta {beta} is not a finite number; give one, for example 1.0")
    return beta * _SHIFTS[form](matching, not_matching)


def _checked(rows: Integer[np.ndarray, "..."], d_vocab: int) -> Integer[np.ndarray, "row position_plus_1"]:
    if rows.ndim != 2 or rows.shape[0] < 1 or rows.shape[1] < 2:
        raise DataError(f"rows of shape {list(rows.shape)} hold no adjacent tokens; give [N, S+1], S at least 1")
    if not np.issubdtype(rows.dtype, np.integer):
        raise DataError(f"rows of {rows.dtype} are not tokens; give whole numbers")
    if rows.min() < 0 or rows.max() >= d_vocab:
        worst = rows.min() if rows.min() < 0 else rows.max()
        raise DataError(f"token {worst} is outside the vocabulary of {d_vocab}; give rows of tokens 0 to {d_vocab - 1}")
    return rows
