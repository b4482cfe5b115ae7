"""The files of a model and its data: beside it, or in its repository on the hub."""

from pathlib import Path

from scrubbing.errors import DataError, ModelError
from scrubbing.lens.folders import read_settings
from scrubbing.lens.hub import hub_folder, is_hub_name

SHIPPED = Path(__file__).parent / "model"

# What the repository of the papers' own model holds: rows of text, and the tokens whose positions are evaluated.
VALIDATION, CANDIDATES = "validation_data.pt", "good_induction_candidates.pt"
TOKENIZER = "tokenizer.json"


def model_folder(model: Path | None) -> Path:
    """The folder of a model: the one named, that of a name on the hub, or the project's own.

    Raises `ModelError` for a name whose model cannot be had.
    """
    if model is None:
        return SHIPPED
    return hub_folder(model.as_posix(), also=(VALIDATION, CANDIDATES)) if _is_named(model) else model


def data_file(folder: Path, data: Path | None) -> Path:
    """The rows to score on: those named, or those beside the model. Raises `DataError` where there are none."""
    if data is not None:
        return data
    found = next((folder / name for name in ("data.npz", VALIDATION) if (folder / name).is_file()), None)
    if found is None:
        raise DataError(f"{folder} holds no data.npz; name a data file with --data FILE.npz")
    return found


def tokenizer_file(folder: Path, model: Path | None) -> Path:
    """The model's tokenizer.json; of a model on the hub that has none, the one that its config.json names."""
    own = folder / TOKENIZER
    if own.exists() or model is None or not _is_named(model):
        return own
    settings = read_settings(folder / "config.json")
    name = settings.get("tokenizer_name") if isinstance(settings, dict) else None
    if not isinstance(name, str) or not is_hub_name(name):
        return own
    try:
        return hub_folder(name, files=(TOKENIZER,)) / TOKENIZER
    except ModelError:
        return own  # what needs one is left out, with a note


def _is_named(model: Path) -> bool:
    return is_hub_name(model.as_posix())
