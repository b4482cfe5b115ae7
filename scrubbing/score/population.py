"""What the mean losses estimate: the mean over the dataset, or over the source that it is a sample of."""

import base64
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Int
from pydantic import BaseModel, ConfigDict, field_validator

from scrubbing.score.statistics.columns import Design

Estimand = Literal["source", "dataset"]


def packed(numbers: np.ndarray) -> str:
    """Numbers as text: whole ones in as few bytes as they need, others in single precision."""
    array = np.asarray(numbers)
    kind = np.dtype("<f4") if array.dtype.kind == "f" else np.min_scalar_type(int(array.max(initial=0)))
    return f"{kind.str[1:]} {base64.b64encode(array.astype(kind.newbyteorder('<')).tobytes()).decode()}"


def unpacked(text: str) -> np.ndarray:
    """The numbers again. Raises `ValueError` for text that is none."""
    kind, _, content = text.partition(" ")
    if kind not in ("u1", "u2", "u4", "u8", "f4"):
        raise ValueError(f"packed numbers are of type {kind[:8]!r}, which is none of u1, u2, u4, u8 and f4")
    found = np.frombuffer(base64.b64decode(content, validate=True), dtype=f"<{kind}")
    return found.astype(np.float64 if kind == "f4" else np.int64)


class Population(BaseModel):
    """What a mean over references estimates, and what references of it share.

    `estimand` is "source": the dataset is a sample, of rows or of groups of rows (documents, files, templates), and
    each of these is one observation; or "dataset", which is then all there is. `groups` names the column of groups,
    `group_of_row` holds them by number, packed. `drawn` says whether the references were drawn from the dataset with
    replacement.
    """

    model_config = ConfigDict(frozen=True)

    estimand: Estimand
    rows: int
    drawn: bool = False
    groups: str | None = None
    group_of_row: str | None = None

    @field_validator("group_of_row")
    @classmethod
    def _readable(cls, text: str | None) -> str | None:
        if text is not None:
            unpacked(text)
        return text

    @cached_property
    def _groups(self) -> Int[np.ndarray, " row"]:
        return np.arange(self.rows) if self.group_of_row is None else unpacked(self.group_of_row)

    def groups_of(self, references: Int[np.ndarray, " reference"]) -> Int[np.ndarray, " reference"]:
        """The group of each reference; its row where there are none."""
        return self._groups[references]

    def design(self, references: Int[np.ndarray, " reference"]) -> Design:
        """What these references share."""
        if self.estimand == "source":
            return Design(self.groups_of(references), self._groups)
        if self.drawn:
            return Design.independent(len(references))
        return Design(np.arange(len(references)), finite=len(np.unique(references)) / self.rows)

    @property
    def in_words(self) -> str:
        """What the mean is over."""
        return "the mean over the dataset" if self.estimand == "dataset" else "the mean over the source of the data"
