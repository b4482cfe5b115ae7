"""The trace of a module of which some submodules cannot be exported: those are called."""

import warnings
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from scrubbing.errors import ModelError, ScrubbingWarning
from scrubbing.lens.modules.columns import OfColumns
from scrubbing.lens.modules.exporting import UnexportableError, exported
from scrubbing.lens.modules.opaque import Called, called, opaque, recorded
from scrubbing.lens.modules.trace import Trace


def traced(whole: OfColumns, columns: Mapping[str, Tensor], wanted: tuple[str, ...]) -> tuple[Trace, dict[int, Called]]:
    """The trace for the wanted outputs, and the calls of modules in it, by number.

    Warns of each submodule that is called. Raises `ModelError` where nothing can be traced.
    """
    calls: dict[nn.Module, list[Called]] = {}
    while True:
        try:
            with opaque(calls.values()) as numbered:
                return Trace(exported(whole, columns), whole, wanted), dict(numbered)
        except UnexportableError as error:
            more = _that_fail(error, whole, columns)
            new = [module for module in more if module not in calls]
            if not new:
                raise ModelError(f"the module cannot be exported, nor called as one node: {error}") from error
            for module in new:
                path = more[module][0].path
                said = f"{repr(path) if path else 'the module'} cannot be exported ({error})"
                warnings.warn(f"{said}: it stays one node, which calls it", ScrubbingWarning, stacklevel=3)
            calls |= more


def _that_fail(
    error: UnexportableError, whole: OfColumns, columns: Mapping[str, Tensor]
) -> dict[nn.Module, list[Called]]:
    """The calls of the innermost submodule in which export failed, and of all others of its class.

    If it cannot be called alone (with a cache, or more often for other rows), then of the one around it.
    """
    runs = [recorded(whole, rows) for rows in (columns, {name: column[:-1] for name, column in columns.items()})]
    refused: ModelError | None = None
    for failed in [*_running(error), whole.module]:
        found: dict[nn.Module, list[Called]] = {}
        try:
            for module in runs[0]:
                if type(module) is type(failed):
                    found[module] = called(module, runs[0][module], runs[1].get(module, []))
        except ModelError as given:
            refused = given
        if failed in found:
            return found
    raise refused or ModelError(f"the module cannot be exported: {error}")


def _running(error: BaseException | None) -> Iterator[nn.Module]:
    """The modules that were being called when an error arose, the innermost first."""
    while error is not None:
        frames, traceback = [], error.__traceback__
        while traceback is not None:
            frames.append(traceback.tb_frame.f_locals.get("self"))
            traceback = traceback.tb_next
        yield from (module for module in reversed(frames) if isinstance(module, nn.Module))
        error = error.__cause__ or error.__context__
