"""Streams: symbolic names for vectors of row numbers, one row per reference, and the rows that they stand for.

Equal streams have the same rows, so that a value on one is also the value on the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b

import numpy as np
from jaxtyping import Float, Int

from scrubbing.engine.sampling.agreement import Classes, PositionClasses
from scrubbing.engine.sampling.randomness import keyed_uniforms
from scrubbing.errors import DataError


@dataclass(frozen=True)
class References:
    """The stream of the references themselves."""

    positions: None = None


@dataclass(frozen=True, eq=False)
class Fixed:
    """A given row for the reference in each row of the dataset: `[rows]`, or per position `[rows, positions]`."""

    rows: Int[np.ndarray, "row *position"]

    @property
    def positions(self) -> int | None:
        return self.rows.shape[1] if self.rows.ndim == 2 else None

    def at_positions(self, positions: int | None) -> "Fixed":
        """The same rows at each position, where each has streams of its own below."""
        if positions is None or self.positions is not None:
            return self
        return Fixed(np.repeat(self.rows[:, None], positions, axis=1))

    @cached_property
    def digest(self) -> bytes:
        """A fingerprint of the rows."""
        return blake2b(np.ascontiguousarray(self.rows).data, digest_size=16).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fixed) and (self.digest, self.rows.shape) == (other.digest, other.rows.shape)

    def __hash__(self) -> int:
        return hash(self.digest)


@dataclass(frozen=True, eq=False)
class Given:
    """The row of each draw, in order: donors that were made or chosen for these draws, and no others."""

    rows: Int[np.ndarray, "draw *position"]

    @property
    def positions(self) -> int | None:
        return self.rows.shape[1] if self.rows.ndim == 2 else None


@dataclass(frozen=True)
class Drawn:
    """A donor for each reference, drawn among the rows that agree with `parent`'s; from the whole dataset without one.

    `positions` is set where each position of a reference has a donor of its own.
    """

    key: tuple[str, ...]
    parent: "Stream | None" = None
    classes: Classes | PositionClasses | None = None
    positions: int | None = None

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:  # once: a stream may stand at the end of a long chain of parents
        return hash((self.key, self.parent, self.classes, self.positions))


@dataclass(frozen=True)
class NumberOfDraw:
    """No rows, but the number of each draw among those of its reference."""

    positions: None = None


Stream = References | Fixed | Given | Drawn | NumberOfDraw


@dataclass(frozen=True)
class Pool:
    """The distinct rows that several streams have for some draws, each once, those of the first stream first."""

    streams: tuple[Stream, ...]


@dataclass(frozen=True, eq=False)
class Sample:
    """The references of one run, and the rows that every stream has for them.

    Each reference comes `draws` times in succession. Where a row is a reference several times, each occurrence has its
    own random numbers, so that references drawn with replacement have independent donors.
    """

    references: Int[np.ndarray, "reference"]
    dataset_rows: int
    seed: int = 0
    draws: int = 1
    exclude_self: bool = False
    _cache: dict[Stream, np.ndarray] = field(default_factory=dict, init=False, repr=False)
    _occurrence: Int[np.ndarray, "reference"] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.references) * self.draws

    def part(self, start: int, stop: int) -> "Sample":
        """The references from `start` to `stop` alone, with the donors that they have here."""
        occurrence = self._occurrences[start:stop]
        return replace(self, references=self.references[start:stop], _occurrence=occurrence)

    def rows(self, stream: Stream) -> Int[np.ndarray, "draw *position"]:
        """The row numbers of a stream, all references at once: `[references * draws]`, or with positions."""
        waiting = [stream]  # the first of a chain of parents first: it may be longer than Python's stack is deep
        while waiting[-1] not in self._cache and isinstance(waiting[-1], Drawn) and waiting[-1].parent is not None:
            waiting.append(waiting[-1].parent)
        for each in reversed(waiting):
            if each not in self._cache:
                self._cache[each] = self._rows(each)
        return self._cache[stream]

    def _rows(self, stream: Stream) -> np.ndarray:
        reference = np.repeat(self.references, self.draws)
        if isinstance(stream, References):
            return reference
        if isinstance(stream, NumberOfDraw):
            return np.tile(np.arange(self.draws), len(self.references))
        if isinstance(stream, Fixed):
            return stream.rows[reference]
        if isinstance(stream, Given):
            return stream.rows
        return self.draw(stream, self._uniforms(stream))

    def draw(self, stream: Drawn, uniforms: Float[np.ndarray, "draw *position"]) -> Int[np.ndarray, "draw *position"]:
        """The rows that a stream would have by other random numbers."""
        parent = np.repeat(self.references, self.draws) if stream.parent is None else self.rows(stream.parent)
        if stream.positions is not None:
            parent = np.broadcast_to(parent if parent.ndim == 2 else parent[:, None], uniforms.shape)
        classes = self._everything if stream.classes is None else stream.classes
        try:
            return classes.draw(parent, uniforms, exclude_self=self.exclude_self)
        except DataError as error:
            raise DataError(f"no donor can be drawn at {'/'.join(stream.key)!r}: {error}") from None

    def _uniforms(self, stream: Drawn) -> Float[np.ndarray, "draw *position"]:
        counters = [np.repeat(self.references, self.draws), np.repeat(self._occurrences, self.draws)]
        counters.append(np.tile(np.arange(self.draws), len(self.references)))
        if stream.positions is not None:
            counters = [c[:, None] for c in counters] + [np.arange(stream.positions)[None]]
        return keyed_uniforms(self.seed, stream.key, *counters)

    @cached_property
    def _occurrences(self) -> Int[np.ndarray, "reference"]:
        return _occurrences(self.references) if self._occurrence is None else self._occurrence

    @cached_property
    def _everything(self) -> Classes:
        return Classes(np.zeros(self.dataset_rows, dtype=np.int64))


def _occurrences(rows: Int[np.ndarray, "reference"]) -> Int[np.ndarray, "reference"]:
    """How often each entry's value occurs before it: 5, 3, 5 gives 0, 0, 1."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.searchsorted(ordered, ordered)
    occurrences = np.empty_like(rows)
    occurrences[order] = np.arange(len(rows)) - first
    return occurrences


def draw_references(rows: Sequence[int] | np.ndarray, count: int, seed: int) -> Int[np.ndarray, "reference"]:
    """`count` of the rows, uniformly and with replacement."""
    uniforms = keyed_uniforms(seed, ("references",), np.arange(count))
    return np.asarray(rows)[(uniforms * len(rows)).astype(np.int64)]
