"""A fingerprint of everything that functions can depend on, as it is in memory.

`scrubbing.graph.fingerprint` says what a function is; this says whether an answer that it gave may be given again. So
it goes further: through methods, nested functions and modules to all code and values that a call can reach, as loaded
(a file may have been edited since). What is installed (and this package) is known by name, and its version stands
beside.
"""

import dis
import functools
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from hashlib import blake2b
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from scrubbing.graph.fingerprint import LITERALS, digest

PACKAGE = Path(__file__).resolve().parent.parent
INSTALLED = tuple(
    str(Path(folder)) for name, folder in sysconfig.get_paths().items() if name in ("stdlib", "purelib", "platlib")
)


@dataclass
class Dependencies:
    """What was reached: its fingerprint, the tensors, other packages, and what could not be looked into."""

    tensors: set[str] = field(default_factory=set)
    devices: set[str] = field(default_factory=set)
    packages: set[str] = field(default_factory=set)
    unseen: list[str] = field(default_factory=list)
    _content: Any = field(default_factory=lambda: blake2b(digest_size=16), repr=False)
    _met: dict[int, int] = field(default_factory=dict, repr=False)
    _held: list[Any] = field(default_factory=list, repr=False)  # an id says nothing once its object is gone

    @property
    def digest(self) -> str:
        """The fingerprint of all that was visited, in the order of the visits."""
        return self._content.hexdigest()

    def visit(self, value: Any) -> None:
        """Take in a value and all that it refers to."""
        if isinstance(value, LITERALS):
            self._say(type(value).__name__, repr(value))
        elif id(value) in self._met:
            self._say("again", str(self._met[id(value)]))
        else:
            self._met[id(value)] = len(self._met)
            self._held.append(value)
            self._say(type(value).__name__)
            self._visit_new(value)

    def _say(self, *words: str) -> None:
        for word in words:
            self._content.update(f"{len(word)}:{word}".encode(errors="surrogatepass"))

    def _visit_all(self, values: Iterable[Any]) -> None:
        for value in values:
            self.visit(value)
        self._say("end")

    def _visit_named(self, values: Mapping[Any, Any]) -> None:
        self._visit_all(part for name, value in values.items() for part in (name, value))

    def _visit_new(self, value: Any) -> None:
        if isinstance(value, Tensor | np.ndarray | np.generic) and not _is_of_objects(value):
            content = digest(value)
            self.tensors.add(content)
            if isinstance(value, Tensor):
                self.devices.add(str(value.device))
            self._say(content)
        elif isinstance(value, tuple | list):
            self._visit_all(value)
        elif isinstance(value, set | frozenset):
            self._visit_all(sorted(value, key=repr))
        elif isinstance(value, dict):
            self._visit_named(value)
        elif isinstance(value, ModuleType):
            self._say(value.__name__)
        elif isinstance(value, MethodType):
            self._visit_all([value.__self__, value.__func__])
        elif isinstance(value, functools.partial):
            self._visit_all([value.func, value.args, value.keywords])
        elif isinstance(value, staticmethod | classmethod):
            self.visit(value.__func__)
        elif isinstance(value, property):
            self.visit(value.fget)
        elif isinstance(value, functools.cached_property):
            self.visit(value.func)
        elif isinstance(value, FunctionType):
            self._visit_function(value)
        elif isinstance(value, type):
            self._visit_class(value)
        elif isinstance(value, functools._lru_cache_wrapper):
            self.visit(value.__wrapped__)
        else:
            self._visit_object(value)

    def _visit_function(self, fn: FunctionType) -> None:
        file = fn.__code__.co_filename
        wrapped = getattr(fn, "__wrapped__", None)
        if wrapped is not None and (_is_installed(file) or file.startswith("<@")):
            self._say(fn.__code__.co_qualname)  # another package's wrapper around a function, as type checkers make
            self.visit(wrapped)
        elif _is_installed(file):
            self._by_name(fn)
        else:
            self._visit_code(fn.__code__)
            self._visit_all(_cell(cell) for cell in fn.__closure__ or ())
            self._visit_all([fn.__defaults__, fn.__kwdefaults__])
            self._visit_named(dict(_globals(fn)))

    def _visit_code(self, code: CodeType) -> None:
        self._say(
            code.co_code.hex(), code.co_exceptiontable.hex(), *code.co_names, *code.co_varnames, *code.co_freevars
        )
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._visit_code(constant)
            else:
                self.visit(constant)

    def _visit_class(self, cls: type) -> None:
        for base in cls.__mro__[:-1]:
            if _is_installed_module(base.__module__):
                self._by_name(base)
            else:
                self._say(base.__qualname__)
                self._visit_named({name: member for name, member in vars(base).items() if _is_used(name, member)})

    def _visit_object(self, value: Any) -> None:
        self.visit(type(value))
        if is_dataclass(value):
            self._visit_named({f.name: getattr(value, f.name, None) for f in fields(value)})
            return
        if not isinstance(value, type(len)):
            try:
                state = value.__reduce_ex__(2)
            except Exception:  # whatever an object raises that cannot be taken apart
                self.unseen.append(f"{type(value).__module__}.{type(value).__qualname__}")
                return
            if not isinstance(state, str):
                self._visit_all(_without_caches(value, part) for part in state)
                return
        self._by_name(value)

    def _by_name(self, named: Any) -> None:
        module = getattr(named, "__module__", None) or type(named).__module__
        self._say(module, getattr(named, "__qualname__", repr(type(named))))
        self.packages.add(module.partition(".")[0])


def dependencies_of(values: Iterable[Any]) -> Dependencies:
    """Everything that these functions and values can depend on."""
    found = Dependencies()
    for value in values:
        found.visit(value)
    return found


def _is_of_objects(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic) and value.dtype == object


@functools.cache
def _is_installed(file: str) -> bool:
    """Whether code stands where only a new version changes it, and versions are told apart."""
    inside = (*INSTALLED, str(PACKAGE))
    return file.startswith("<frozen") or any(Path(file).is_relative_to(folder) for folder in inside)


def _is_installed_module(name: str) -> bool:
    """The same of a module. One of no file may have been typed in at a prompt; so may what is in `__main__`."""
    if name == "__main__":
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    return _is_installed(file) if file else name.partition(".")[0] in sys.stdlib_module_names


def _globals(fn: FunctionType) -> Iterator[tuple[str, Any]]:
    """The globals that a function's code uses, and of modules that are not installed what it may use of them."""
    loaded, names = _used_names(fn.__code__)
    for name in loaded:
        if name in fn.__globals__:
            value = fn.__globals__[name]
            yield name, value
            if isinstance(value, ModuleType) and not _is_installed_module(value.__name__):
                yield from ((f"{name}.{n}", vars(value)[n]) for n in names if n in vars(value))


@functools.lru_cache(maxsize=4096)
def _used_names(code: CodeType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of globals that code loads, and all names in it, attributes too; nested functions included."""
    loaded = {str(step.argval) for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    names = set(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            more_loaded, more_names = _used_names(inner)
            loaded.update(more_loaded)
            names.update(more_names)
    return tuple(sorted(loaded)), tuple(sorted(names))


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # no value yet
        return None


def _is_used(name: str, member: Any) -> bool:
    """Whether a call may use a member of a class; what only shows, compares or builds its objects is left out."""
    if name.startswith("__") and name.endswith("__"):
        return name in ("__call__", "__getattr__", "__getattribute__", "__getitem__", "__len__", "__iter__")
    return name != "_abc_impl"


def _without_caches(value: Any, part: Any) -> Any:
    """A part of an object's state: no results that it remembers, and what is iterated over as a list."""
    if isinstance(part, dict):
        kept = (k for k in part if not isinstance(getattr(type(value), str(k), None), functools.cached_property))
        return {k: part[k] for k in kept}
    return list(part) if isinstance(part, Iterator) else part
