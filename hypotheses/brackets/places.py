"""The files of a model and its strings."""

from pathlib import Path

from hypotheses.shipped import beside

SHIPPED = Path(__file__).parent / "model"
STRINGS = "strings.txt.gz"


def strings_file(model: Path | None, data: Path | None) -> Path:
    """The strings to score on: those named, or those beside the model.

    Raises `DataError` where there are none.
    """
    return beside(model or SHIPPED, (STRINGS,), data, "a file of strings, one a line")
