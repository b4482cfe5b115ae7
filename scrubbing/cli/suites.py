"""The installed suites: `scrubbing list` names them, and commands that run one ask here for its experiments."""

import ast
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scrubbing.cli.options import Precision
from scrubbing.errors import DataError, HypothesisError, nearest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from scrubbing.experiments.suites import Suite

GROUP = "scrubbing.hypotheses"


def installed(
    suite: Annotated[str | None, typer.Argument(show_default=False, help="Explain this one, and its options.")] = None,
) -> None:
    """List the suites of hypotheses that are installed, or explain one of them.

    The options that `scrubbing score induction --set NAME=VALUE` takes:

        scrubbing list induction
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from scrubbing.cli.output import show

    if suite is not None:
        from scrubbing.cli.settings import options_table

        show(Group(Text(summary(_entry(suite))), Text(""), options_table(_loaded(suite, "suite"))))
        return
    table = Table.grid(padding=(0, 2))
    for name, entry in sorted(_entries().items()):
        table.add_row(Text(name, style="bold"), Text(summary(entry)))
    show(table if table.row_count else Text(f"no hypotheses are installed (entry-point group {GROUP})"))


def experiments(
    suite: str,
    *,
    model: Path | None,
    data: Path | None,
    only: Sequence[str] | None,
    options: Sequence[str] | None,
    dtype: Precision,
    device: str,
) -> "Suite":
    """The experiments of an installed suite, on a model and data, with options of its own ("per=position")."""
    from scrubbing.cli.settings import read_options

    make = _loaded(suite, "suite")
    return make(model, data, **_numbers(dtype, device), **read_options(make, options or [])).only(only or [])


def heads(suite: str, *, model: Path | None, data: Path | None, dtype: Precision, device: str) -> Any:
    """What the heads of a suite's model attend to, as a table."""
    return _loaded(suite, "heads")(model, data, **_numbers(dtype, device))


def summary(entry: "EntryPoint") -> str:
    """What a suite's module says of itself, read from its source: importing it would take seconds."""
    spec = _found(entry.module)
    if spec is None:
        return f"(there is no module {entry.module})"
    try:
        text = ast.get_docstring(ast.parse(Path(spec.origin or "").read_bytes()))
    except (OSError, SyntaxError, ValueError):
        text = None
    return text.splitlines()[0] if text else f"({entry.module} says nothing of itself)"


def _found(module: str) -> ModuleSpec | None:
    """Where a module is, without importing the packages that it is in."""
    spec, names = None, module.split(".")
    for depth in range(1, len(names) + 1):
        path = spec.submodule_search_locations if spec else None
        finders = sys.meta_path if path is None else [PathFinder]
        found = (finder.find_spec(".".join(names[:depth]), path) for finder in finders if hasattr(finder, "find_spec"))
        spec = next((one for one in found if one is not None), None)
        if spec is None:
            return None
    return spec


def _entries() -> "Mapping[str, EntryPoint]":
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _entry(name: str) -> "EntryPoint":
    found = _entries()
    if name not in found:
        hint = nearest(name, found) or f"; there are {', '.join(sorted(found)) or 'none'}"
        raise HypothesisError(f"there are no hypotheses called {name!r}{hint}")
    return found[name]


def _loaded(name: str, what: str) -> Any:
    """What a suite's module offers under this name."""
    entry = _entry(name)
    try:
        module = entry.load()
    except Exception as error:  # whatever a module that somebody else wrote raises
        raise HypothesisError(
            f"the hypotheses {name!r} ({entry.module}) cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not hasattr(module, what):
        raise HypothesisError(f"{entry.module} has no function {what!r}, so there is nothing of {name!r} to show")
    return getattr(module, what)


def _numbers(dtype: Precision, device: str) -> dict[str, Any]:
    """In which numbers, and where, to compute."""
    import torch

    try:
        torch.ones(1, device=device).tolist()
    except Exception as error:  # torch raises a dozen types for devices that it does not have
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"the device {device!r} cannot be used here ({reason}); try --device cpu") from None
    return {"dtype": getattr(torch, dtype.value), "device": device}
