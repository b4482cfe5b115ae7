"""The files of a model and its data."""

from pathlib import Path

from scrubbing.errors import DataError

SHIPPED = Path(__file__).parent / "model"


def data_file(model: Path | None, data: Path | None) -> Path:
    """The rows to score on: those named, or those beside the model."""
    if data is not None:
        return data
    path = (model or SHIPPED) / "data.npz"
    if not path.is_file():
        raise DataError(f"{path.parent} holds no data.npz; name a data file with --data FILE.npz")
    return path
