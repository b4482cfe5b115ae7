"""What planning needs to know about the data: which rows agree on a feature, and donors that the user makes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from scrubbing.engine.expressions import Expression
from scrubbing.engine.interpreter import PIECE, Interpreter, in_pieces
from scrubbing.engine.memory import held_bytes
from scrubbing.engine.planning import Feature
from scrubbing.engine.policy import DonorSampler
from scrubbing.engine.sampling.agreement import Classes, Piece, PositionClasses, classes_by_position, classes_of
from scrubbing.engine.sampling.randomness import keyed_uniforms
from scrubbing.engine.sampling.streams import Given, Stream
from scrubbing.engine.sampling.values import flat
from scrubbing.errors import DataError, HypothesisError
from scrubbing.graph.data import appended

SMALL = 2**13  # bytes of a value that is kept
MOST_KEPT = 10_000
FIRST = 2**27  # bytes of values of the first row that are kept
READ = 2**24  # bytes of columns at a time where a feature is computed


@dataclass(frozen=True)
class Features:
    """Features of a dataset, each computed once on all rows."""

    interpreter: Interpreter
    _classes: dict[tuple[Feature, int], Classes | PositionClasses] = field(default_factory=dict, repr=False)
    _kept: dict[int, dict[Expression, Any]] = field(default_factory=dict, repr=False)
    _floating: dict[Expression, bool] = field(default_factory=dict, repr=False)
    _first: dict[Expression, Any] = field(default_factory=dict, repr=False)
    _held: list[int] = field(default_factory=lambda: [0], repr=False)  # bytes of these

    @property
    def rows(self) -> int:
        """The number of rows, made donors included."""
        return self.interpreter.rows

    def classes(self, feature: Feature) -> Classes | PositionClasses:
        """Which rows of the dataset agree on a feature."""
        known = feature, self.interpreter.rows
        if known not in self._classes:
            classify = classes_by_position if feature.per_position else classes_of
            pieces = (
                Piece(self._value(feature.value, rows), int(rows[0]), int(rows[-1]) + 1)
                for rows in in_pieces(self.interpreter.rows, self._rows_at_once)
            )
            try:
                donors = self.interpreter.sample.dataset_rows
                self._classes[known] = classify(pieces, feature.binning, donors=donors)
            except DataError as error:
                raise DataError(f"the feature of {feature.name!r} cannot be used: {error}") from error
        return self._classes[known]

    def _value(self, value: Expression, rows: np.ndarray) -> Any:
        """A value on some rows of the data.

        If these are all rows, small values on the way to it are kept: other features are made of them.
        """
        if len(rows) < self.interpreter.rows:
            return self.interpreter.on_rows([value], lambda stream: rows)[0]
        kept = self._kept.setdefault(len(rows), {})

        def keep(step: Expression, values: Mapping[Expression, Any]) -> None:
            if step not in kept and len(kept) < MOST_KEPT and held_bytes(values[step]) <= SMALL:
                kept[step] = values[step]

        return self.interpreter.on_rows([value], lambda stream: rows, keep, known=kept)[0]

    def made(self, sampler: DonorSampler, path: tuple[str, ...], parent: Stream, feature: Feature) -> Stream:
        """Donors made for the draws: new rows after the dataset's, checked to agree with what they stand in for."""
        sample, columns = self.interpreter.sample, self.interpreter.columns
        own = sample.rows(parent)
        if own.ndim > 1:
            raise HypothesisError(f"donors of {feature.name!r} cannot be made below a claim per position")
        key = int(keyed_uniforms(sample.seed, (*path, "made")) * 2**53)
        datums = {name: column[own] for name, column in columns.items()}
        changed = sampler(dict(datums), np.random.default_rng(key))
        rows = self.interpreter.rows + np.arange(len(own))
        columns.update(appended(columns, datums, changed, feature.name))
        ids = self._ids(feature)
        wrong = (ids[own] != ids[rows]).reshape(len(own), -1).any(axis=1)
        if wrong.any():
            raise DataError(
                f"the donors made for {feature.name!r} must agree with the datums that they stand in for; "
                f"the one for row {own[wrong.argmax()]} does not"
            )
        return Given(rows)

    def is_floating(self, value: Expression) -> bool:
        """Whether a value is a tensor of floating-point numbers, or a tuple of such; found on the first row."""
        if value not in self._floating:
            row = np.zeros(1, dtype=np.int64)
            (first,) = self.interpreter.on_rows([value], lambda stream: row, self._keep_first, known=self._first)
            parts = flat(first)
            self._floating[value] = bool(parts) and all(isinstance(p, Tensor) and p.is_floating_point() for p in parts)
        return self._floating[value]

    def _keep_first(self, step: Expression, values: Mapping[Expression, Any]) -> None:
        """Keep a value of the first row: other nodes of the network, which are asked about next, are made of it."""
        size = held_bytes(values[step])
        if step not in self._first and self._held[0] + size <= min(FIRST, self.interpreter.memory // 16):
            self._first[step] = values[step]
            self._held[0] += size

    def _ids(self, feature: Feature) -> np.ndarray:
        classes = self.classes(feature)
        return classes.ids if isinstance(classes, Classes) else np.stack([c.ids for c in classes.at], axis=1)

    @property
    def _rows_at_once(self) -> int:
        """How many rows to compute a feature on at a time."""
        size = sum(column.nbytes for column in self.interpreter.columns.values())
        return max(PIECE, READ * self.interpreter.rows // max(1, size))
