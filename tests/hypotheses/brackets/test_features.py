"""Features against their words, on every short string."""

from itertools import product

import numpy as np
import pytest
import torch

from hypotheses.brackets import features
from hypotheses.brackets.strings import balanced, tokens_of

EVERY = ["".join(s) for n in range(1, 9) for s in product("()", repeat=n)]
TOKENS = torch.from_numpy(tokens_of(EVERY))


def passes(string: str) -> bool:
    return all(string[i:].count("(") <= string[i:].count(")") for i in range(len(string)))


@pytest.mark.parametrize(
    ("feature", "meaning"),
    [
        (features.count, lambda s: s.count("(") == s.count(")")),
        (features.starts, lambda s: s[0] == "("),
        (features.horizon, passes),
        (features.count_and_starts, lambda s: s.count("(") == s.count(")") and s[0] == "("),
    ],
    ids=["count", "starts", "horizon", "count and starts"],
)
def test_a_feature_is_its_words(feature, meaning):
    assert feature(TOKENS).tolist() == [meaning(s) for s in EVERY]


def test_a_string_is_balanced_if_and_only_if_both_tests_are_passed():
    both = features.count(TOKENS) & features.horizon(TOKENS)
    assert both.tolist() == [balanced(s) for s in EVERY]
    assert (features.count_and_starts(TOKENS) & features.horizon(TOKENS)).equal(both)


def test_shares_are_those_of_what_is_left():
    for string, row in zip(EVERY, features.shares(TOKENS).tolist(), strict=True):
        expected = [string[i:].count("(") / len(string[i:]) for i in range(len(string))]
        assert np.allclose(row[1 : len(string) + 1], expected)
        assert row[len(string) + 1 :] == [0] * (9 - len(string))


def test_the_horizon_fails_where_a_class_says_so():
    classes = features.position_classes(TOKENS, features.shares(TOKENS))
    fails = (classes == features.MOSTLY_OPEN) | (classes == features.END_AFTER_OPEN)
    assert (~fails.any(1)).tolist() == [passes(s) for s in EVERY]
    for string, row in zip(EVERY, classes.tolist(), strict=True):
        last = features.END_AFTER_OPEN if string[-1] == "(" else features.END_AFTER_CLOSE
        assert row[0] == features.OTHER
        assert row[len(string) + 1 :] == [last] + [features.OTHER] * (8 - len(string))
        assert set(row[1 : len(string) + 1]) <= {features.MOSTLY_OPEN, features.NOT_MOSTLY_OPEN}


def test_adjusted_shares_weigh_brackets_by_where_they_stand():
    weights = torch.rand(9, 10, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = features.AdjustedShares(weights)(TOKENS)
    for string, row in zip(EVERY, found.tolist(), strict=True):
        for position in range(1, len(string) + 1):
            before, after = weights[len(string), position].tolist()
            weighed = [(before if i < position else after, c) for i, c in enumerate(string, start=1)]
            expected = sum(w for w, c in weighed if c == "(") / sum(w for w, _ in weighed)
            assert abs(row[position] - expected) < 1e-9


def test_equal_weights_give_the_share_of_the_whole_string():
    found = features.AdjustedShares(torch.ones(9, 10, 2))(TOKENS)[:, 5]
    assert torch.allclose(found, features.shares(TOKENS)[:, 1])
