"""Letters say exactly which hypotheses are not told apart; tiers make an order of them that is transitive."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scrubbing.score.statistics import shared_letters, tiers


@st.composite
def told_apart(draw):
    """Which of a few hypotheses are told apart, in any pattern."""
    k = draw(st.integers(1, 7))
    upper = np.triu(draw(st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=k, max_size=k)), 1)
    return upper.astype(bool) | upper.astype(bool).T


@given(told_apart())
def test_two_share_a_letter_if_and_only_if_they_are_not_told_apart(apart):
    letters = shared_letters(apart)
    for i in range(len(apart)):
        assert letters[i]
        for j in range(len(apart)):
            assert bool(set(letters[i]) & set(letters[j])) == (not apart[i, j])


@given(told_apart())
def test_no_letter_says_what_another_says_already(apart):
    letters = shared_letters(apart)
    bearers = [{i for i, own in enumerate(letters) if letter in own} for letter in sorted(set("".join(letters)))]
    assert not any(a < b or (a == b and a is not b) for a in bearers for b in bearers)


def test_what_is_not_transitive_bears_two_letters():
    apart = np.zeros((3, 3), dtype=bool)
    apart[0, 2] = apart[2, 0] = True
    assert shared_letters(apart) == ("a", "ab", "b")


@given(told_apart())
def test_every_hypothesis_beats_all_of_the_tiers_below_its_own_and_tiers_cannot_be_finer(apart):
    better = np.triu(apart)
    tier = tiers(better)
    assert sorted(tier) == list(tier)
    for i in range(len(tier)):
        for j in range(i + 1, len(tier)):
            assert tier[i] == tier[j] or better[i, j]
    for k in range(1, len(tier)):
        if tier[k - 1] == tier[k]:
            assert not better[:k, k:].all()


def test_letters_go_on_after_the_alphabets():
    letters = shared_letters(~np.eye(54, dtype=bool))
    assert letters[:2] == ("a", "b")
    assert letters[51:] == ("Z", "(53)", "(54)")
