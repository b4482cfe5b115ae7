"""The typicality classifier on the bytes of a byte-level BPE that is trained here, and the ranking of tokens."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from hypotheses.induction.typicality import (
    PROSE,
    SOURCE_CODE,
    Typicality,
    atypical,
    deviation_by_token,
    token_bytes,
)
from scrubbing.errors import DataError

# Dashes, dots and curly quotes share their first two bytes: together these are commoner than any one mark is.
MARKS = " ".join(chr(code) for code in range(0x2010, 0x2028))
PROSE_TEXT = "I went to a shop. It is an old one. He had to go to a place. We have seen an end. " * 4 + MARKS
CODE_TEXT = "def f(self, x_y):\n    return self.a.b(x_y, self.c)\n"


def byte_level_bpe(text, d_vocab):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=d_vocab, special_tokens=["<|begin|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([text * 20], trainer)
    return tokenizer


@pytest.fixture(scope="module")
def in_pieces():
    """A tokenizer that splits a curly quote into two tokens: its first two bytes, which a dash shares, and its last."""
    return byte_level_bpe(PROSE_TEXT, 310)


def tokens_of(tokenizer, text):
    return np.array([tokenizer.encode(text).ids])


def words(tokenizer, text):
    of_token = token_bytes(tokenizer, 10**6)
    return [of_token[token] for token in tokens_of(tokenizer, text)[0]]


def after(tokenizer, text, rule):
    """The tokens at the atypical positions, as bytes."""
    flags = atypical(tokens_of(tokenizer, text), tokenizer, rule)[0]
    return [word for word, flag in zip(words(tokenizer, text), flags, strict=True) if flag]


def test_bytes_of_tokens_make_up_the_text(in_pieces):
    text = "It\u2019s an odd na\u00efve \u20ac5 t\u0259st \U0001f600\n\tof  a BPE."
    assert b"".join(words(in_pieces, text)) == text.encode()


def test_every_byte_and_every_name_is_known(in_pieces):
    of_token = token_bytes(in_pieces, 10**6)
    assert {bytes([byte]) for byte in range(256)} <= set(of_token)
    assert of_token[in_pieces.token_to_id("<|begin|>")] == b"<|begin|>"
    assert len(of_token) == in_pieces.get_vocab_size()


def test_the_word_that_follows_a_is_atypical(in_pieces):
    assert words(in_pieces, " a shop") == [b" a", b" shop"]
    assert after(in_pieces, " a shop", PROSE) == [b" shop"]
    assert after(in_pieces, " an old", PROSE) == [b" old"]
    assert after(in_pieces, " the old", Typicality(previous=PROSE.previous)) == []


def test_full_stop_and_to_are_atypical_themselves(in_pieces):
    assert after(in_pieces, "had to go.", PROSE) == [b" to", b"."]


def test_what_follows_a_byte_of_a_split_curly_quote_is_atypical(in_pieces):
    assert words(in_pieces, "We\u2019ve") == [b"We", b"\xe2\x80", b"\x99", b"ve"]
    for quote in "\u2018\u2019\u201c\u201d":
        flags = atypical(tokens_of(in_pieces, f"We{quote}ve ve"), in_pieces, PROSE)[0]
        assert flags.tolist()[:4] == [False, False, True, True]
        assert not flags[4:].any()


def test_a_curly_quote_in_three_tokens_is_found_too():
    single_bytes = byte_level_bpe("abc", 257)
    flags = atypical(tokens_of(single_bytes, "b\u201cc"), single_bytes, PROSE)[0]
    assert flags.tolist() == [False, False, True, True, True]


def test_a_curly_quote_that_is_one_token_is_typical():
    whole = byte_level_bpe("x\u201cy z\u201cw " * 20, 400)
    assert "\u201c".encode() in words(whole, "b\u201cc")
    assert after(whole, "b\u201cc", PROSE) == []


def test_bytes_shared_with_other_characters_are_typical(in_pieces):
    assert words(in_pieces, "We\u2014ve")[1] == b"\xe2\x80"
    assert after(in_pieces, "We\u2014ve", PROSE) == []


def test_a_token_that_holds_more_than_its_piece_counts(in_pieces):
    assert words(in_pieces, " \u201cve") == [b" \xe2\x80", b"\x9c", b"ve"]
    assert after(in_pieces, " \u201cve", PROSE) == [b"\x9c", b"ve"]


def test_the_first_position_has_no_previous_token(in_pieces):
    a, to, shop = (in_pieces.token_to_id(f"\u0120{word}") for word in ("a", "to", "shop"))
    rows = np.array([[a, shop], [shop, a], [to, shop]], dtype=np.uint16)
    assert atypical(rows, in_pieces, PROSE).tolist() == [[False, True], [False, False], [True, False]]


def test_source_code_has_a_rule_of_its_own():
    code = byte_level_bpe(CODE_TEXT, 300)
    assert after(code, "self.a", SOURCE_CODE)[0] == b"."
    assert after(code, "return self", SOURCE_CODE) == []


def test_an_empty_rule_calls_everything_typical(in_pieces):
    assert after(in_pieces, PROSE_TEXT, Typicality()) == []


def test_rules_are_values():
    assert Typicality(current=frozenset({b"."})) == Typicality(current=frozenset({b"."})) != PROSE
    assert len({PROSE, SOURCE_CODE, PROSE}) == 2


@pytest.mark.parametrize("listed", [" a", b""])
@pytest.mark.usefixtures("unchecked")
def test_a_rule_lists_bytes(listed):
    with pytest.raises(
        DataError, match=rf"previous lists b?{listed!r}; list bytes, for example b' a'".replace("bb", "b")
    ):
        Typicality(previous=frozenset({listed}))


def test_a_tokenizer_of_another_kind_is_an_error():
    words = Tokenizer(models.WordLevel({"a": 0, "\u2581the": 1}, unk_token="a"))
    with pytest.raises(DataError, match="token 1 of the tokenizer is '\u2581the', and '\u2581' stands for no byte"):
        atypical(np.array([[0, 1]]), words, PROSE)


@pytest.mark.parametrize("token", [-1, 9999])
def test_a_token_that_the_tokenizer_does_not_have_is_an_error(in_pieces, token):
    with pytest.raises(DataError, match=f"token {token} is none of the tokenizer's 3"):
        atypical(np.array([[0, token]]), in_pieces, PROSE)


def attention_that_skips(token, tokens):
    """A head that pays .9 to the previous position, and .1 where the previous token is `token`."""
    attention = torch.full(tokens.shape, 0.9, dtype=torch.float64)
    attention[:, 1:][tokens[:, :-1] == token] = 0.1
    attention[:, 0] = 55.0  # nothing stands before position 0: whatever is there is ignored
    return attention


def test_the_token_that_explains_the_deviations_comes_first():
    tokens = torch.randint(0, 8, (40, 50), generator=torch.Generator().manual_seed(0))
    best, second, *_ = deviation_by_token(attention_that_skips(3, tokens), tokens)
    assert (best.token, best.role) == (3, "previous")
    assert best.mean == pytest.approx(0.1)
    share = (tokens[:, :-1] == 3).double().mean().item()
    assert best.occurrences == (tokens[:, :-1] == 3).sum()
    assert best.deviation == pytest.approx(-0.8 * (1 - share))
    assert best.explained == pytest.approx(1 - share)  # a two-valued attention: the rest lies among the others
    assert second.explained < 0.1 * best.explained


def test_rare_tokens_are_left_out():
    tokens = torch.tensor([[0, 1, 1, 1, 2]])
    found = deviation_by_token(attention_that_skips(1, tokens), tokens, least=2)
    assert {(entry.role, entry.token) for entry in found} == {("current", 1), ("previous", 1)}


def test_a_head_that_never_varies_leaves_nothing_to_explain():
    tokens = torch.randint(0, 3, (4, 50), generator=torch.Generator().manual_seed(0))
    assert all(entry.explained == 0 for entry in deviation_by_token(torch.full((4, 50), 0.5), tokens))


@pytest.mark.usefixtures("unchecked")
def test_attention_of_another_shape_is_an_error():
    with pytest.raises(DataError, match=r"attention of shape \[4, 49\] and tokens of shape \[4, 50\]"):
        deviation_by_token(torch.zeros(4, 49), torch.zeros(4, 50, dtype=torch.long))
    with pytest.raises(DataError, match="rows of one token have no previous position"):
        deviation_by_token(torch.zeros(4, 1), torch.zeros(4, 1, dtype=torch.long))


@pytest.mark.parametrize("number", [10**9, 2**32 - 1])
def test_a_number_far_beyond_those_in_use_costs_nothing(number):
    vocabulary = {"a": 0, "b": 1, "far": number}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    assert token_bytes(tokenizer, 2) == [b"a", b"b"]
    with pytest.raises(DataError, match="token 5 is none of the tokenizer's"):
        atypical(np.array([[0, 5]]), Tokenizer(models.BPE(vocab={"a": 0}, merges=[])), PROSE)
