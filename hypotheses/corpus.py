"""Rows of tokens that a study runs on: those of a file of arrays, or a text that a tokenizer cuts into rows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from hypotheses.induction.data import Rows, read_rows
from hypotheses.shipped import encoded
from scrubbing.errors import DataError
from scrubbing.graph.reading import in_short, read_file
from scrubbing.lens import TransformerConfig
from scrubbing.lens.hub import hub_folder, is_hub_name
from scrubbing.lens.language_data import check_whole_numbers

BEGINNINGS = (
    "<|begin|>",
    "<begin>",
    "<|BOS|>",
    "<bos>",
    "<s>",
    "<|begin_of_text|>",
    "[BOS]",
    "[CLS]",
    "<|endoftext|>",
)  # tokens that stand before a text: the first that a tokenizer has
ARRAYS = (".npz", ".pt")
TOKENIZER = "tokenizer.json"
ROWS_FILE = "data.npz"  # beside a model


def tokenizer_file(model: Path) -> Path:
    """The tokenizer.json of a model folder, or that of a model on the hub; it may not be there.

    Raises `ModelError` for a name that the hub does not have.
    """
    return (hub_folder(str(model), files=(TOKENIZER,)) if is_hub_name(str(model)) else model) / TOKENIZER


def beginning(tokenizer: Tokenizer) -> int | None:
    """The token that stands before a text, if the tokenizer has one."""
    return next((token for token in map(tokenizer.token_to_id, BEGINNINGS) if token is not None), None)


def read_corpus(
    path: Path,
    config: TransformerConfig,
    tokenizer: Callable[[], Tokenizer],
    *,
    begin: Callable[[Tokenizer], int | None] = beginning,
    longest: int | None = None,
    fewest: int = 1,
    dtype: torch.dtype = torch.float32,
) -> Rows:
    """An .npz file with `tokens`, as the induction suite reads it; any other file is a text.

    A text is cut into rows of the model's context, or of `longest` tokens if that is shorter; each begins with the
    tokenizer's token for the beginning of a text, if it has one. All positions count but a row's first.

    Raises `DataError` for a file that is missing, damaged or of other tokens, and for fewer than `fewest` rows.
    """
    if path.suffix in ARRAYS:
        rows = read_rows(path, config, dtype)
        if len(rows.tokens) < fewest:
            raise DataError(f"{path} holds {len(rows.tokens)} of the {fewest} rows that the study takes; give more")
        return rows
    try:
        text = read_file(path).decode()
    except FileNotFoundError:
        raise DataError(f"there is no data file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is neither an .npz file nor text in UTF-8 ({in_short(error)})") from None
    words = tokenizer()
    first = begin(words)
    tokens = encoded(words, text).ids
    cut = _cut(tokens, min(config.n_ctx, longest or config.n_ctx), first, str(path), fewest)
    try:
        cut = check_whole_numbers("tokens", cut, min(config.d_vocab, config.out_vocab), "token")
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    weights = torch.ones(cut.shape[0], cut.shape[1] - 1, dtype=dtype)
    weights[:, 0] = 0
    return Rows(torch.from_numpy(cut), weights, None, None, None, "all positions but the first")


def _cut(tokens: list[int], context: int, begin: int | None, source: str, fewest: int = 1) -> np.ndarray:
    """Rows `[row, position + 1]` that do not overlap, each after the token that begins it.

    >>> _cut([5, 6, 7, 8, 9], 2, 0, "a text").tolist()
    [[0, 5, 6], [0, 7, 8]]
    """
    length = context + 1 - (begin is not None)
    rows = np.array(tokens[: len(tokens) // length * length], dtype=np.int64).reshape(-1, length)
    if len(rows) < fewest:
        raise DataError(
            f"{source} has {len(tokens)} tokens, and the study takes at least {fewest * length}: {fewest} "
            f"{'row' if fewest == 1 else 'rows'} of the context of {context}; give a longer text, or an .npz file of "
            f"tokens with shorter rows"
        )
    return rows if begin is None else np.insert(rows, 0, begin, axis=1)
