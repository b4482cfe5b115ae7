"""Unigram and bigram losses, against counts written out one row at a time."""

from collections import Counter
from math import log

import numpy as np
import pytest
import torch

from scrubbing import DataError, bigram, unigram

ROWS = torch.randint(5, (6, 8), generator=torch.Generator().manual_seed(0))
DATA = {"tokens": ROWS[:, :-1], "labels": ROWS[:, 1:], "weights": torch.rand(6, 7, dtype=torch.float64)}
ELSEWHERE = torch.randint(5, (3, 10), generator=torch.Generator().manual_seed(1))
OTHER = {"tokens": ELSEWHERE[:, :-1], "labels": ELSEWHERE[:, 1:]}


def pairs(data, left_out=None):
    rows = [i for i in range(len(data["tokens"])) if i != left_out]
    return [(int(a), int(b)) for i in rows for a, b in zip(data["tokens"][i], data["labels"][i], strict=True)]


def expected(i, counted, *, strength=None, d_vocab=5):
    """Row i's loss by counts of the pairs given."""
    singles, doubles, before = Counter(b for _, b in counted), Counter(counted), Counter(a for a, _ in counted)
    total = 0.0
    for a, b, w in zip(
        DATA["tokens"][i].tolist(), DATA["labels"][i].tolist(), DATA["weights"][i].tolist(), strict=True
    ):
        p = (singles[b] + 1) / (len(counted) + d_vocab)
        if strength is not None:
            p = (doubles[a, b] + strength * p) / (before[a] + strength)
        total -= w * log(p)
    return total


def test_counts_are_those_of_the_other_rows():
    assert unigram(DATA) == pytest.approx([expected(i, pairs(DATA, i)) for i in range(6)])
    assert bigram(DATA, strength=2.0) == pytest.approx([expected(i, pairs(DATA, i), strength=2.0) for i in range(6)])


def test_counts_of_other_data_leave_nothing_out():
    assert unigram(DATA, counted_on=OTHER) == pytest.approx([expected(i, pairs(OTHER)) for i in range(6)])
    found = bigram(DATA, counted_on=OTHER, strength=0.5, d_vocab=9)
    assert found == pytest.approx([expected(i, pairs(OTHER), strength=0.5, d_vocab=9) for i in range(6)])


def test_without_weights_a_row_is_the_mean_of_its_positions():
    plain = {name: DATA[name] for name in ("tokens", "labels")}
    even = DATA | {"weights": torch.full((6, 7), 1 / 7)}
    assert unigram(plain) == pytest.approx(unigram(even))


def test_a_bigram_knows_more_than_a_unigram_where_tokens_follow_each_other():
    rows = (torch.arange(9) + torch.arange(50)[:, None]) % 5  # each token follows the one before it
    data = {"tokens": rows[:, :-1], "labels": rows[:, 1:]}
    assert unigram(data).mean() == pytest.approx(np.log(5), abs=0.01)
    assert bigram(data).mean() < 0.1


def test_mistakes_are_named():
    with pytest.raises(
        DataError, match="the data have no column 'labels', of which n-grams are counted; there are tokens"
    ):
        unigram({"tokens": ROWS})
    with pytest.raises(
        DataError, match=r"the column 'labels' must hold integers \[row, position\]; it is float32 \[6, 7\]"
    ):
        unigram({"labels": DATA["labels"].float()})
    with pytest.raises(DataError, match="d_vocab=3, but the labels go up to 4"):
        unigram(DATA, d_vocab=3)
    with pytest.raises(DataError, match="strength=0, but it must be a number above 0: pairs that were never"):
        bigram(DATA, strength=0)
