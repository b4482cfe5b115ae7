"""Annotated shapes are checked while tests run; what has none is left as it is.

pyright reads all other types, and to check them in each call takes three times as long as the tests themselves.
"""

import re
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import partial, update_wrapper, wraps
from inspect import isclass
from types import FunctionType, SimpleNamespace
from typing import Any, get_args, get_type_hints

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


def _type(annotation: object, known: dict[str, Any]) -> object:
    """An annotation with the types that it names; anything, where a name is one for pyright alone."""
    try:
        return get_type_hints(SimpleNamespace(__annotations__={"it": annotation}), known, include_extras=True)["it"]
    except Exception:  # a NameError, or whatever else an annotation raises where it is read
        return Any


def _with_types(function: Any) -> Callable:
    """A copy of the function with types in the place of their names."""
    copied = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    update_wrapper(copied, function).__kwdefaults__ = function.__kwdefaults__
    copied.__annotations__ = {name: _type(a, function.__globals__) for name, a in function.__annotations__.items()}
    del copied.__wrapped__
    return copied


def _checked(function: Callable, typechecker: Callable) -> Callable:
    """Each argument and the result are looked at once, and the sizes of a call must agree.

    `jaxtyped(typechecker=...)` looks at all arguments again with the result, and takes three times as long.
    """
    if not any(map(_has_shapes, getattr(function, "__annotations__", {}).values())):
        return function
    checking = typechecker(_with_types(function))

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
