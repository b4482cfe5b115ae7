"""A module as a function of columns: which column is which argument, and which tensors it returns."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scrubbing.errors import ModelError, nearest
from scrubbing.graph.data import as_columns

OUTPUT = "output"  # the name of an output that has none


class OfColumns(nn.Module):
    """A module, or a function, that takes a dict of columns and returns a dict of tensors."""

    def __init__(
        self, fn: Callable[..., Any], given: Sequence[str], bound: Mapping[str, Any], *, by_name: bool
    ) -> None:
        super().__init__()
        self.given = tuple(given)  # the columns that are its arguments
        self.module = fn if isinstance(fn, nn.Module) else Function(fn)
        self.by_name = by_name
        self.constants = {name: value for name, value in bound.items() if not isinstance(value, Tensor)}
        self.tensors = [name for name, value in bound.items() if isinstance(value, Tensor)]
        for name in self.tensors:
            self.register_buffer(f"bound_{name}", bound[name], persistent=False)
        self.eval()

    def forward(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors that the module returns; what else it returns (caches, None) is left out."""
        bound = self.constants | {name: getattr(self, f"bound_{name}") for name in self.tensors}
        values = {name: columns[name] for name in self.given}
        return tensors(self.module(**values, **bound) if self.by_name else self.module(*values.values(), **bound))


class Function(nn.Module):
    """A plain function as a module."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The function's value."""
        return self.fn(*args, **kwargs)


def tensors(value: Any, name: str = "") -> dict[str, Tensor]:
    """The tensors in what a module returns, by name: of dicts, dataclasses and named tuples their fields.

    >>> list(tensors((torch.zeros(2), {"logits": torch.zeros(2), "cache": None})))
    ['output_0', 'output_1_logits']
    """
    if isinstance(value, Tensor):
        return {name or OUTPUT: value}
    if isinstance(value, Mapping):
        parts = dict(value)
    elif is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: getattr(value, f.name) for f in fields(value)}
    elif isinstance(value, tuple | list):
        named = getattr(value, "_asdict", None)
        parts = named() if named else {f"{'' if name else OUTPUT + '_'}{i}": part for i, part in enumerate(value)}
    else:
        return {}
    prefix = f"{name}_" if name else ""
    return {key: tensor for i, part in parts.items() for key, tensor in tensors(part, f"{prefix}{i}").items()}


def named_inputs(fn: Callable[..., Any], given: Any) -> dict[str, Tensor]:
    """The example as columns: a tensor, or several, by the names of the module's parameters.

    Raises `ModelError` for a module that takes fewer, and for fewer than two rows; `DataError` for what is no column.
    """
    if not isinstance(given, Mapping):
        values = given if isinstance(given, tuple | list) else (given,)
        names = list(_parameters(fn) or ())
        if len(names) < len(values):
            raise ModelError(
                f"{_called(fn)} has {len(names)} parameters that can be named, and {len(values)} inputs are given; "
                f"give a dict of columns by name"
            )
        given = dict(zip(names, values, strict=False))
    columns = as_columns(given)
    for name, column in columns.items():
        if not isinstance(column, Tensor):
            raise ModelError(f"the column {name!r} is text; a module takes tensors")
        if not name.isidentifier():
            raise ModelError(f"{name!r} is not a name that Python allows for a parameter; rename the column")
    rows = len(next(iter(columns.values())))
    if rows < 2:
        raise ModelError("the example has one row; give at least two different rows, or no mixing of rows would show")
    return {name: column for name, column in columns.items() if isinstance(column, Tensor)}


def arguments(fn: Callable[..., Any], columns: Mapping[str, Tensor], read: frozenset[str]) -> tuple[list[str], bool]:
    """The columns that go to the module, and whether by name; those that are `read` by the loss alone do not.

    Columns go by name to the parameters that are called so. If none is, they go by position.
    """
    parameters = _parameters(fn)
    by_name = [c for c in columns if parameters is not None and c in parameters]
    if not by_name:
        if not (given := [c for c in columns if c not in read]):
            raise ModelError("no column is an argument of the module; name columns as its parameters are named")
        return given, False
    for column in columns:
        if column not in by_name and column not in read:
            if not _takes_any_name(fn):
                raise ModelError(
                    f"the column {column!r} is no parameter of {_called(fn)}, and the loss does not read it"
                    f"{nearest(column, parameters or ())}"
                )
            by_name.append(column)
    return by_name, True


def _signature(fn: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(fn.forward if isinstance(fn, nn.Module) else fn).parameters


def _parameters(fn: Callable[..., Any]) -> list[str] | None:
    """The parameters that can be given by name; None if they cannot be read."""
    try:
        found = _signature(fn).values()
    except (TypeError, ValueError):
        return None
    return [p.name for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _takes_any_name(fn: Callable[..., Any]) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in _signature(fn).values())


def _called(fn: Callable[..., Any]) -> str:
    return f"{type(fn).__name__}.forward" if isinstance(fn, nn.Module) else getattr(fn, "__name__", repr(fn))


def subject(module: Any) -> Callable[..., Any]:
    """What is taken apart: the module itself, or the one inside what wraps it.

    Raises `ModelError` for what cannot be called, TorchScript, and a module in training mode.
    """
    if isinstance(module, type) or not callable(module):
        raise ModelError(f"{module!r} is no module and no function; give an object, such as nn.Linear(2, 3)")
    if isinstance(module, torch.jit.ScriptModule | torch.jit.ScriptFunction):
        raise ModelError("TorchScript cannot be taken apart; give the nn.Module that it was made from")
    inside = "original_model" if type(module).__module__.startswith("transformer_lens") else "_orig_mod"
    module = getattr(module, inside, module)  # of a bridge, or of what torch.compile returned
    if isinstance(module, nn.Module):
        training = next((name for name, part in module.named_modules() if part.training), None)
        if training is not None:
            raise ModelError(f"{training or type(module).__name__!r} is in training mode; call .eval() on the module")
    return module
