"""Scores that come from a store."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from scrubbing.score.score import Score


class Recalled(NamedTuple):
    """Where a recorded score was found, and when it was computed (UTC)."""

    store: str
    id: int
    time: datetime


def recalled(score: "Score", name: Any, donors: dict[str, np.ndarray]) -> "Score":
    """A recorded score as the result of a new call, with the name and the donors of that call."""
    again = score.model_copy(update={"name": name if isinstance(name, str) else None})
    again._donors.update(donors)
    return again
