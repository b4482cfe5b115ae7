"""One check of the types of all arguments that users give, driven by the annotations of what they call."""

import math
import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import wraps
from inspect import Parameter, signature
from numbers import Integral, Real
from types import FunctionType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, Unpack, get_args, get_origin

from scrubbing.errors import DataError, GraphError, HypothesisError, ModelError, ScrubbingError

F = TypeVar("F", bound=Callable[..., Any])

# How to say what is wanted. (By name: the types are defined in rooms above this one.)
WORDS = {
    "bool": "True or False",
    "int": "a whole number",
    "integer": "a whole number",
    "float": "a number",
    "str": "text",
    "bytes": "bytes",
    "NoneType": "None",
    "tuple": "a tuple",
    "list": "a list",
    "frozenset": "a frozenset",
    "Mapping": "a dict",
    "Sequence": "a list",
    "Iterable": "a list",
    "ndarray": "an array",
    "Tensor": "a tensor",
    "Table": "a table",
    "Path": "a path",
    "Graph": "a Graph (write Graph(name=function, ...))",
    "Node": "a Node (write Node(function, inputs))",
    "Hypothesis": "a Hypothesis (write Hypothesis(G, I))",
    "Score": "a Score (scrub returns them)",
    "Record": "a Record (load_record returns it)",
    "Transformer": "a Transformer (load_transformer returns it)",
    "Offsets": "offsets (write offset(1, 2))",
}
ERRORS: dict[str, type[ScrubbingError]] = {
    "Hypothesis": HypothesisError,
    "Graph": GraphError,
    "Node": GraphError,
    "Transformer": ModelError,
}


def checked(fn: F) -> F:
    """The function, with the types of its arguments checked at every call.

    A setting that is passed on (`**settings: Unpack[Settings]`) is checked where it arrives.

    >>> @checked
    ... def double(number: int) -> int:
    ...     return 2 * number
    >>> double("2")
    Traceback (most recent call last):
    scrubbing.errors.DataError: number='2', but it must be a whole number
    """
    taken = signature(fn)

    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name, given in taken.bind(*args, **kwargs).arguments.items():
            for said, value in _single(taken.parameters[name], given):
                check(said, value, taken.parameters[name].annotation)
        return fn(*args, **kwargs)

    return call  # pyright: ignore[reportReturnType]


def check_fields(instance: Any) -> None:
    """Check the types of the fields of a dataclass."""
    for field in fields(instance):
        check(field.name, getattr(instance, field.name), field.type)


def check(name: str, given: Any, wanted: Any) -> None:
    """Raise for a value of another type than the annotation `wanted`: what was given, and what it must be."""
    if not fits(given, wanted):
        error = next((error for kind, error in ERRORS.items() if kind in _kinds(wanted)), DataError)
        named = isinstance(given, FunctionType) and given.__name__ != "<lambda>"
        hint = " (it is a function: call it)" if named else ""
        raise error(f"{name}={shown(given)}{hint}, but it must be {in_words(wanted)}")


def check_between(name: str, given: Any, low: int | float, high: int | float, example: str) -> None:
    """Raise `DataError` for a number that is not above `low` and below `high`."""
    if not low < given < high:
        limits = f"above {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise DataError(f"{name}={given}, but it must be a number {limits}: {example}")


def fits(given: Any, wanted: Any) -> bool:
    """Whether a value is what an annotation says, entry by entry where it is a plain container.

    True is no number, and text no list of names. Numbers may be those of numpy. An annotation with words of its own,
    `Annotated[type, words]`, is shown by them.
    """
    if type(given) is wanted:  # most of what is asked, of each node of each graph
        return True
    origin, args = get_origin(wanted), get_args(wanted)
    kind = origin or wanted
    if isinstance(wanted, str):  # a class that is defined further down
        return any(cls.__name__ == wanted for cls in type(given).__mro__)
    if kind is Annotated:
        return fits(given, args[0])
    if kind in (Union, UnionType):
        return type(given) in args or any(fits(given, arg) for arg in args)
    if kind is Literal:
        return any(type(given) is type(arg) and given == arg for arg in args)
    if kind is Callable:
        return callable(given) and _takes(given, args[0] if args else Ellipsis)
    if kind in (int, float):
        return isinstance(given, Integral if kind is int else Real) and not isinstance(given, bool)
    if kind in (Any, Parameter.empty) or not isinstance(kind, type):  # anything, or a name for a type
        return True
    if not isinstance(given, kind) or (isinstance(given, str | bytes) and kind in (Sequence, Iterable, Collection)):
        return False
    if isinstance(given, Mapping):
        return not args or all(fits(key, args[0]) and fits(value, args[1]) for key, value in given.items())
    if isinstance(given, list | tuple | set | frozenset):
        return not args or all(type(one) is args[0] or fits(one, args[0]) for one in given)
    return True


def in_words(wanted: Any) -> str:
    """An annotation as a user would say it."""
    origin, args = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        return args[1]
    if origin in (Union, UnionType):
        return _either(in_words(arg) for arg in args)
    if origin is Literal:
        return _either(f'"{arg}"' for arg in args)
    if origin is Callable:
        return f"a function of {_values(args[0])}" if args and args[0] is not Ellipsis else "a function"
    name = _name(origin or wanted)
    words = WORDS.get(name, f"a {name}")
    if name == "Mapping":
        args, words = args[1:], "a dict by name"
    entry = next((arg for arg in reversed(args) if arg not in (Any, Ellipsis)), None)
    return words if entry is None else f"{words} (each entry {in_words(entry)})"


def shown(given: Any) -> str:
    """A value, in short."""
    if isinstance(given, FunctionType):
        return given.__name__
    try:
        return reprlib.repr(given).replace("\n", " ")
    except Exception:  # of a class that does not know how to show itself
        return f"<{type(given).__name__}>"


def _takes(fn: Callable[..., Any], wanted: Any) -> bool:
    """Whether a function can be called with as many arguments as its annotation says."""
    if wanted is Ellipsis:
        return True
    try:
        signature(fn).bind(*wanted)
    except TypeError:
        return False
    except ValueError:  # of what is written in C
        return True
    return True


def _single(parameter: Parameter, given: Any) -> Iterable[tuple[str, Any]]:
    if parameter.kind is Parameter.VAR_POSITIONAL:
        return [(parameter.name, value) for value in given]
    if parameter.kind is Parameter.VAR_KEYWORD:
        return given.items() if get_origin(parameter.annotation) is not Unpack else ()
    return [(parameter.name, given)]


def _values(arguments: Sequence[Any]) -> str:
    return {0: "nothing", 1: "one value"}.get(len(arguments), f"{len(arguments)} values")


def _either(words: Iterable[str]) -> str:
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} or {last}" if first else last


def _name(kind: Any) -> str:
    return kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))


def _kinds(wanted: Any) -> set[str]:
    """The names of all types in an annotation."""
    return {_name(wanted)}.union(*map(_kinds, get_args(wanted)))
