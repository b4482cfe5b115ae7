"""A module's trace by `torch.export`, for any number of rows and free of side effects."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator, OpOverload
from torch.export import Dim, ExportedProgram, export


class UnexportableError(Exception):
    """What `torch.export` says of a module that it cannot trace, in one line."""


def exported(module: nn.Module, columns: Mapping[str, Tensor]) -> ExportedProgram:
    """The trace of a module of columns, for any number of rows.

    Raises `UnexportableError` where there is none.
    """
    batch = Dim("batch", min=1)  # one named size: several could be specialised unsaid
    try:
        with quiet(), torch.no_grad():
            sizes = ({name: {0: batch} for name in columns},)
            program = export(module, (dict(columns),), dynamic_shapes=sizes, strict=False)
            if any(_must_go(node.target) for node in program.graph.nodes):
                program = program.run_decompositions({})  # without what writes in place, and blocks of autocast
    except Exception as error:  # export raises whatever the module, or its own parts, raise
        raise UnexportableError(_in_a_line(error)) from error
    if any(isinstance(node.target, HigherOrderOperator) for node in program.graph.nodes):
        raise UnexportableError("control flow that depends on values")
    return program


def _must_go(target: Any) -> bool:
    if target is torch.ops.aten.detach_.default:  # of constants; it writes no numbers
        return False
    return isinstance(target, HigherOrderOperator) or (isinstance(target, OpOverload) and target._schema.is_mutable)


def _in_a_line(error: BaseException) -> str:
    if "specialized it to be a constant" in str(error):
        return "it makes a constant of the number of rows, as len(x) and int(x.shape[0]) do; write x.shape[0]"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0] if lines else type(error).__name__
    return line if len(line) <= 160 else f"{line[:157]}..."


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the pages that export prints and logs when it fails, and its warnings about how modules are written."""
    disabled = logging.root.manager.disable
    sink = io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
