"""Prompts, their names and positions, and what flips change."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ioi_cases import WORDS
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from hypotheses.ioi.data import ROLES, rows_in_template, rows_of, single_token_names, stacked
from hypotheses.ioi.prompts import ABC, SIGNALS, Flip, Prompt, made, read_prompts, templates
from hypotheses.ioi.text import filled, texts
from hypotheses.ioi.words import BABA, NAMES, OBJECTS, PLACES
from scrubbing import DataError

pytestmark = pytest.mark.usefixtures("unchecked_throughout")

MARY = Prompt("When [1] and [2] went to the store, [3] gave a drink to [4]", ("Mary", "John", "John", "Mary"))


def test_a_prompt_says_who_stands_where():
    assert MARY.text == "When Mary and John went to the store, John gave a drink to Mary"
    assert (MARY.letters, MARY.subject, MARY.object) == ("ABB", "John", "Mary")
    assert {prompt.letters for prompt in made(14, 0)} == {"ABB", "BAB"}
    assert all(prompt.object == prompt.names[3] for prompt in made(50, 1))


def test_words_are_there_once_and_templates_hold_each_place():
    assert len(NAMES) == len(set(NAMES)) >= 100
    assert len(BABA) == 15
    assert len(PLACES) == len(OBJECTS) == 8
    for template in BABA:
        assert template.count("[B]") == template.count("[A]") == 2
        assert template.index("[B]") < template.index("[A]")
        assert template.endswith("to [A]")


# The table of the text, sentence by sentence; random names are any that are new.
EXPECTED = {
    ("original", "original"): ("Mary", "John", "John"),
    ("random", "original"): (None, None, None),
    ("inverted", "original"): ("John", "Mary", "Mary"),
    ("original", "inverted"): ("John", "Mary", "John"),
    ("random", "inverted"): (None, None, None),
    ("inverted", "inverted"): ("Mary", "John", "Mary"),
}


@pytest.mark.parametrize("signal", SIGNALS)
def test_flips_are_those_of_the_text(signal):
    (found,) = Flip(SIGNALS[signal])([MARY], seed=0)
    first, second, third = found.names[:3]
    assert found.names[3] == "Mary"
    if EXPECTED[signal][0] is None:
        assert not {first, second} & {"Mary", "John"}
        assert third == (second if signal[1] == "original" else first)
        assert first != second
    else:
        assert found.names[:3] == EXPECTED[signal]


@given(st.integers(0, 2**32), st.sampled_from([*SIGNALS.values(), ABC]))
def test_flips_follow_their_letters_and_change_nothing_else(seed, rule):
    prompts = made(6, seed % 1000)
    rules = dict(part.split("->") for part in rule.split(", "))
    for old, new in zip(prompts, Flip(rule)(prompts, seed), strict=True):
        assert new.template == old.template
        assert new.names[3] == old.names[3]
        letters = rules[old.letters]
        by_letter = {}
        for letter, name in zip(letters, new.names, strict=False):
            assert by_letter.setdefault(letter, name) == name
        assert len(set(by_letter.values())) == len(by_letter)  # different letters, different names
        known = dict(zip(old.letters, old.names, strict=False))
        for letter, name in by_letter.items():
            assert name == known[letter] if letter in known else name not in old.names


@given(st.integers(0, 1000))
def test_swapping_the_first_two_names_twice_is_nothing(seed):
    prompts, swap = made(5, seed), Flip("ABB->BAB, BAB->ABB")
    assert swap(swap(prompts, 0), 0) == prompts
    assert swap(prompts, 0) != prompts


def test_flips_depend_on_the_seed_and_the_rule():
    prompts = made(20, 0)
    assert Flip(ABC)(prompts, 1) == Flip(ABC)(prompts, 1)
    assert Flip(ABC)(prompts, 1) != Flip(ABC)(prompts, 2)


def test_a_rule_that_is_none_and_a_prompt_without_a_rule_are_refused():
    with pytest.raises(DataError, match="'ABB to BAB' is no flip; write rules such as"):
        Flip("ABB to BAB")([MARY], 0)
    with pytest.raises(DataError, match="has no rule for ABB, of which the prompt 'When Mary"):
        Flip("BAB->ABB")([MARY], 0)
    with pytest.raises(DataError, match="takes 3 names beside Mary, John; give more names"):
        Flip(ABC)([MARY], 0, names=("Mary", "John", "Tom"))


def test_rows_know_where_names_stand():
    rows = rows_of([MARY, *made(10, 3)], WORDS)
    for row, prompt in enumerate(rows.prompts):
        words = [WORDS.id_to_token(token) for token in rows.tokens[row].tolist()]
        at = {role: words[of[row]] for role, of in rows.roles.items()}
        assert (at["IO"], at["S1"], at["S2"], at["END"]) == (prompt.object, prompt.subject, prompt.subject, "to")
        assert rows.roles["S1_next"][row] == rows.roles["S1"][row] + 1
        assert rows.roles["S1"][row] < rows.roles["S2"][row] < rows.roles["END"][row]
        assert words[rows.roles["END"][row] + 1] == prompt.object
        assert (WORDS.id_to_token(int(rows.io[row])), WORDS.id_to_token(int(rows.s[row]))) == (
            prompt.object,
            prompt.subject,
        )
    columns = rows.columns
    assert columns["labels"][torch.arange(11), columns["END"]].equal(rows.io)
    assert columns["weights"].sum(1).tolist() == [1.0] * 11


def test_flips_keep_positions_answers_and_lengths():
    rows = rows_of(made(28, 0), WORDS)
    for rule in (*SIGNALS.values(), ABC):
        flipped = rows.flipped(rule, WORDS, seed=0)
        assert flipped.tokens.shape == rows.tokens.shape
        assert flipped.lengths.equal(rows.lengths)
        assert all(flipped.roles[role].equal(rows.roles[role]) for role in ROLES)
        assert flipped.io.equal(rows.io)
        changed = (flipped.tokens != rows.tokens).nonzero()
        places = torch.stack([rows.roles[role] for role in ("IO", "S1", "S2")], dim=1)
        assert all(place in places[row] for row, place in changed)
    both = stacked([rows, rows.flipped(ABC, WORDS, seed=0)])
    assert both["io"].tolist() == rows.io.tolist() * 2


def test_templates_come_in_turn_and_ABBA_is_one_of_its_own():
    rows = rows_of(made(28, 0), WORDS)
    assert rows_in_template(rows).tolist() == [2] * 14
    assert len(templates(30)) == 30
    assert len(set(templates(30))) == 30


def test_prompts_are_read_from_a_file(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(prompt.text for prompt in made(9, 5)) + "\n\n")
    found = read_prompts(path)
    assert [prompt.text for prompt in found] == [prompt.text for prompt in made(9, 5)]
    assert [prompt.letters for prompt in found] == [prompt.letters for prompt in made(9, 5)]


BAD = {
    "Mary and John went to the store": "line 1: 'Mary and John went to the store' names 2 of the",
    "When Mary and John went home, John gave a drink to Zebedee": "the last word is 'Zebedee', which is none of them",
    "When Mary and John went home, Tom gave a drink to Mary": "stand as ABC .A is the answer.; in a prompt of the task",
    "When Mary and John went home, Mary gave a drink to Mary": "stand as ABA",
}


@pytest.mark.parametrize("line", BAD)
def test_lines_that_are_no_prompts_are_refused(line, tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=BAD[line]):
        read_prompts(path)


def test_files_without_prompts_are_refused(tmp_path):
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="holds no prompts"):
        read_prompts(tmp_path / "empty")
    with pytest.raises(DataError, match="cannot be read as text"):
        read_prompts(tmp_path / "binary")
    with pytest.raises(DataError, match="cannot be read as text"):
        read_prompts(tmp_path / "none")


# -- tokenizers


def bytes_and(*whole: str) -> Tokenizer:
    """A tokenizer as GPT-2's, in which all but these words are spelt."""
    vocabulary = {c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}
    merges = []
    for word in whole:
        made_of = f"Ġ{word}"
        for end in range(2, len(made_of) + 1):
            if made_of[:end] not in vocabulary:
                vocabulary[made_of[:end]] = len(vocabulary)
                merges.append((made_of[: end - 1], made_of[end - 1]))
    made_ = Tokenizer(BPE(vocabulary, merges))
    made_.pre_tokenizer = ByteLevel(add_prefix_space=False)
    made_.decoder = ByteLevelDecoder()
    return made_


def test_names_of_several_tokens_are_said():
    words = bytes_and("Mary", "John", "Tom")
    usable, several = single_token_names(words, ("Mary", "John", "Tom", "Zoe"))
    assert (usable, several) == (["Mary", "John", "Tom"], ["Zoe"])
    rows = rows_of([MARY], words)
    assert words.decode(rows.tokens[0].tolist()) == MARY.text
    assert words.decode([int(rows.io[0])]) == " Mary"
    with pytest.raises(DataError, match=r"the name 'Zoe' in 'When Zoe .* is 3 tokens of this tokenizer; names must be"):
        rows_of([Prompt(MARY.template, ("Zoe", "John", "John", "Zoe"))], words)


def test_prompts_of_one_template_must_align():
    words = bytes_and("Mary", "John", "store")
    longer = Prompt(MARY.template.replace("store", "library"), MARY.names)
    with pytest.raises(DataError, match="their positions must align, since means are taken by template"):
        rows_of([MARY, longer], words)
    with pytest.raises(DataError, match="positions must align, so use names of one token each"):
        rows_of([MARY], words).with_names_of([longer], words)


def test_prompts_longer_than_the_context_are_refused():
    with pytest.raises(DataError, match="is of 15 tokens, but the model's context is 9; leave it out"):
        rows_of([MARY], WORDS, n_ctx=9)


def test_words_without_a_token_are_refused():
    with pytest.raises(DataError, match="no token for some word of 'When Mary and John went to the zoo"):
        rows_of([Prompt(MARY.template.replace("store", "zoo"), MARY.names)], WORDS)


def test_numbers_of_prompts_and_templates_are_checked():
    with pytest.raises(DataError, match="0 prompts were asked for"):
        made(0, 0)
    with pytest.raises(DataError, match="there are 2 that can be used"):
        made(3, 0, names=("Mary", "John"))
    with pytest.raises(DataError, match="templates from 2 to 30"):
        templates(31)


# -- the text that the network learnt from


def test_texts_have_tokens_and_the_kinds_that_are_said():
    found = texts(300, [0])
    assert found == texts(300, [0])
    assert found != texts(300, [1])
    assert all(WORDS.encode(text).ids for text in found)
    assert any("the latter" in text for text in found)
    assert any(text.startswith("The guests") for text in found)
    draw = np.random.default_rng(0)
    assert filled("[A] at the [PLACE]", {"A": "Tom"}, draw).startswith("Tom at the ")
