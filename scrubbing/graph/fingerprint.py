"""Fingerprints by content: of values, and of functions by their source and the values that they use.

Three kinds of equality share one hash (`content_hash`) and one way to read a tensor (`tensor_hash`):

- Is it the same hypothesis, in another file, process or year? `digest`, here, compares source and not compiled code.
- Would it give the same score again? `scrubbing.store.dependencies` covers all code that a call can reach.
- Is it the same call in this run? Components compare by value, which is cheap.
"""

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

PIECE = 2**24  # numbers of a tensor that are read at once
LITERALS = (bool, int, float, complex, str, bytes, type(None), type(...), range, slice, torch.dtype, torch.device)


def digest(value: Any, *, identify: Callable[[Any], Any] | None = None) -> str:
    """A fingerprint of a value's content: tensors by dtype, shape and bytes (on any device), functions by their source.

    Objects of other types (files, generators) are equal if their types are, unless `identify` (for example `id`)
    distinguishes them. The same holds for modules, whose attributes may be more than weights.
    """
    return content_hash(repr(_content(value, (), identify)).encode(errors="surrogatepass"))


def content_hash(content: str | bytes | memoryview) -> str:
    """The hash of texts and bytes, here and in the store."""
    return blake2b(content.encode() if isinstance(content, str) else content, digest_size=16).hexdigest()


def in_pieces(value: Tensor) -> Sequence[Tensor]:
    """A tensor's rows, some at a time: what is made of a large one is as large again."""
    if not value.ndim or value.numel() <= PIECE or not len(value):
        return [value]
    return value.split(max(1, PIECE * len(value) // value.numel()))


def tensor_hash(value: Tensor) -> str:
    """The hash of a tensor's numbers, of any type and on any device; of a view, as its copy would have."""
    found = blake2b(digest_size=16)
    for piece in in_pieces(value) if value.layout == torch.strided and not value.is_quantized else [value]:
        found.update(_bytes(piece))
    return found.hexdigest()


def _bytes(value: Tensor) -> memoryview:
    if value.is_meta:
        return memoryview(b"")  # it has a shape and a type alone
    data = value.detach()
    data = data.dequantize() if data.is_quantized else data if data.layout == torch.strided else data.to_dense()
    data = data.resolve_conj().resolve_neg().cpu().contiguous()
    return data.reshape(-1).view(torch.uint8).numpy().data


def import_path(fn: Any) -> str | None:
    """Where a function or the class of an object is imported from: "module:qualname"; None for what has no module."""
    named = inspect.unwrap(fn) if isinstance(fn, FunctionType | BuiltinFunctionType | type) else type(fn)
    module = getattr(named, "__module__", None)
    return f"{module}:{named.__qualname__}" if module else None


def source(fn: Any) -> str | None:
    """The source of a function, or of the class of a callable object, without comments, docstrings and layout.

    None for functions that are built in or were typed in at a prompt.
    """
    if not isinstance(fn, FunctionType | type):
        return _source(fn.__func__ if isinstance(fn, MethodType) else type(fn))
    return _source(inspect.unwrap(fn))


@functools.lru_cache(maxsize=1024)
def _source(named: Any) -> str | None:
    try:
        if named.__name__ == "<lambda>":
            return _lambda_source(named)
        return _without_docstrings(ast.parse(textwrap.dedent(inspect.getsource(named))))
    except (OSError, TypeError, SyntaxError):  # typed in at a prompt, built in, or cut out of its file's context
        return None


def _without_docstrings(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def used_values(fn: Any) -> dict[str, Any]:
    """What a function's result depends on besides its arguments: by name, its defaults, closure and globals.

    Of a frozen dataclass its fields; of a bound method its object.
    """
    if isinstance(fn, MethodType):
        return {"self": fn.__self__}
    if isinstance(fn, functools.partial):
        return {"func": fn.func, "args": fn.args, **fn.keywords}
    if isinstance(fn, FunctionType):
        return _free_values(inspect.unwrap(fn))
    if is_dataclass(fn) and not isinstance(fn, type):
        return {f.name: getattr(fn, f.name) for f in fields(fn)}
    if isinstance(fn, torch.nn.Module):
        return {"layers": str(fn), **fn.state_dict()}
    return {}


def _free_values(fn: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(fn).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    try:
        variables = inspect.getclosurevars(fn)
    except ValueError:  # a variable of the surrounding function that has no value yet
        return defaults
    return {**variables.globals, **variables.nonlocals, **defaults}


def _content(value: Any, inside: tuple[Any, ...], identify: Callable[[Any], Any] | None) -> Any:
    """A value as nested tuples of strings. `inside` holds what is being looked at, which may refer to itself."""
    if isinstance(value, LITERALS):
        return type(value).__name__, repr(value)
    if any(value is outer for outer in inside):
        return ("itself",)
    inner = functools.partial(_content, inside=(*inside, value), identify=identify)
    if isinstance(value, Tensor):
        return "tensor", str(value.dtype), tuple(value.shape), tensor_hash(value)
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        value = np.array(value.tolist()) if value.dtype.kind in "US" else value  # text, without room to spare
        return "array", str(value.dtype), value.shape, content_hash(np.ascontiguousarray(value).tobytes())
    if isinstance(value, tuple | list):
        return type(value).__name__, *map(inner, value)
    if isinstance(value, set | frozenset):
        return "set", *sorted(map(repr, map(inner, value)))
    if isinstance(value, Mapping):
        return "mapping", *sorted(repr((inner(k), inner(v))) for k, v in value.items())
    if isinstance(value, ModuleType):
        return "module", value.__name__
    if isinstance(value, type | BuiltinFunctionType) or _is_foreign(value, inside):
        return "import", import_path(value), getattr(value, "__qualname__", "")
    if identify is None or _shows_its_content(value):
        return _function_content(value, inner)
    return *_function_content(value, inner), repr(identify(value))


def _function_content(fn: Any, inner: Callable[[Any], Any]) -> Any:
    """A function by its source, wherever that stands; an object by its class, the source of that, and its fields."""
    values = tuple((name, inner(value)) for name, value in sorted(used_values(fn).items()))
    if isinstance(fn, FunctionType):
        return "function", source(fn) or _bytecode(inspect.unwrap(fn).__code__), values
    return "object", import_path(fn), source(fn), values


def _shows_its_content(value: Any) -> bool:
    """Whether `used_values` has all that an object's behaviour depends on."""
    return isinstance(value, FunctionType | MethodType | functools.partial) or is_dataclass(value)


def _is_foreign(value: Any, inside: tuple[Any, ...]) -> bool:
    """Whether a function belongs to another package than the function that uses it: its name is enough then."""
    users = [v for v in inside if isinstance(v, FunctionType)]
    return isinstance(value, FunctionType) and bool(users) and _package(value) != _package(users[-1])


def _package(fn: Any) -> str:
    return (fn.__module__ or "").partition(".")[0]


def _bytecode(code: Any) -> tuple[Any, ...]:
    consts = (_bytecode(c) if inspect.iscode(c) else repr(c) for c in code.co_consts)
    return code.co_code.hex(), code.co_names, code.co_varnames, *consts


# -- lambdas: inspect cannot separate several of them in one statement


def _lambda_source(fn: Any) -> str | None:
    lines, _ = inspect.findsource(fn)
    code = fn.__code__
    starts_here = [
        node
        for node in _lambdas("".join(lines))
        if node.lineno == code.co_firstlineno and _parameters(node) == code.co_varnames[: len(_parameters(node))]
    ]
    places = [(a, c, b, d) for a, b, c, d in code.co_positions() if a and b and c is not None and d]
    around = [n for n in starts_here if all(_encloses(n.body, *place) for place in places)]
    innermost = sorted(around, key=lambda n: (n.lineno, n.col_offset))[-1:]
    return ast.unparse(innermost[0]) if innermost and (places or len(around) == 1) else None


@functools.lru_cache(maxsize=32)
def _lambdas(text: str) -> tuple[ast.Lambda, ...]:
    return tuple(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Lambda))


def _parameters(node: ast.Lambda) -> tuple[str, ...]:
    return tuple(a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs))


def _encloses(node: ast.expr, line: int, column: int, end_line: int, end_column: int) -> bool:
    end = (node.end_lineno or 0, node.end_col_offset or 0)
    return (node.lineno, node.col_offset) <= (line, column) and (end_line, end_column) <= end
