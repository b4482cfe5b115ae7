"""Scores that were looked up rather than computed."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from scrubbing.score.score import Score


class Recalled(NamedTuple):
    """Where a score stands that was looked up rather than computed, and when it was computed (UTC)."""

    store: str
    id: int
    time: datetime


def recalled(score: "Score", name: Any, donors: dict[str, np.ndarray]) -> "Score":
    """A recorded score as the answer to a new call: by the name that it is asked for by, and with its donors."""
    again = score.model_copy(update={"name": name if isinstance(name, str) else None})
    again._donors.update(donors)
    return again
