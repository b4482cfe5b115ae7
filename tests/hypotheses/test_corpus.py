"""What studies share: rows of a text, tokenizers by name, heads as people write them, and how much a job takes on."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from hypotheses import corpus
from hypotheses.affordable import affordable, operations_of_row
from hypotheses.corpus import read_corpus, tokenizer_file
from hypotheses.heads import Head, read_head, read_roles
from hypotheses.induction.places import SHIPPED
from hypotheses.ioi.roles import Roles
from hypotheses.shipped import beside, said_of
from scrubbing import DataError, HypothesisError, ModelError
from scrubbing.lens import TransformerConfig, load_transformer

CONFIG = TransformerConfig(n_layers=2, n_heads=2, d_model=4, d_head=2, d_vocab=5, n_ctx=3)


def words(begin: str | None = None) -> Tokenizer:
    names = {name: number for number, name in enumerate(filter(None, (begin, "a", "b", "c")))}
    made = Tokenizer(models.WordLevel(names, "a"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    return made


def read(path, text, begin=None, **options):
    path.write_text(text)
    return read_corpus(path, CONFIG, lambda: words(begin), **options)


def test_a_text_is_cut_into_rows_of_the_context_behind_what_begins_it(tmp_path):
    rows = read(tmp_path / "text.txt", "a b c a b c a b", begin="<s>")
    assert rows.tokens.tolist() == [[0, 1, 2, 3], [0, 1, 2, 3]]
    assert rows.weights.tolist() == [[0, 1, 1]] * 2
    assert read(tmp_path / "text.py", "a b c a b c a b").tokens.tolist() == [[0, 1, 2, 0], [1, 2, 0, 1]]
    assert read(tmp_path / "text.py", "a b c a b c", longest=2).tokens.shape == (2, 3)


def test_texts_and_rows_that_do_not_do_are_refused(tmp_path):
    with pytest.raises(DataError, match="has 3 tokens, and the study takes at least 4: 1 row of the context of 3"):
        read(tmp_path / "text.txt", "a b c")
    with pytest.raises(DataError, match="takes at least 8: 2 rows of the context of 3"):
        read(tmp_path / "text.txt", "a b c a", fewest=2)
    np.savez(tmp_path / "rows.npz", tokens=np.zeros((1, 4), int))
    with pytest.raises(DataError, match=r"rows.npz holds 1 of the 2 rows that the study takes"):
        read_corpus(tmp_path / "rows.npz", CONFIG, words, fewest=2)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"is neither an .npz file nor text in UTF-8"):
        read_corpus(tmp_path / "binary.txt", CONFIG, words)
    (tmp_path / "other.txt").write_text("a b z a")
    with pytest.raises(DataError, match="the tokenizer has no token for some word of 'a b z a'"):
        read_corpus(tmp_path / "other.txt", CONFIG, lambda: Tokenizer(models.WordLevel({"a": 0}, "?")))
    with pytest.raises(DataError, match="there is no data file"):
        read_corpus(tmp_path / "none.txt", CONFIG, words)
    small = CONFIG.model_copy(update={"d_vocab": 2})
    (tmp_path / "text.txt").write_text("a b c a")
    with pytest.raises(DataError, match=r"text.txt: .*token 2"):
        read_corpus(tmp_path / "text.txt", small, words)


def test_tokenizers_of_names_come_from_the_hub(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(corpus, "hub_folder", lambda name, files: asked.append((name, files)) or tmp_path)
    assert tokenizer_file(Path("some/model")) == tmp_path / "tokenizer.json"
    assert asked == [("some/model", ("tokenizer.json",))]
    assert tokenizer_file(tmp_path) == tmp_path / "tokenizer.json"


@pytest.mark.parametrize(("given", "head"), [("1.0", (1, 0)), (" 0,1 ", (0, 1))])
def test_heads_are_written_as_layer_and_number(given: str, head: Head):
    assert read_head(given, CONFIG) == head


@pytest.mark.parametrize("given", ["1", "a1_h0", "-1.0", "1.0.0", "1.99999"])
def test_other_words_are_no_head(given):
    with pytest.raises(HypothesisError, match="names no head; write its layer and number"):
        read_head(given, CONFIG)


@pytest.mark.parametrize("given", ["2.0", "0.2"])
def test_heads_that_are_not_there_are_refused(given):
    with pytest.raises(ModelError, match=r"there is no head .*: the model has layers 0 to 1 with heads 0 to 1; name"):
        read_head(given, CONFIG)


def test_files_of_roles_say_what_is_wrong(tmp_path):
    path = tmp_path / "roles.json"
    path.write_text(json.dumps({"name_mover": [[1, "0"]]}))
    with pytest.raises(ModelError, match=r"name_mover.0.1: .*; for example LIKE THIS"):
        read_roles(path, Roles, "LIKE THIS")
    path.write_text("{")
    with pytest.raises(ModelError, match="cannot be read as JSON"):
        read_roles(path, Roles, "LIKE THIS")


def test_what_is_said_of_files(tmp_path):
    said = said_of(SHIPPED, SHIPPED / "data.npz", SHIPPED)
    assert said["model"].startswith("the shipped model.safetensors (")
    assert said["data"].startswith("the shipped data.npz (")
    assert set(said["hashes"]) == {"model", "data"}
    assert all(len(found) == 64 for found in said["hashes"].values())
    assert said_of(Path("gpt2"), None) == {"model": "gpt2", "data": "", "hashes": {}}
    assert beside(SHIPPED, ("none.npz", "data.npz"), None, "it") == SHIPPED / "data.npz"
    with pytest.raises(DataError, match=r"holds no a.npz and no b.npz; name a file, with --data FILE"):
        beside(tmp_path, ("a.npz", "b.npz"), None, "a file")


def test_a_case_is_a_hypothesis_and_no_table():
    from hypotheses import ioi

    with pytest.raises(HypothesisError, match=r"'signals' is a table and no hypothesis; there are .*full circuit"):
        ioi.case("signals")


def test_what_a_run_takes_is_counted():
    config = load_transformer(SHIPPED).config
    weights = 2 * 4 * 256 * 256 + 256 * 4096
    assert operations_of_row(config, 10) == 2 * 10 * (weights + 2 * 2 * 10 * 256)
    assert affordable(1e12, 7) == 7
    assert affordable(10**30, 7, fewest=2) == 2
