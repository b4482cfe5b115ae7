"""Values of references that hang together, and the covariance of their means.

References are independent unless they share something: their group (a document, a file), or a row. A row may be a
reference and the donor of others, so that scrubbed losses share rows; the derivation is in docs/dependence.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Column:
    """A value for each reference, and the part that donors have in it.

    `weight[i, p]` is the part that the row `row[i, p]` has, as a donor, in the value of reference i: what draws with
    this donor differ from other draws of its class, divided by the number of draws. `classes[which[p]]` has the
    class of each row, of which the donor was one. `draws` holds the values of single draws. Columns of the same
    references can be added and scaled.
    """

    values: Float[np.ndarray, " reference"]
    row: Int[np.ndarray, "reference part"] | None = None
    weight: Float[np.ndarray, "reference part"] | None = None
    which: Int[np.ndarray, " part"] | None = None
    classes: tuple[np.ndarray, ...] = ()
    draws: Float[np.ndarray, "reference draw"] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def mean(self) -> float:
        """The mean over references."""
        return float(np.mean(self.values))

    def __mul__(self, factor: float) -> "Column":
        draws = None if self.draws is None else factor * self.draws
        weight = None if self.weight is None else factor * self.weight
        return replace(self, values=factor * self.values, weight=weight, draws=draws)

    def __sub__(self, other: "Column") -> "Column":
        return _joined(self.values - other.values, self, other * -1.0)

    def __add__(self, other: "Column") -> "Column":
        return _joined(self.values + other.values, self, other)

    def at(self, places: Int[np.ndarray, " some"]) -> "Column":
        """The column of some of the references alone."""
        cut = [None if held is None else held[places] for held in (self.row, self.weight, self.draws)]
        return replace(self, values=self.values[places], row=cut[0], weight=cut[1], draws=cut[2])

    @property
    def by_draw(self) -> Float[np.ndarray, "reference draw"]:
        """The values of single draws, one of each reference where there was one."""
        return self.values[:, None] if self.draws is None else self.draws


def _joined(values: Float[np.ndarray, " reference"], first: Column, second: Column) -> Column:
    draws = None if first.draws is None and second.draws is None else first.by_draw + second.by_draw
    parts = [column for column in (first, second) if column.weight is not None]
    if not parts:
        return Column(values, draws=draws)
    shift = [0, len(first.classes)]
    return Column(
        values,
        np.concatenate([column.row for column in parts], axis=1),  # pyright: ignore
        np.concatenate([column.weight for column in parts], axis=1),  # pyright: ignore
        np.concatenate([c.which + shift[c is second] for c in parts]),  # pyright: ignore
        first.classes + second.classes,
        draws,
    )


Values = Float[np.ndarray, " reference"] | Column


def as_column(values: Values) -> Column:
    """Values of references without donors, as a column."""
    return values if isinstance(values, Column) else Column(np.asarray(values, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Design:
    """Where references come from, which decides what they share.

    `unit` numbers the unit of each reference: itself, its row, or its row's group; units are independent. `unit_of_row`
    gives the unit of a donor's row; None where donors are no further source of error: the dataset is all there is.
    `finite` is the share of the dataset that the references are, where its own mean is estimated. `tightest_at` is the
    number of references that a confidence sequence is tuned for, if they were drawn until one had seen enough: the
    intervals and tests of `scrubbing.score.statistics.looking` are then used.
    """

    unit: Int[np.ndarray, " reference"]
    unit_of_row: Int[np.ndarray, " row"] | None = None
    finite: float = 0.0
    tightest_at: int | None = None

    @classmethod
    def independent(cls, n: int) -> "Design":
        """References that share nothing."""
        return cls(np.arange(n))

    @property
    def are_independent(self) -> bool:
        """Whether references share nothing."""
        return self.unit_of_row is None and not self.finite and self.units == len(self.unit)

    @property
    def units(self) -> int:
        """The number of units that have references."""
        return len(np.unique(self.unit))

    def part(self, places: Int[np.ndarray, " some"]) -> "Design":
        """The design of some of the references alone."""
        return replace(self, unit=self.unit[places])


@dataclass(frozen=True, eq=False)
class Moments:
    """The means of some columns, the covariance of these means, and what each unit adds to them.

    `parts` are deviations of the means, by unit: their sum over units is zero, their variance over units what makes the
    covariance. `df` is the number of units less one.
    """

    means: Float[np.ndarray, " column"]
    covariance: Float[np.ndarray, "column column"]
    parts: Float[np.ndarray, "unit column"]
    df: int
    without_donors: Float[np.ndarray, "column column"]

    def variance(self, contrast: Sequence[float]) -> float:
        """The variance of a combination of the means; never less than if donors had no part in it."""
        return max(_quadratic(self.covariance, contrast), _quadratic(self.without_donors, contrast))

    def covariance_for(self, contrast: Sequence[float]) -> Float[np.ndarray, "column column"]:
        """The covariance that gives a combination its variance."""
        by_donors = _quadratic(self.covariance, contrast) >= _quadratic(self.without_donors, contrast)
        return self.covariance if by_donors else self.without_donors


def _quadratic(matrix: Float[np.ndarray, "column column"], contrast: Sequence[float]) -> float:
    c = np.asarray(contrast)
    return float(c @ matrix @ c)


def moments(columns: Sequence[Values], design: Design | None = None) -> Moments:
    """The means of columns of common references, and their covariance.

    With c_u what unit u adds to a mean in all of its roles, and v_iu what it adds to reference i alone, the covariance
    is (sum_u c_u c_u' - sum_i [sum_u v_iu v_iu' - e_i e_i'])/n^2, e_i the residual of the reference: the second sum
    takes out what a reference shares with itself. Without donors and groups it is the ordinary one.

    Source: Hoeffding 1948 for the projection; Fafchamps and Gubert 2007, and Aronow, Samii and Assenova 2015, for the
    sum over pairs that share a row. docs/dependence.md.
    """
    held = [as_column(column) for column in columns]
    n = len(held[0])
    values = np.stack([column.values for column in held], axis=1)
    means = values.mean(axis=0)
    residuals = values - means
    if design is None:
        covariance = residuals.T @ residuals / (n * (n - 1)) if n > 1 else np.full((len(held),) * 2, np.nan)
        return Moments(means, covariance, residuals / n, n - 1, covariance)
    names, unit = np.unique(design.unit, return_inverse=True)
    alone = _summed(unit, residuals, len(names))
    correction = len(names) / (len(names) - 1) if len(names) > 1 else np.nan
    without = correction * alone.T @ alone / n**2
    df = len(names) - 1
    if design.finite:
        without = _of_the_dataset(held, without, design.finite)
        return Moments(means, without, alone / n, df, without)
    if design.unit_of_row is None or all(column.weight is None for column in held):
        return Moments(means, without, alone / n, df, without)
    held = [_compact(column, len(design.unit_of_row)) for column in held]
    parts = _Parts.of(held, residuals, design.unit, design.unit_of_row)
    added = _summed(parts.unit.ravel(), parts.weight.reshape(-1, len(held)), parts.units)
    covariance = correction * (added.T @ added - parts.of_a_reference_with_itself() + residuals.T @ residuals) / n**2
    return Moments(means, covariance, added / n, df, without)


def added_by_unit(values: Values, design: Design) -> Float[np.ndarray, " unit"]:
    """What each unit adds to the mean of a column, in all of its roles; their sum is zero, or nearly so."""
    column = as_column(values)
    size = 1 + int(max(design.unit.max(), 0 if design.unit_of_row is None else design.unit_of_row.max()))
    found = np.bincount(design.unit, column.values - column.mean(), size)
    if design.unit_of_row is not None and column.row is not None and column.weight is not None:
        found += np.bincount(design.unit_of_row[column.row].ravel(), column.weight.ravel(), size)
    return found / len(column)


def _compact(column: Column, rows: int) -> Column:
    """The same with one part for each row and class, where there are more parts than these: sums are the same."""
    if column.weight is None or column.row is None or column.which is None:
        return column
    places = len(column.classes) * rows
    if column.weight.shape[1] <= places:
        return column
    n = len(column)
    place = np.arange(n)[:, None] * places + column.which * rows + column.row
    weight = np.bincount(place.ravel(), column.weight.ravel(), n * places).reshape(n, places)
    row = np.broadcast_to(np.tile(np.arange(rows), len(column.classes)), weight.shape)
    return replace(column, row=row, weight=weight, which=np.repeat(np.arange(len(column.classes)), rows))


def _summed(place: Int[np.ndarray, " part"], values: Float[np.ndarray, "part column"], size: int) -> np.ndarray:
    return np.stack([np.bincount(place, column, size) for column in values.T], axis=1)


@dataclass(frozen=True, eq=False)
class _Parts:
    """What each reference gets from units: the first part is its own, the others are its donors'."""

    unit: Int[np.ndarray, "reference part"]
    weight: Float[np.ndarray, "reference part column"]
    row: Int[np.ndarray, "reference donor"]
    which: Int[np.ndarray, " donor"]
    classes: tuple[np.ndarray, ...]
    unit_of_row: Int[np.ndarray, " row"]
    units: int

    @classmethod
    def of(
        cls,
        columns: Sequence[Column],
        residuals: Float[np.ndarray, "reference column"],
        unit: Int[np.ndarray, " reference"],
        unit_of_row: Int[np.ndarray, " row"],
    ) -> "_Parts":
        """The parts of several columns: each donor has a part in one of them."""
        weights, rows, which, classes = [residuals[:, None, :]], [], [], ()
        for k, column in enumerate(columns):
            if column.weight is None or column.row is None or column.which is None:
                continue
            weight = np.zeros((*column.weight.shape, len(columns)))
            weight[:, :, k] = column.weight
            weights.append(weight)
            rows.append(column.row)
            which.append(column.which + len(classes))
            classes += column.classes
        row = np.concatenate(rows, axis=1)
        units = 1 + max(int(unit.max()), int(unit_of_row.max()))
        everyone = np.concatenate([unit[:, None], unit_of_row[row]], axis=1)
        return cls(everyone, np.concatenate(weights, axis=1), row, np.concatenate(which), classes, unit_of_row, units)

    def of_a_reference_with_itself(self) -> Float[np.ndarray, "column column"]:
        """Sum_i sum_u (v_iu - p_iu)(v_iu - p_iu)', with p_iu the expectation of the donors' part in v_iu.

        In expectation: two parts of one reference count if they are of one unit, less how often a donor that is
        drawn from its class is of the unit of another part. Donors of one class have that in common.
        """
        place = np.arange(len(self.unit))[:, None] * self.units + self.unit
        number = np.unique(place, return_inverse=True)[1].reshape(-1)
        together = _summed(number, self.weight.reshape(number.size, -1), int(number.max()) + 1)
        found = together.T @ together
        halved = np.concatenate([self.weight[:, :1], self.weight[:, 1:] / 2], axis=1)
        classes, weight = self._by_class()
        keys, share = self._shares()
        for c in range(classes.shape[1]):
            wanted = classes[:, c, None] * self.units + self.unit
            at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            expected = np.einsum("ie,iek->ik", np.where(keys[at] == wanted, share[at], 0.0), halved)
            both = expected.T @ weight[:, c]
            found -= both + both.T
        return found

    @property
    def _class_of_row(self) -> Int[np.ndarray, "partition row"]:
        """The class of each row in each partition; no two partitions have one in common."""
        sizes = [int(ids.max()) + 1 for ids in self.classes]
        return np.stack(self.classes) + np.cumsum([0, *sizes[:-1]])[:, None]

    def _by_class(self) -> tuple[Int[np.ndarray, "reference some"], Float[np.ndarray, "reference some column"]]:
        """The classes that a reference's donors are of, and what these have together; zero where there are fewer."""
        of = self._class_of_row[self.which, self.row]
        order = np.argsort(of, axis=1, kind="stable")
        of = np.take_along_axis(of, order, axis=1)
        at = np.concatenate([np.zeros((len(of), 1), int), np.cumsum(np.diff(of, axis=1) != 0, axis=1)], axis=1)
        some = int(at.max()) + 1
        place = np.arange(len(of))[:, None] * some + at
        weight = np.take_along_axis(self.weight[:, 1:], order[:, :, None], axis=1).reshape(of.size, -1)
        classes = np.zeros(len(of) * some, dtype=np.int64)
        classes[place.ravel()] = of.ravel()
        weight = _summed(place.ravel(), weight, len(classes))
        return classes.reshape(-1, some), weight.reshape(len(of), some, -1)

    def _shares(self) -> tuple[Int[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
        """Pairs of a class and a unit that has rows in it, as class * units + unit, and its share of the class."""
        of = self._class_of_row
        keys, counts = np.unique(of * self.units + self.unit_of_row, return_counts=True)
        return keys, counts / np.bincount(of.ravel())[keys // self.units]


def _of_the_dataset(
    columns: Sequence[Column], between: Float[np.ndarray, "column column"], finite: float
) -> Float[np.ndarray, "column column"]:
    """The covariance of means as estimates of the dataset's: what is left out of it, and the draws of donors.

    Where no column has several draws, the variance of donors cannot be told from that of references: the ordinary one
    is then what there is, and is too large.
    """
    several = [column for column in columns if column.draws is not None and column.draws.shape[1] > 1]
    if not several:
        return between
    n, draws = several[0].draws.shape  # pyright: ignore[reportOptionalMemberAccess]
    around = np.stack([np.broadcast_to(c.by_draw - c.values[:, None], (n, draws)).ravel() for c in columns], axis=1)
    within = around.T @ around / (draws - 1) / draws / n**2
    return within + max(0.0, 1 - finite) * (between - within)
