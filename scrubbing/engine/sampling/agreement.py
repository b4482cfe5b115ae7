"""Which rows agree: a feature's values cut the dataset into classes, and a donor is drawn from a row's own class."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from scrubbing.errors import DataError
from scrubbing.graph.binning import Binning, Bins
from scrubbing.graph.data import of_any_device

LONG = 16  # bytes: a longer value is remembered by its hash


@dataclass(frozen=True, eq=False)
class Classes:
    """A partition of rows: two rows with one number agree.

    Donors are the first `donors` rows, those of the dataset; rows after them were made by the user. Equality is by
    content.
    """

    ids: Int[np.ndarray, "row"]
    donors: int | None = None

    @cached_property
    def sizes(self) -> Int[np.ndarray, "class"]:
        """The number of donors in each class."""
        return np.bincount(self.ids[: self.donors], minlength=int(self.ids.max()) + 1)

    @cached_property
    def digest(self) -> bytes:
        """A fingerprint of the partition."""
        return blake2b(np.ascontiguousarray(self.ids).data, digest_size=16, salt=repr(self.donors).encode()).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Classes) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def _members(self) -> Int[np.ndarray, "row"]:
        return np.argsort(self.ids[: self.donors], kind="stable")

    @cached_property
    def _starts(self) -> Int[np.ndarray, "class"]:
        return np.cumsum(self.sizes) - self.sizes

    @cached_property
    def _rank(self) -> Int[np.ndarray, "row"]:
        """A row's place within its class."""
        rank = np.full_like(self.ids, -1)
        rank[self._members] = np.arange(len(self._members)) - np.repeat(self._starts, self.sizes)
        return rank

    @property
    def count(self) -> float:
        """The number of classes."""
        return float(len(self.sizes))

    def sizes_of(self, rows: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """How many rows agree with each of `rows`, itself included."""
        return self.sizes[self.ids[rows]]

    def draw(
        self, rows: Int[np.ndarray, "*shape"], uniforms: Float[np.ndarray, "*shape"], *, exclude_self: bool = False
    ) -> Int[np.ndarray, "*shape"]:
        """One agreeing row for each of `rows`, picked by numbers in [0, 1).

        With `exclude_self` never the row itself, unless it is alone in its class.
        """
        ids = self.ids[rows]
        if not self.sizes[ids].all():
            raise DataError("no row of the data agrees with a datum that was made; make agreeing donors here as well")
        if not exclude_self:
            return self._members[self._starts[ids] + (uniforms * self.sizes[ids]).astype(np.int64)]
        itself = self._rank[rows] >= 0  # a made datum is not among the donors
        others = np.where(itself, np.maximum(self.sizes[ids] - 1, 1), self.sizes[ids])
        pick = (uniforms * others).astype(np.int64)
        pick += itself & (pick >= self._rank[rows]) & (self.sizes[ids] > 1)
        return self._members[self._starts[ids] + pick]


@dataclass(frozen=True)
class PositionClasses:
    """One partition of the rows for each position."""

    at: tuple[Classes, ...]

    @property
    def count(self) -> float:
        """The number of classes, on average over positions."""
        return sum(classes.count for classes in self.at) / len(self.at)

    def sizes_of(self, rows: Int[np.ndarray, "row *position"]) -> Int[np.ndarray, "row position"]:
        """How many rows agree with each of `rows` (one for all positions, or one for each) at each position."""
        here = rows if rows.ndim == 2 else np.broadcast_to(rows[:, None], (len(rows), len(self.at)))
        return np.stack([classes.sizes_of(here[:, p]) for p, classes in enumerate(self.at)], axis=1)

    def draw(
        self, rows: Int[np.ndarray, "*shape"], uniforms: Float[np.ndarray, "*shape"], *, exclude_self: bool = False
    ) -> Int[np.ndarray, "*shape"]:
        """One row that agrees at the position, for each (reference, position)."""
        columns = [
            classes.draw(rows[:, p], uniforms[:, p], exclude_self=exclude_self) for p, classes in enumerate(self.at)
        ]
        return np.stack(columns, axis=1)


def intersection(partitions: Sequence[Classes]) -> Classes:
    """Rows agree if they agree in every partition."""
    ids = np.stack([partition.ids for partition in partitions], axis=1)
    return classes_of(whole(ids, len(ids)), donors=partitions[0].donors)


def alike(partitions: Sequence[Classes | PositionClasses], rows: int, *, apart: bool = False) -> Classes:
    """Rows that agree in every partition, at every position; all of them without any, and none where they are apart."""
    parts = [c for p in partitions for c in (p.at if isinstance(p, PositionClasses) else (p,))]
    if apart or not parts:
        return Classes(np.arange(rows) if apart else np.zeros(rows, dtype=np.int64))
    return parts[0] if len(parts) == 1 else intersection(parts)


@dataclass(frozen=True)
class Piece:
    """A feature's value for some rows of the dataset, those from `start` to `stop`."""

    value: Any
    start: int
    stop: int


def whole(value: Any, rows: int) -> list[Piece]:
    """A value for all rows, as one piece."""
    return [Piece(value, 0, rows)]


def classes_of(pieces: Iterable[Piece], binning: Binning | None = None, *, donors: int | None = None) -> Classes:
    """The classes of rows on which a feature's values agree: are equal (a tuple in every part), or nearly so.

    Values come some rows at a time and are not kept. Raises `DataError` for a value that is not one per row, has NaN,
    or is of no fixed type.
    """
    numbers = _Numbers()
    return Classes(np.concatenate([numbers(piece) for piece in _binned(pieces, binning)]), donors)


def classes_by_position(
    pieces: Iterable[Piece], binning: Binning | None = None, *, donors: int | None = None
) -> PositionClasses:
    """The classes at each position of a feature `[rows, positions]`; of a tuple, rows agree where all its parts do.

    Further axes belong to the position. Raises `DataError` for parts without positions, or with different numbers.
    """
    numbers: list[_Numbers] = []
    found: list[list[np.ndarray]] = []
    for piece in _binned(pieces, binning):
        parts = [_as_array(part, piece) for part in _flat(piece.value)]
        positions = range(_positions(parts))
        numbers = numbers or [_Numbers() for _ in positions]
        here = (parts[0][:, p] if len(parts) == 1 else tuple(part[:, p] for part in parts) for p in positions)
        found.append([number(replace(piece, value=value)) for number, value in zip(numbers, here, strict=True)])
    return PositionClasses(tuple(Classes(np.concatenate(ids), donors) for ids in zip(*found, strict=True)))


def _positions(parts: Sequence[np.ndarray]) -> int:
    """The number of positions that all parts have."""
    positions = {part.shape[1] if part.ndim > 1 else 0 for part in parts}
    if len(positions) != 1 or 0 in positions:
        shapes = " and ".join(str(list(part.shape)) for part in parts)
        what = f"these have the shapes {shapes}" if len(parts) > 1 else f"this one has shape {shapes}"
        each = ", all of its values for the same positions" if len(parts) > 1 else ""
        raise DataError(f"a claim per position must return [rows, positions]{each}; {what if parts else 'it is empty'}")
    return positions.pop()


def _flat(value: Any) -> list[Any]:
    """The parts of a tuple of tuples; a single value is its one part."""
    return [part for inner in value for part in _flat(inner)] if isinstance(value, tuple) else [value]


def _binned(pieces: Iterable[Piece], binning: Binning | None) -> Iterable[Piece]:
    """The feature with each number replaced by its cell or bin."""
    if binning is None:
        return pieces

    def cells(value: Any, piece: Piece) -> Any:
        if isinstance(value, tuple):
            return tuple(cells(part, piece) for part in value)
        array = _as_array(value, piece)
        if array.dtype.kind not in "biuf":
            raise DataError("it is no number, and only numbers can be near each other; leave out within or bins")
        return binning(array.astype(np.float64))

    together = [_joined(list(pieces))] if isinstance(binning, Bins) else pieces  # quantiles are those of all rows
    return (replace(piece, value=cells(piece.value, piece)) for piece in together)


def _joined(pieces: Sequence[Piece]) -> Piece:
    """All pieces as one."""

    def joined(values: Sequence[Any]) -> Any:
        if isinstance(values[0], tuple):
            return tuple(joined(parts) for parts in zip(*values, strict=True))
        return np.concatenate([_as_array(value, piece) for value, piece in zip(values, pieces, strict=True)])

    return Piece(joined([piece.value for piece in pieces]), pieces[0].start, pieces[-1].stop)


class _Numbers:
    """Numbers the classes of a value that comes in pieces, in order of appearance."""

    def __init__(self) -> None:
        self._known: list[dict[Any, int]] = []  # for each part of the value: its rows met so far, and their numbers

    def __call__(self, piece: Piece) -> Int[np.ndarray, " row"]:
        return self._of(piece.value, piece, {})

    def _of(self, value: Any, piece: Piece, done: dict[int, np.ndarray]) -> Int[np.ndarray, " row"]:
        """The numbers of a part of a tuple; a part that occurs twice is numbered once (tuples may nest deeply)."""
        if id(value) not in done:
            if isinstance(value, tuple):
                parts = [self._of(part, piece, done) for part in value]
                array = np.stack(parts, axis=1) if parts else np.zeros(piece.stop - piece.start)
            else:
                array = _as_array(value, piece)
            part = len(done)  # parts are met in the same order in every piece
            self._known += [{} for _ in range(part + 1 - len(self._known))]
            done[id(value)] = _numbered(array, self._known[part])
        return done[id(value)]


def _numbered(array: np.ndarray, known: dict[Any, int]) -> Int[np.ndarray, " row"]:
    """The class of each row: the number of an equal earlier value, or the next number."""
    keys, first, inverse = np.unique(_one_key_per_row(array), return_index=True, return_inverse=True)
    numbers = np.empty(len(keys), dtype=np.int64)
    values = keys.tolist()
    for place in np.argsort(first).tolist():
        value = values[place]
        long = isinstance(value, bytes) and len(value) > LONG
        numbers[place] = known.setdefault(blake2b(value, digest_size=LONG).digest() if long else value, len(known))
    return numbers[inverse.reshape(-1)]


def _one_key_per_row(array: np.ndarray) -> np.ndarray:
    if array.ndim == 1:
        return array
    if array.dtype.kind in "US":  # of a width that may differ from piece to piece
        return np.array([repr(row) for row in array.tolist()])
    flat = np.ascontiguousarray(array.reshape(len(array), -1))
    # One opaque key per row sorts faster than row-by-row comparison.
    return flat.view(np.dtype((np.void, flat.dtype.itemsize * flat.shape[1])))[:, 0] if flat.size else flat.sum(1)


def _as_array(value: Any, piece: Piece) -> np.ndarray:
    """A feature as an array with one entry per row, in which equal values have equal bytes."""
    rows = piece.stop - piece.start
    try:
        array = of_any_device(value)
    except Exception:  # of what a container raises that is no array: ragged lists, tensors of several shapes
        array = np.empty(0, dtype=object)
    if array.dtype == object:
        raise DataError("its values have no fixed type; return a tensor, an array of numbers or strings, or a tuple")
    if array.shape[:1] != (rows,):
        raise DataError(f"it has shape {list(array.shape)}, but must hold one value for each of {rows} rows")
    if array.dtype.kind in "fc":
        missing = np.isnan(array).reshape(rows, -1).any(axis=1)
        if missing.any():
            raise DataError(f"it is NaN in row {piece.start + int(missing.argmax())}, and NaN agrees with nothing")
        return array + 0.0  # -0.0 equals 0.0 and has other bytes
    return array
