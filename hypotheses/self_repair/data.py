"""Rows of text as tokens, from a file of rows or from a corpus; and prompts of indirect objects."""

from pathlib import Path

from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor

from hypotheses.corpus import read_corpus, tokenizer_file
from hypotheses.ioi.data import rows_of
from hypotheses.ioi.prompts import made
from hypotheses.shipped import read_tokenizer
from scrubbing.errors import DataError
from scrubbing.lens import TransformerConfig

CONTEXT = 128  # of a corpus, where the model's is longer
FEWEST = 2  # rows: to resample is to take another

MADE = 4  # times as many prompts as are wanted: those of one length are taken

Rows = Int[Tensor, "row position_plus_1"]


def read_tokens(path: Path, config: TransformerConfig, folder: Path) -> Rows:
    """Rows of tokens `[row, position + 1]`: the array `tokens` of an .npz file, or a text cut into rows.

    A text is made into tokens by the tokenizer.json in the model's folder, and cut into rows of the model's context, or
    of 128 tokens if that is shorter.

    Raises `DataError` for a file that is damaged, of other tokens, or too short.
    """

    def tokenizer() -> Tokenizer:
        named = tokenizer_file(folder)
        if not named.is_file():
            raise DataError(f"{path} is text, and there is no {named} to make tokens of it; give an .npz file")
        return read_tokenizer(named)

    return read_corpus(path, config, tokenizer, longest=CONTEXT, fewest=FEWEST).tokens


def prompts(tokenizer: Tokenizer, most: int) -> Rows:
    """Prompts of indirect objects with their answers, all of the commonest length: rows hold no padding."""
    rows = rows_of(made(MADE * most, 0), tokenizer)
    length = rows.lengths.mode().values
    return rows.tokens[rows.lengths == length][:most, :length]
