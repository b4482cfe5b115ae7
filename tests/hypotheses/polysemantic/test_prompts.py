"""The families of prompts: their counts and the roles of their tokens are the text's; whoever has others gives them."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from hypotheses.polysemantic.places import tokenizer_file
from hypotheses.polysemantic.prompts import (
    ATTENDED,
    CURRENT,
    Template,
    bigger,
    family,
    induction,
    previous,
    templates,
)
from hypotheses.polysemantic.tokens import Kinds, Vocabulary, shown, written
from scrubbing import DataError


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary.read(tokenizer_file(None, None))


@pytest.fixture(scope="module")
def families(vocabulary):
    return {name: family(name, template, vocabulary) for name, template in templates(vocabulary).items()}


def texts(vocabulary, tokens):
    return [vocabulary.texts[token] for token in tokens]


def test_counts_are_the_texts(families):
    assert {name: len(each.tokens) for name, each in families.items()} == {
        "induction": 120,
        "bigger indentation": 50,
        "previous": 50,
    }
    for each in families.values():
        assert each.roles[CURRENT] == each.tokens.shape[1] - 1
        assert (each.tokens[:, 0] == each.vocabulary.begin).all()
        assert len({tuple(row) for row in each.tokens.tolist()}) > 0.9 * len(each.tokens)


def test_in_induction_what_is_attended_to_follows_an_earlier_copy_of_the_current_token(families):
    each = families["induction"]
    attended, current = each.roles[ATTENDED], each.roles[CURRENT]
    assert (each.tokens[:, attended - 1] == each.tokens[:, current]).all()
    assert (each.tokens[:, attended] == each.answers).all()
    assert len(set(each.answers.tolist())) == 3  # pairs of what is attended to and the answer
    assert len(set(each.tokens[:, current].tolist())) == 2  # indents


def test_in_bigger_indentation_an_indent_attends_to_a_bigger_one(families):
    each = families["bigger indentation"]
    indents = each.vocabulary.kinds.indent[each.tokens]
    assert (indents[:, each.roles[ATTENDED]] > indents[:, each.roles[CURRENT]]).all()
    assert (indents[:, each.roles[CURRENT]] > 0).all()


def test_in_previous_an_open_bracket_attends_to_the_token_before_and_the_class_comes_again(families, vocabulary):
    each = families["previous"]
    assert each.roles[ATTENDED] == each.roles[CURRENT] - 1
    row, answer = texts(vocabulary, each.tokens[0]), vocabulary.texts[each.answers[0]]
    assert row[-2:] == [" super", "("]
    assert row[2] == f" {answer}"
    assert row[1] == "class"


def test_a_seed_draws_other_words(vocabulary):
    first, same, other = (family("previous", previous(), vocabulary, seed=seed).tokens.tolist() for seed in (0, 0, 1))
    assert first == same != other


def test_templates_are_anybodys(vocabulary):
    own = Template(
        ("say ", "{a}", (" and", ATTENDED), (" {b}", CURRENT)), "{a}", {"a": ("name", "value"), "b": ("key",)}, 6
    )
    with pytest.raises(DataError, match="do not stay apart"):  # a space that belongs to the next token
        family("own", own, vocabulary)
    own = Template(
        ("say", " {a}", (" and", ATTENDED), (" {b}", CURRENT)), "{a}", {"a": ("name", "value"), "b": ("key",)}, 6
    )
    made = family("own", own, vocabulary)
    assert made.tokens.shape[0] == 6
    assert set(texts(vocabulary, made.answers)) <= {"name", "value"}
    pairs = induction({" return": " {x}", " yield": " {y}"}, indents=("\n   ",), prompts=10)
    assert set(texts(vocabulary, family("pairs", pairs, vocabulary).answers)) == {" return", " yield"}
    assert family("lines", bigger(outer="\n   "), vocabulary).example[-1] == "⏎[·x3]"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (
            Template(("a", (" {x}", CURRENT)), "b", {"x": ("name", "supercalifragilistic")}),
            "'supercalifragilistic' in slot 'x'",
        ),
        (Template(("a", (" b c", CURRENT)), "b", {}), "is 2 tokens of this tokenizer"),
        (Template(("a", " b"), "b", {}), "must have the role 'current'"),
        (Template(("a", (" b", CURRENT)), "supercalifragilistic", {}), "the answer of 'own', is not one token"),
        (Template(("{x}", (" b", CURRENT)), "b", {}, 2, ({"x": "a"}, {"x": "a, a"})), "have 3 and 5 tokens"),
        (Template(("a {x} {y}", (" b", CURRENT)), "b", {"x": ("key",), "y": ("key",)}), "has no word left"),
    ],
)
def test_what_does_not_align_is_refused(vocabulary, template, said):
    with pytest.raises(DataError, match=said):
        family("own", template, vocabulary)


def test_a_tokenizer_that_joins_an_empty_line_to_no_indent_gets_prompts_without_it():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {token: i for i, token in enumerate(["<s>", *alphabet])}
    bytes_alone = Tokenizer(models.BPE(vocab=words, merges=[]))
    bytes_alone.pre_tokenizer, bytes_alone.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    bytes_alone.add_special_tokens(["<s>"])
    found = Vocabulary.of(bytes_alone)
    assert found.begin == 0
    assert templates(found)["bigger indentation"].parts[-1] == ("\n   ", CURRENT)
    with pytest.raises(DataError, match="has no word left"):
        family("previous", previous(), found)


def test_tokens_are_written_as_they_are_shown(vocabulary):
    for token in ("\n", "\n   ", "\n\n       ", " R", "width"):
        assert written(shown(token)) == token
    indent = vocabulary.kinds.indent
    assert indent[vocabulary.single("\n       ")] == 7
    assert indent[vocabulary.single("width")] == -1
    assert vocabulary.kinds.special.nonzero().tolist() == [[0], [1]]
    assert Kinds.of(["<s>", "a"], [0]).to_size(4).indent.tolist() == [-1, -1, -1, -1]
    with pytest.raises(DataError, match="has 2 tokens, and the model 1"):
        Kinds.of(["<s>", "a"], [0]).to_size(1)
