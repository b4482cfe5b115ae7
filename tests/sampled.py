"""Which members of a family of tests run by default; the others run with `-m slow`."""

from collections.abc import Iterable
from typing import Any

import pytest


def by_default(values: Iterable[Any], count: int = 1) -> list[Any]:
    """The values as parameters of a test, of which all but the first are slow."""
    values = list(values)
    several = [value if isinstance(value, tuple) else (value,) for value in values[count:]]
    return [*values[:count], *(pytest.param(*value, marks=pytest.mark.slow) for value in several)]
