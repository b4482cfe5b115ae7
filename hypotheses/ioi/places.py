"""The files of a model: its weights, its tokenizer, the roles of its heads."""

from pathlib import Path

from tokenizers import Tokenizer

from hypotheses.corpus import TOKENIZER, tokenizer_file
from hypotheses.shipped import read_tokenizer
from scrubbing.errors import DataError
from scrubbing.lens.hub import is_hub_name

SHIPPED = Path(__file__).parent / "model"
PUBLISHED = ("gpt2", "gpt2-small", "openai-community/gpt2")  # the network that the text is about, by name


def is_published(model: Path | None) -> bool:
    """Whether the published network was asked for by its name."""
    return model is not None and str(model) in PUBLISHED and is_hub_name(str(model))


def tokenizer_of(model: Path | None) -> Tokenizer:
    """The tokenizer of a model folder, or of a model on the hub.

    Raises `DataError` where there is none, or a damaged one.
    """
    path = tokenizer_file(model or SHIPPED)
    if not path.is_file():
        raise DataError(
            f"{path.parent} holds no {TOKENIZER}, so that prompts cannot be made; copy the model's own there (names "
            f"must be one token each)"
        )
    return read_tokenizer(path)
