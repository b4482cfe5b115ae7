"""The text that the shipped network is trained on, and the words of vocabularies."""

import numpy as np
import pytest
import torch
from copy_suppressor import known

from hypotheses.copy_suppression.directions import Unembeddings
from hypotheses.copy_suppression.network import Parts
from hypotheses.copy_suppression.text import BEGIN, CONNECTIVES, FIRST_WORD, VOCABULARY, WORDS, Text
from hypotheses.copy_suppression.words import function_words, related, root, semantic_sets

pytestmark = pytest.mark.usefixtures("unchecked")


def test_rows_alternate_words_and_connectives():
    rows = Text().rows(50, 65, seed=1)
    assert (rows[:, 0] == BEGIN).all()
    assert (rows[:, 1::2] >= FIRST_WORD).all()
    assert ((rows[:, 2::2] > BEGIN) & (rows[:, 2::2] < FIRST_WORD)).all()
    assert len(VOCABULARY) == 104 == FIRST_WORD + len(set(WORDS))
    assert np.array_equal(rows, Text().rows(50, 65, seed=1))
    assert not np.array_equal(rows, Text(seed=1).rows(50, 65, seed=1))


def test_odds_are_three_successors_and_what_is_smoothed():
    base = Text().base
    assert base.shape == (96, 1 + len(CONNECTIVES), 96)
    assert base.sum(2) == pytest.approx(np.ones(base.shape[:2]))
    ordered = np.sort(base[3, 2])[::-1]
    assert ordered[:4] == pytest.approx(0.96 * np.array([0.7, 0.2, 0.1, 0]) + 0.04 / 96)


def test_words_that_were_said_are_rarely_said_again():
    """What follows follows the odds: 3% of the base's for a word that was said."""
    text = Text()
    rows = text.rows(4000, 18, seed=2)
    said, again, expected = 0, 0, 0.0
    for position in range(3, 18, 2):
        for row in rows:
            before = np.zeros(96, bool)
            before[row[1:position:2] - FIRST_WORD] = True
            odds = text.base[row[position - 2] - FIRST_WORD, row[position - 1] - 1] * np.where(before, 0.03, 1)
            expected += odds[before].sum() / odds.sum()
            again += before[row[position] - FIRST_WORD]
            said += 1
    assert again / said == pytest.approx(expected / said, abs=4 * (expected / said / said) ** 0.5)
    assert expected / said < 0.02


def test_the_least_loss_is_that_of_the_odds():
    text = Text()
    row = np.array([[BEGIN, FIRST_WORD, 2, FIRST_WORD + 5, 3, FIRST_WORD]])
    one, two = np.zeros(96, bool), np.zeros(96, bool)
    one[0], two[[0, 5]] = True, True
    first, second = text.base[0, 1] * np.where(one, 0.03, 1), text.base[5, 2] * np.where(two, 0.03, 1)
    expected = -np.log([first[5] / first.sum(), second[0] / second.sum()]).mean()
    assert text.least_loss(row) == pytest.approx(expected)


def test_function_words():
    said = ["<|endoftext|>", " the", "The", " pier", "\n\n", ".", " 9", "\x00", " n't", "[PAD]", " Before", " befo", ""]
    marked = [True, True, True, False, True, True, False, True, True, True, True, False, True]
    assert function_words(said).tolist() == marked
    assert function_words(VOCABULARY).tolist() == [True] * FIRST_WORD + [False] * 96


def test_forms_of_a_word():
    sets = semantic_sets([" pier", " Pier", "pier", " piers", " walk", " walking", " walked", " wall", "."])
    assert sets[0] == [1, 2, 3]
    assert sets[4] == [5, 6]
    assert sets[7] == sets[8] == []
    assert root("ties") != root("tin")


def test_the_nearest_forms_come_first():
    names = ["<x>", " pier", " boat", " Pier", " piers", *[f" w{i}" for i in range(7)]]
    table = related(names, Unembeddings(Parts.of(known()).readout), 3)
    assert table[1].tolist()[0] == 1
    assert set(table[1].tolist()[1:]) == {3, 4}
    assert table[2].tolist() == [2, -1, -1]
    assert torch.equal(table[:, 0], torch.arange(12))
