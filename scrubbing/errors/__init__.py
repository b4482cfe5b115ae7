"""What can go wrong, by whose hand it can be mended. Every message says what was given, what is true and what to do."""

import difflib
import sys
import warnings
from collections.abc import Iterable
from importlib import import_module
from typing import Any


class ScrubbingError(Exception):
    """Any mistake that this package can name."""


class GraphError(ScrubbingError):
    """A graph, or a rewrite of one, that makes no sense."""


class UnknownNameError(GraphError, KeyError):
    """A name that a graph does not have (a `KeyError` too, so that a graph is a proper mapping)."""

    __str__ = Exception.__str__


class HypothesisError(ScrubbingError):
    """A hypothesis that its network cannot be asked about."""


class NodeError(ScrubbingError):
    """A function of a node raised an error, which is the cause of this one; `node` is the node's name."""

    def __init__(self, node: str, cause: BaseException) -> None:
        super().__init__(f"the function of {node!r} raised {type(cause).__name__}: {cause}")
        self.node = node

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).__new__, (type(self), *self.args), vars(self)  # its text alone, for another process


class DataError(ScrubbingError):
    """Data, or a value computed from data, that cannot be used."""


class StoreError(DataError):
    """A store of scores that cannot be opened, read or written."""


class MissingPackageError(ScrubbingError):
    """Something that needs a package of an extra (`scrubbing[report]`) that is not installed."""


class ModelError(ScrubbingError):
    """Weights or a configuration that cannot be used."""


class ScrubbingWarning(UserWarning):
    """Something legal that is probably not what was meant."""


def warn(message: str) -> None:
    """Warn at the user's line that led here, however many functions of this package stand in between."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, ScrubbingWarning, stacklevel=level)


PACKAGE = __name__.partition(".")[0]
LONGEST = 100  # characters of a name that may be a misspelt one


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The tail of a message about an unknown name: what it was probably meant to be.

    >>> nearest("prev_att", ["embed", "prev_at", "prev_off"])
    "; did you mean 'prev_at'?"
    """
    short = isinstance(name, str) and len(name) <= LONGEST
    close = short and difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]!r}?" if close else ""


def displayed(value: object) -> dict[str, str]:
    """What a notebook shows of a value, by MIME type. The room that knows, `report`, is above all others, and is asked
    by its name when something is shown: whoever shows nothing never loads it.
    """
    return import_module("scrubbing.report.notebook").bundle(value)


def printable(text: str) -> str:
    r"""The text with control characters, and others that do not show, written out: it cannot steer a terminal.

    >>> print(printable("naive\x1b[2J"))
    naive\x1b[2J
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
