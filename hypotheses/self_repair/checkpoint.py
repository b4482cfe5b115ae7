"""A run that is not finished, as a file: tensors, and in words what they are of."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from scrubbing.errors import DataError
from scrubbing.graph.reading import in_short
from scrubbing.store.files import write_whole

OF = "of"


def write_checkpoint(path: Path, identity: str, state: dict[str, Tensor]) -> None:
    """Write a state so that a kill at any moment leaves the old file or the new one.

    Raises `DataError` where it cannot be written.
    """
    write_whole(save({name: value.contiguous() for name, value in state.items()}, {OF: identity}), path)


def read_checkpoint(path: Path, identity: str) -> dict[str, Tensor]:
    """Read a state of this very run.

    Raises `DataError` for a file that is damaged, or of another model, data or settings.
    """
    try:
        with safe_open(path, framework="pt") as file:
            of = (file.metadata() or {}).get(OF)
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} is damaged or no checkpoint ({in_short(error)}); remove it to begin anew") from None
    if of != identity:
        raise DataError(
            f"{path} is the checkpoint of another model, other data or other settings; name another file, "
            f"or remove it to begin anew"
        )
    return state
