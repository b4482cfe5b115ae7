"""Annotated shapes are checked while tests run; what has none is left as it is.

pyright reads all other types, and to check them in each call takes three times as long as the tests themselves.
"""

import re
from functools import partial
from inspect import isclass
from typing import Any, get_args

import jaxtyping
from jaxtyping import AbstractArray, install_import_hook, jaxtyped


def _has_shapes(annotation: object) -> bool:
    if isinstance(annotation, list | tuple):  # the parameters of a Callable
        return any(map(_has_shapes, annotation))
    if isclass(annotation) and issubclass(annotation, AbstractArray):
        return True
    if isinstance(annotation, str):
        return re.search(r"\[(Tensor|np\.ndarray),", annotation) is not None
    return any(map(_has_shapes, get_args(annotation)))


def checked(written: Any = None, *, typechecker: Any) -> Any:
    """`jaxtyped` for functions, properties and dataclasses with an array's shape in their annotations."""
    if written is None:
        return partial(checked, typechecker=typechecker)
    if isinstance(written, property):
        function = written.fget
    elif isinstance(written, staticmethod | classmethod):
        function = written.__func__
    else:
        function = written.__init__ if isclass(written) else written
    annotations = getattr(function, "__annotations__", {}).values()
    return jaxtyped(written, typechecker=typechecker) if any(map(_has_shapes, annotations)) else written


def check_shapes(*packages: str) -> None:
    """In all modules of these packages that are imported from here on.

    The option --jaxtyping-packages refuses packages that were imported before it, and pytest has imported the plugin
    in this one; what has shapes to check, that does not load.
    """
    jaxtyping.jaxtyped = checked  # what the hook writes above each function and class
    install_import_hook(packages, "beartype.beartype")
