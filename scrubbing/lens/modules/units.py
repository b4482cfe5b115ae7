"""Which operations of a trace are one node: each its own, or those of a module's call.

A node passes on values with one entry per row first, and no nodes read each other in a circle. So operations that would
break either are joined.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter

from torch import fx

from scrubbing.errors import ModelError, nearest
from scrubbing.lens.modules.trace import Call, Trace


@dataclass(frozen=True)
class Unit:
    """Operations that are one node."""

    operations: tuple[fx.Node, ...]
    results: tuple[fx.Node, ...]  # of them, those that other units read
    call: Call | None  # the module's call that it is; None for operations between such


def units(trace: Trace, chosen: frozenset[str] | None) -> list[Unit]:
    """The units of a trace: at its operations, or at the chosen submodules (by path) and those beside them.

    Raises `ModelError` for a chosen module that cannot be a node.
    """
    groups = _Groups(trace.operations)
    homes = {} if chosen is None else {op: c for op in trace.operations if (c := _home(trace.calls(op), chosen))}
    readers = _readers(trace)
    by_call: dict[str, fx.Node] = {}
    for op, call in homes.items():
        groups.join(by_call.setdefault(call.key, op), op)
    fixed = {op for op, call in homes.items() if chosen and call.path in chosen}
    for op in trace.operations:
        if not trace.has_rows(op):
            for reader in readers[op]:
                if fixed & {op, reader} and homes.get(op) != homes.get(reader):
                    raise _no_rows(trace, op, homes)
                groups.join(op, reader)
    if chosen is not None:
        wanted = set(trace.outputs.values())
        for op in reversed(trace.operations):
            together = groups.members(op)
            into = {groups.of(reader) for member in together for reader in readers[member]} - {groups.of(op)}
            if len(into) == 1 and not any(member in homes or member in wanted for member in together):
                (reader,) = into
                if _parent(trace, reader, homes) == trace.innermost(op).key:
                    groups.join(op, reader)
    _contract(trace, groups, readers, homes, fixed)
    return _units(trace, groups, readers, homes)


def chosen_paths(paths: Sequence[str], patterns: Iterable[str]) -> frozenset[str]:
    """The paths of submodules that patterns name, `*` for anything between two dots.

    >>> sorted(chosen_paths(["encoder", "encoder.0", "encoder.0.lin", "head"], ["encoder.*", "head"]))
    ['encoder.0', 'head']

    Raises `ModelError` for a pattern that matches nothing.
    """
    found: set[str] = set()
    for pattern in patterns:
        matched = {path for path in paths if _matches(path, pattern)}
        if not matched:
            raise ModelError(f"no submodule that is called matches {pattern!r}{nearest(pattern, paths)}")
        found |= matched
    return frozenset(found)


def _matches(path: str, pattern: str) -> bool:
    parts, patterns = path.split("."), pattern.split(".")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _home(calls: Sequence[Call], chosen: frozenset[str]) -> Call | None:
    """The outermost call that contains no chosen module. None for what stands between such calls."""
    for call in calls:
        prefix = f"{call.path}." if call.path else ""
        if not any(path != call.path and path.startswith(prefix) for path in chosen):
            return call
    return None


def _parent(trace: Trace, op: fx.Node, homes: Mapping[fx.Node, Call]) -> str:
    """The call that an operation's unit stands in: the one around its home, or its own if it has none."""
    if op not in homes:
        return trace.innermost(op).key
    keys = [call.key for call in trace.calls(op)]
    return keys[max(0, keys.index(homes[op].key) - 1)]


def _readers(trace: Trace) -> dict[fx.Node, list[fx.Node]]:
    readers: dict[fx.Node, list[fx.Node]] = {op: [] for op in trace.operations}
    for op in trace.operations:
        for read in trace.inputs(op):
            if read in readers:
                readers[read].append(op)
    return readers


def _contract(
    trace: Trace,
    groups: "_Groups",
    readers: Mapping[fx.Node, list[fx.Node]],
    homes: Mapping[fx.Node, Call],
    fixed: set[fx.Node],
) -> None:
    """Join the units that read each other in a circle."""
    while True:
        edges: dict[fx.Node, set[fx.Node]] = {}
        for op, reading in readers.items():
            for reader in reading:
                edges.setdefault(groups.of(reader), set()).add(groups.of(op))
        try:
            TopologicalSorter({unit: read - {unit} for unit, read in edges.items()}).prepare()
        except CycleError as error:
            circle = set(error.args[1])
            cut = next((op for op in trace.operations if op in fixed and groups.of(op) in circle), None)
            if cut is not None:
                raise ModelError(
                    f"the call of {homes[cut].path!r} cannot be cut out: what stands beside it passes values without "
                    f"one entry per row first around it; choose a module around it"
                ) from None
            first, *rest = circle
            for other in rest:
                groups.join(first, other)
        else:
            return


def _units(
    trace: Trace, groups: "_Groups", readers: Mapping[fx.Node, list[fx.Node]], homes: Mapping[fx.Node, Call]
) -> list[Unit]:
    members: dict[fx.Node, list[fx.Node]] = {}
    for op in trace.operations:
        members.setdefault(groups.of(op), []).append(op)
    wanted = set(trace.outputs.values())
    found = []
    for unit, operations in members.items():
        leaving = [op for op in operations if op in wanted or any(groups.of(r) is not unit for r in readers[op])]
        found.append(Unit(tuple(operations), tuple(leaving), homes.get(leaving[-1])))
    return found


def _no_rows(trace: Trace, op: fx.Node, homes: Mapping[fx.Node, Call]) -> ModelError:
    passes = f"{homes[op].path!r} passes on" if op in homes else "a chosen module reads"
    return ModelError(
        f"{passes} a value of shape {trace.shape(op)}, without one entry per row first; choose a module around it"
    )


class _Groups:
    """Disjoint sets of operations."""

    def __init__(self, operations: Iterable[fx.Node]) -> None:
        self._of = {op: [op] for op in operations}

    def members(self, op: fx.Node) -> list[fx.Node]:
        """The set that an operation is in."""
        return self._of[op]

    def of(self, op: fx.Node) -> fx.Node:
        """The operation that stands for the set of another."""
        return self._of[op][0]

    def join(self, one: fx.Node, other: fx.Node) -> None:
        """Make one set of two."""
        more, fewer = sorted((self._of[one], self._of[other]), key=len, reverse=True)
        if more is not fewer:
            more += fewer
            self._of |= dict.fromkeys(fewer, more)
