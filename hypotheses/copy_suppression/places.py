"""The files of a model, its tokenizer and its text."""

from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from hypotheses.corpus import TOKENIZER, read_corpus, tokenizer_file
from hypotheses.shipped import encoded, read_tokenizer
from scrubbing.errors import DataError
from scrubbing.lens import TransformerConfig

SHIPPED = Path(__file__).parent / "model"
ROWS = "rows.npz"


@dataclass(frozen=True)
class Vocabulary:
    """What the tokens of a model say; nothing where the model came without a tokenizer."""

    texts: tuple[str, ...]
    tokenizer: Tokenizer | None

    def single(self, text: str) -> int | None:
        """The token that a text is, or None where it is several or none."""
        if self.tokenizer is None:
            return None
        try:
            ids = encoded(self.tokenizer, text).ids
        except DataError:
            return None
        return ids[0] if len(ids) == 1 and self.texts[ids[0]] == text else None  # none for what is unknown


def read_vocabulary(model: Path, d_vocab: int) -> Vocabulary:
    """The tokenizer beside a model, or that of its name on the hub.

    Raises `DataError` for one that is damaged, and `ModelError` where the hub does not have the name.
    """
    path = tokenizer_file(model)
    if not path.is_file():
        return Vocabulary((), None)
    tokenizer = read_tokenizer(path, mend="copy it again or remove it")
    known = min(tokenizer.get_vocab_size(), d_vocab)
    texts = [tokenizer.decode([token], skip_special_tokens=False) for token in range(known)]
    return Vocabulary((*texts, *[""] * (d_vocab - known)), tokenizer)


def read_columns(
    path: Path, vocabulary: Vocabulary, config: TransformerConfig, dtype: torch.dtype
) -> tuple[dict[str, Tensor], str]:
    """The columns of an .npz file's `tokens`, or of a text cut into rows of the model's context; what is evaluated.

    All positions count but the first, which sees nothing but itself, if the file says nothing else.

    Raises `DataError` for what is damaged or does not fit the model, and for a text that does not fill one row.
    """

    def tokenizer() -> Tokenizer:
        if vocabulary.tokenizer is None:
            raise DataError(f"{path} is a text, and the model has no {TOKENIZER}; give an .npz file of tokens")
        return vocabulary.tokenizer

    rows = read_corpus(path, config, tokenizer, dtype=dtype)
    return rows.columns(), rows.selection
