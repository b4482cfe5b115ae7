"""What tests change about the data of a model folder."""

from pathlib import Path

import numpy as np


def columns(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "data.npz") as file:
        return dict(file)


def with_data(folder: Path, *left_out: str, **changes: np.ndarray) -> Path:
    """A data file with other columns than the folder's own."""
    path = folder.parent / "changed.npz"
    np.savez(path, **{k: v for k, v in (columns(folder) | changes).items() if k not in left_out})
    return path
