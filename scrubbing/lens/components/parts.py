"""Parts of a value that add up to it: at some positions, within a subspace."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.expressions import Caller, Expression, Leaf
from scrubbing.errors import DataError

Value = Float[Tensor, "batch position *vector"]


@dataclass(frozen=True, eq=False)
class AtPositions(Component):
    """A value at some positions, and 0 elsewhere: at `places` of each row, or where the columns that it reads say.

    A column has a position for each row, or several with -1 to fill up. With `complement` it is the other positions.
    """

    places: tuple[int, ...] = ()
    complement: bool = False

    def lower(self, arguments: tuple[Expression, ...], call: Caller) -> Expression | None:
        """The same, where the roles of all rows of the data are checked first."""
        checked = tuple(role_of(argument, call) for argument in arguments)
        return None if checked == arguments else call(self, checked)

    def __call__(self, value: Value, *columns: Int[Tensor, " batch"] | Int[Tensor, "batch place"]) -> Value:
        chosen = chosen_positions(value, self.places, columns) != self.complement
        return value.where(chosen.view(*chosen.shape, *[1] * (value.ndim - 2)), 0)


@dataclass(frozen=True, eq=False)
class Role(Component):
    """A column with a position for each row, as it is; a row that has none is refused, by its number in the data."""

    name: str

    def fitted(self, column: Any) -> "Role":
        """The same, if every row has a position. Raises `DataError` with the rows that have none."""
        role = torch.as_tensor(column)
        if role.is_floating_point() or role.is_complex() or role.dtype == torch.bool or role.ndim not in (1, 2):
            raise DataError(
                f"{self.name!r} is no role: it must hold a whole number for each row, the position, and is of type "
                f"{role.dtype}, shape {list(role.shape)}"
            )
        refuse_missing(self.name, role)
        return self

    def __call__(self, column: Int[Tensor, "batch *place"]) -> Int[Tensor, "batch *place"]:
        return column


def role_of(value: Expression, call: Caller) -> Expression:
    """What a column of positions is read by."""
    return call(Role(value.column), (value,)) if isinstance(value, Leaf) else value


def refuse_missing(name: str, role: Int[Tensor, "row *place"]) -> None:
    """Raise `DataError` for rows without a position; where rows may have several, none is a number of them too."""
    missing = torch.nonzero(role < 0)[:, 0].tolist() if role.ndim == 1 else []
    if missing:
        shown = ", ".join(map(str, missing[:5])) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise DataError(
            f"the role {name!r} is missing in row{'s' * (len(missing) > 1)} {shown}: the position there is "
            f"{int(role[missing[0]])}; leave those rows out, or give the role as [row, place] with -1 to fill up"
        )


def chosen_positions(
    value: Shaped[Tensor, "batch position *rest"], places: Sequence[int], columns: Sequence[Int[Tensor, "batch *place"]]
) -> Bool[Tensor, "batch position"]:
    """Which positions of a value are among some places, or where columns say.

    Raises `DataError` for a column that names a position that the value does not have.
    """
    chosen = torch.zeros(value.shape[:2], dtype=torch.bool, device=value.device)
    if places:
        chosen[:, [place for place in places if place < value.shape[1]]] = True
    for column in columns:
        refuse_missing("of these rows", column)
        at = column[:, None] if column.ndim == 1 else column
        if at.max() >= value.shape[1] or at.min() < -1:
            raise DataError(f"a role is at position {at.max()}; rows have {value.shape[1]} positions")
        row = torch.arange(len(value), device=value.device)[:, None].expand_as(at)
        chosen[row[at >= 0], at[at >= 0]] = True
    return chosen


@dataclass(frozen=True, eq=False)
class Within(Component):
    """What lies in a subspace of a vector's space, spanned by orthonormal rows; with `complement` what does not."""

    basis: Float[Tensor, "direction d_model"]
    complement: bool = False

    def __call__(self, value: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        inside = value @ self.basis.T @ self.basis
        return value - inside if self.complement else inside
