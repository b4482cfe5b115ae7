"""What the app was started on, and what it has computed of it: the pages ask here."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from scrubbing.experiments.suites import Suite
from scrubbing.report.app.subject import Subject

MOST = 200  # results that are kept
T = TypeVar("T")


@dataclass
class Memory:
    """The results of the app, for all who look at it: those asked for last are kept.

    >>> memory = Memory(most=1)
    >>> memory.recalled("a", lambda: 1), memory.recalled("a", lambda: 2), "a" in memory
    (1, 1, True)
    >>> memory.recalled("b", lambda: 3), "a" in memory
    (3, False)
    """

    most: int = MOST
    _kept: OrderedDict[Hashable, Any] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def recalled(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is kept under a key; if nothing is, what `make` makes."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)
        return made


@dataclass(frozen=True, eq=False)
class Served:
    """A suite, as the pages see it."""

    suite: Suite
    subject: Subject
    memory: Memory = field(default_factory=Memory)

    @classmethod
    def of(cls, suite: Suite) -> "Served":
        """Raises `HypothesisError` for a suite without hypotheses."""
        return cls(suite, Subject.of(suite))


_handed_over: list[Served] = []  # Streamlit runs a script anew for each click, and hands it nothing


def hand_over(served: Served) -> None:
    """Have the pages of this process show this."""
    _handed_over[:] = [served]


def handed_over() -> Served:
    """What the pages of this process show."""
    return _handed_over[0]
