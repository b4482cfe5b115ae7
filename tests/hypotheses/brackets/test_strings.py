"""Strings: random ones are what they say, and files that hold anything else are refused in words."""

import gzip
from itertools import product
from math import comb

import numpy as np
import pytest

from hypotheses.brackets.strings import balanced, random_strings, read_strings, tokens_of
from scrubbing import DataError


def cancels(string: str) -> bool:
    while "()" in string:
        string = string.replace("()", "")
    return not string


def test_balanced_is_what_cancels():
    every = ["".join(s) for n in range(1, 11) for s in product("()", repeat=n)]
    assert [balanced(s) for s in every] == [cancels(s) for s in every]
    assert sum(balanced(s) for s in every if len(s) == 10) == comb(10, 5) // 6  # a Catalan number


def test_random_strings_are_as_described():
    strings = random_strings(20_000, seed=0)
    lengths = np.array([len(s) for s in strings])
    assert set(lengths) == set(range(2, 41, 2))
    assert np.abs(np.bincount(lengths // 2)[1:] - 1000).max() < 5 * 1000**0.5
    assert abs(np.mean([balanced(s) for s in strings]) - 0.264) < 0.015
    assert {c for s in strings for c in s} == {"(", ")"}


def test_balanced_strings_of_a_length_are_equally_common():
    found = [s for s in random_strings(200_000, seed=1) if len(s) == 6 and balanced(s)]
    counts = np.array([found.count(s) for s in sorted(set(found))])
    assert len(counts) == 5
    # Exchanged brackets that leave a string balanced are few, and favour none of them much.
    assert counts.max() / counts.min() < 1.3


def test_a_seed_gives_the_same_strings():
    assert random_strings(50, [3, 4]) == random_strings(50, [3, 4]) != random_strings(50, [3, 5])


def test_a_file_is_read_packed_or_not(tmp_path):
    text = "()\n(()\n))\n"
    (tmp_path / "plain.txt").write_text(text)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "windows.txt").write_bytes(text.replace("\n", "\r\n").encode())
    for name in ("plain.txt", "packed.gz", "windows.txt"):
        assert read_strings(tmp_path / name, 42) == ["()", "(()", "))"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"()\n(x)\n", r"line 2 of .* holds 'x'; a string is made of \( and \) alone"),
        (b"()\n\n()\n", "line 2 of .* is empty"),
        (b"", "is empty; it must hold strings of brackets"),
        (b"(" * 41, "line 1 of .* has 41 brackets; with a start and an end the model's context of 42 holds 40"),
        ("(é)".encode(), "is damaged or no text of brackets"),
        (gzip.compress(b"()\n" * 99, mtime=0)[:-9], "is damaged or no text of brackets"),
    ],
)
def test_other_files_are_refused(content, said, tmp_path):
    (tmp_path / "strings.txt").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_strings(tmp_path / "strings.txt", 42)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="there is no file of strings"):
        read_strings(tmp_path / "none.txt", 42)


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("hypotheses.brackets.strings.LARGEST", 100)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"()" * 1000))
    with pytest.raises(DataError, match="unpacks to more than"):
        read_strings(tmp_path / "bomb.gz", 42)


def test_tokens_stand_between_start_and_end():
    assert tokens_of(["())", "("]).tolist() == [[0, 3, 4, 4, 2], [0, 3, 2, 1, 1]]
