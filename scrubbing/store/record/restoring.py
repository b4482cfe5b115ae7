"""From a record back to a hypothesis, of functions that the caller has imported."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import FunctionType, ModuleType
from typing import Any

from scrubbing.errors import HypothesisError
from scrubbing.errors.arguments import checked
from scrubbing.graph import Graph, Node, Reads
from scrubbing.graph.fingerprint import digest, import_path
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.store.record.files import Record
from scrubbing.store.record.parts import FunctionRecord, NodeRecord

Source = ModuleType | Hypothesis | Node | Mapping[str, Any] | Callable[..., Any]


@checked
def restore(record: Record, *sources: Source) -> Hypothesis:
    """The hypothesis of a record, made of functions that the caller has: nothing is imported.

    Functions are looked for in `sources` (modules, graphs, hypotheses, functions by name, functions) and in those
    modules that they were recorded from and that are imported already. Every one must have the fingerprint that it was
    recorded with. Weights are in no record: for a network that holds some, give its graph.

    >>> from hypotheses import toy
    >>> from scrubbing.store import Store  # or load_record(FILE)
    >>> from tempfile import TemporaryDirectory
    >>> case = toy.case("an or of thresholds")
    >>> with TemporaryDirectory() as folder:
    ...     _ = case.score(store=f"{folder}/store.db")
    ...     restore(Store(f"{folder}/store.db").record(1), toy.NETWORK, case.hypothesis) == case.hypothesis
    True

    Raises `HypothesisError` with all that is missing or has changed.
    """
    shelf = _Shelf(sources)
    G, I = (
        {name: shelf.node(f"{which}'s {name!r}", node) for name, node in nodes.items()}
        for which, nodes in (("G", record.hypothesis.G), ("I", record.hypothesis.I))
    )
    if shelf.problems:
        raise HypothesisError("\n".join(dict.fromkeys(shelf.problems)))
    h = record.hypothesis
    return Hypothesis(shelf.graph(G), shelf.graph(I), dict(h.c), columns=h.columns, scramble=h.scramble)


@dataclass
class _Shelf:
    """The functions at hand, and what was asked for in vain."""

    sources: tuple[Source, ...]
    problems: list[str] = field(default_factory=list)
    _digests: dict[int, str] = field(default_factory=dict)

    def node(self, name: str, record: NodeRecord) -> Node:
        """The live node."""
        unknown = sorted(record.options.keys() - {f.name for f in fields(Node)})
        if unknown:
            self.problems.append(f"{name} has the option {unknown[0]!r}, which no node of this version has")
            return Node(Reads(), record.inputs)
        options = {**record.options, "keeps": frozenset(record.options.get("keeps", ()))}
        return Node(self.function(name, record.function), record.inputs, **options)

    def function(self, name: str, record: FunctionRecord) -> Callable[..., Any]:
        """The live function; a problem and a stand-in where there is none."""
        if record.kind == "reads":
            return Reads()
        module, imported = _module(record)
        known = [*self.sources, *([imported] if imported else [])]
        alike = [fn for source in known for fn in _functions(source) if import_path(fn) == record.path]
        alike += [fn for fn in [_attribute(record)] if callable(fn)]
        for fn in alike:
            if self._digest(fn) == record.digest:
                return fn
        rebuilt = self._rebuilt(name, record) if record.kind == "object" else None
        if rebuilt is not None and self._digest(rebuilt) == record.digest:
            return rebuilt
        self.problems.append(_missing(name, record, module, imported, alike))
        return Reads()

    def graph(self, nodes: Mapping[str, Node]) -> Graph:
        """The graph of these nodes: the caller's own, which knows what it was rewritten from, if that is among them."""
        made = Graph(nodes)
        given = [getattr(s, which) for s in self.sources if isinstance(s, Hypothesis) for which in "GI"]
        return next((g for g in [*given, *self.sources] if isinstance(g, Graph) and g == made), made)

    def _digest(self, fn: Any) -> str:
        return self._digests.setdefault(id(fn), digest(fn))

    def _rebuilt(self, name: str, record: FunctionRecord) -> Any:
        """An object of an imported frozen dataclass, if its fields are all in the record."""
        cls = _attribute(record)
        if not isinstance(cls, type) or not is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # pyright: ignore
            return None
        if {f.name for f in fields(cls)} != record.scalars.keys() | record.functions.keys():
            return None
        return cls(**record.scalars, **{k: self.function(f"{name} ({k})", f) for k, f in record.functions.items()})


def _module(record: FunctionRecord) -> tuple[str, ModuleType | None]:
    name = (record.path or "").partition(":")[0]
    return name, sys.modules.get(name)


def _attribute(record: FunctionRecord) -> Any:
    """What stands at an import path in an imported module; None if nothing does."""
    _, imported = _module(record)
    found: Any = imported
    for part in (record.path or "").partition(":")[2].split("."):
        found = vars(found).get(part) if isinstance(found, ModuleType | type) else None
    return found


def _functions(source: Any, depth: int = 3) -> Iterator[Any]:
    """Every function in a module, graph, hypothesis or container, as far as looking runs no code."""
    if isinstance(source, Hypothesis):
        source = {"G": source.G, "I": source.I}
    if isinstance(source, ModuleType):
        source = {
            k: v for k, v in vars(source).items() if isinstance(v, Graph | Hypothesis | Node | dict | FunctionType)
        }
    if isinstance(source, Node):
        yield source.fn
    elif isinstance(source, Graph | dict):
        if depth:
            for value in source.values():
                yield from _functions(value, depth - 1)
    elif callable(source):
        yield source


def _missing(name: str, record: FunctionRecord, module: str, imported: ModuleType | None, alike: list[Any]) -> str:
    shown = f" `{record.source}`" if record.source and record.kind == "function" and "\n" not in record.source else ""
    wanted = f"{name} is {record.path or 'a function of no module'}{shown}"
    if module and imported is None:
        return f"{wanted}, and {module} is not imported: import it, or give the graph that has it"
    if record.path and "<" not in record.path and len(alike) == 1 and record.kind == "function":
        return (
            f"the source of {name} ({record.path}) has changed since the record was made, or a value that it uses has"
        )
    return (
        f"{wanted}, which is not among the functions given or imported: give the graph that has it, restore(record, G)"
    )
