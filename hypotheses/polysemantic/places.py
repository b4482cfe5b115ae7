"""The files of a network, its tokenizer and its corpus."""

from pathlib import Path
from typing import Any

from hypotheses import corpus
from hypotheses.induction import places as induction
from scrubbing.errors import DataError
from scrubbing.lens.hub import is_hub_name

SHIPPED = Path(__file__).parent / "model"
ROLES = "roles.json"


def source(model: Any) -> Any:
    """What `load_transformer` reads: a folder, a name on the hub where there is no such folder, or an object."""
    if model is None:
        return SHIPPED
    return str(model) if isinstance(model, Path) and not model.exists() else model


def named(model: Any) -> Path:
    """The folder or the name of a model, or what kind of object it is."""
    if model is None:
        return SHIPPED
    return Path(model if isinstance(model, str | Path) else type(model).__name__)


def tokenizer_file(model: Any, tokenizer: Path | None) -> Path:
    """The tokenizer: the one named, or the model's; the shipped network has that of the induction network.

    Raises `DataError` for an object, which has none.
    """
    if tokenizer is not None:
        return Path(tokenizer)
    if isinstance(model, str | Path) and is_hub_name(str(model)):
        return corpus.tokenizer_file(Path(model))
    return _folder(model, "a tokenizer: name its tokenizer.json, --set tokenizer=FILE") / corpus.TOKENIZER


def corpus_file(model: Any, data: Path | None) -> Path:
    """The corpus: the one named, or the model's; the shipped network has that of the induction network.

    Raises `DataError` where there is none.
    """
    if data is not None:
        return Path(data)
    return induction.data_file(_folder(model, "a corpus: name one, --data FILE (.npz, or text)"), None)


def _folder(model: Any, without: str) -> Path:
    if model is None:
        return induction.SHIPPED
    if not isinstance(model, str | Path) or not Path(model).is_dir():
        raise DataError(f"the model is no folder that could hold {without}")
    return Path(model)
