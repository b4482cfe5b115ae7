"""Annotated shapes are checked while tests run; what has none is left as it is.

pyright reads all other types, and to check them in each call takes three times as long as the tests themselves.
"""

import re
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import partial, wraps
from inspect import isclass
from typing import Any, get_args

import jaxtyping
from jaxtyping import AbstractArray, config, install_import_hook, jaxtyped


def _has_shapes(annotation: object) -> bool:
    if isinstance(annotation, list | tuple):  # the parameters of a Callable
        return any(map(_has_shapes, annotation))
    if isclass(annotation) and issubclass(annotation, AbstractArray):
        return True
    if isinstance(annotation, str):
        return re.search(r"\[(Tensor|np\.ndarray),", annotation) is not None
    return any(map(_has_shapes, get_args(annotation)))


def _checked(function: Callable, typechecker: Callable) -> Callable:
    """Each argument and the result are looked at once, and the sizes of a call must agree.

    `jaxtyped(typechecker=...)` looks at all arguments again with the result, and takes three times as long.
    """
    if not any(map(_has_shapes, getattr(function, "__annotations__", {}).values())):
        return function
    checking = typechecker(function)

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if config.jaxtyping_disable:
            return function(*args, **kwargs)
        with jaxtyped("context"):
            return checking(*args, **kwargs)

    return called


def checked(written: Any, typechecker: Callable) -> Any:
    """A function, property or dataclass whose arrays' shapes are checked in each call."""
    if isinstance(written, property):
        return property(*(each and _checked(each, typechecker) for each in (written.fget, written.fset, written.fdel)))
    if isinstance(written, staticmethod | classmethod):
        return type(written)(_checked(written.__func__, typechecker))
    if not isclass(written):
        return _checked(written, typechecker)
    if is_dataclass(written) and "__init__" in vars(written):
        written.__init__ = _checked(written.__init__, typechecker)
    return written


def check_shapes(*packages: str) -> None:
    """In all modules of these packages that are imported from here on.

    The option --jaxtyping-packages refuses packages that were imported before it, and pytest has imported the plugin
    in this one; what has shapes to check, that does not load.
    """
    # The hook writes jaxtyped(typechecker=...) above each function and class.
    jaxtyping.jaxtyped = lambda *, typechecker: partial(checked, typechecker=typechecker)
    install_import_hook(packages, "beartype.beartype")
