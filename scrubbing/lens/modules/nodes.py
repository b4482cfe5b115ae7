"""From units to nodes: the code of each, what it binds, and its name."""

import keyword
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload

from scrubbing.engine.expressions import Item
from scrubbing.errors import ModelError
from scrubbing.graph import Node
from scrubbing.lens.modules.opaque import Called, is_call
from scrubbing.lens.modules.operations import Expected, Opaque, Operations
from scrubbing.lens.modules.trace import ROOT, Call, Trace, aten, operation_name, original
from scrubbing.lens.modules.units import Unit

VIEWS = {aten.view.default: aten.reshape.default, aten._unsafe_view.default: aten.reshape.default}


@dataclass
class Named:
    """The names of values in a graph; none is given twice."""

    taken: set[str]
    fixed: Mapping[fx.Node, str] = field(default_factory=dict)  # names of values that are not for choice
    values: dict[fx.Node, str] = field(default_factory=dict)

    def fresh(self, wanted: str) -> str:
        """A name like the wanted one that nothing has yet."""
        name = identifier(wanted)
        numbered = (f"{name}_{i}" for i in range(1, len(self.taken) + 2))
        free = name if name not in self.taken else next(n for n in numbered if n not in self.taken)
        self.taken.add(free)
        return free


def identifier(path: str) -> str:
    """The path of a module as a name that Python allows.

    >>> identifier("encoder.0.lin"), identifier("0"), identifier("in")
    ('encoder_0_lin', 'layer0', 'in_')
    """
    name = re.sub(r"\W", "_", path)
    name = f"layer{name}" if not name or name[0].isdigit() else name
    return f"{name}_" if keyword.iskeyword(name) else name


def nodes_of(trace: Trace, units: Sequence[Unit], named: Named, calls: Mapping[int, Called]) -> dict[str, Node]:
    """The nodes of a trace; `named` gets the name of every value that they pass on."""
    named.values |= trace.columns
    labels = _labels(trace, units)
    nodes: dict[str, Node] = {}
    results: list[tuple[Unit, str]] = []
    for unit in units:
        first, *others = unit.results
        name = named.fixed[first] if first in named.fixed and not others else named.fresh(labels[unit])
        results.append((unit, name))
        named.values[first] = name
        for i, value in enumerate(unit.results if others else ()):
            item = named.values[value] = named.fixed.get(value) or named.fresh(f"{name}_{i}")
            nodes[item] = Node(Item((i,)), (name,))
    for unit, name in results:
        code = _Code(trace, unit, calls)
        nodes[name] = Node(code.function(), tuple(named.values[value] for value in code.values))
    return nodes


def _labels(trace: Trace, units: Sequence[Unit]) -> dict[Unit, str]:
    """What to call the units: by the module's call that each is, or that most of its operations stand in.

    The operation is added where that call has several units.
    """
    places = {unit: unit.call or _place(trace, unit) for unit in units}
    several = Counter(place.key for place in places.values())
    labels: dict[Unit, str] = {}
    for unit, place in places.items():
        path = place.path + _repeat(place.key)
        last = [op for op in unit.operations if trace.innermost(op) == place] or unit.operations
        parts = [path] if path and several[place.key] == 1 else [path, operation_name(last[-1])]
        whole = not path and (unit.call or any(map(is_call, unit.operations)))
        labels[unit] = "module" if whole else ".".join(part for part in parts if part)
    return labels


def _place(trace: Trace, unit: Unit) -> Call:
    """The call that most operations of a unit stand in, of those that are around no other."""
    counts = Counter(trace.innermost(op) for op in reversed(unit.operations))
    around = {call for op in unit.operations for call in [ROOT, *trace.calls(op)[:-1]]}
    inner = {call: count for call, count in counts.items() if call not in around or len(counts) == 1}
    return max(inner, key=lambda call: inner[call])


def _repeat(key: str) -> str:
    """ "_1" for the second call of a module."""
    _, again, number = key.rpartition("@")
    return f"_{number}" if again and number.isdigit() else ""


class _Code:
    """The code of a unit, written line by line."""

    def __init__(self, trace: Trace, unit: Unit, calls: Mapping[int, Called]) -> None:
        self.trace, self.unit, self.calls = trace, unit, calls
        mine = set(unit.operations)
        read = (value for op in unit.operations for value in trace.inputs(op))
        self.values = list(dict.fromkeys(v for v in read if trace.by_columns(v) and v not in mine))
        self.bound: dict[Any, str] = {}
        self.names = {value: f"x{i}" for i, value in enumerate(self.values)}
        self.lines: list[tuple[str, str, list[str]]] = []  # what is assigned, its value, the names in it

    def function(self) -> Operations | Opaque:
        """The node's function."""
        for op in self.unit.operations:
            self._write(op)
        kept = [self.names[value] for value in self.unit.results]
        body = "".join(f"    {line}\n" for line in self._with_releases(set(kept)))
        returned = kept[0] if len(kept) == 1 else f"({', '.join(kept)})"
        parameters = ", ".join([*(self.names[value] for value in self.values), *self.bound.values()])
        code = f"def run({parameters}):\n{body}    return {returned}\n"
        operations = Operations(code, tuple(self.bound), tuple(map(self._expected, self.values)))
        return Opaque(operations) if any(isinstance(b, Called) for b in self.bound) else operations

    def _expected(self, value: fx.Node) -> Expected | None:
        if value not in self.trace.columns:
            return None
        example = value.meta["val"]
        return Expected(self.trace.columns[value], tuple(example.shape[1:]), example.dtype)

    def _name(self, value: fx.Node) -> str:
        """The name of a value, which is computed here first if it depends on no column."""
        value = original(value)
        if value not in self.names:
            trace = self.trace
            if trace.is_batch(value):
                self._assign(value, f"{self.names[self.values[0]]}.shape[0]", [])
            elif bound := trace.bound(value):
                self.names[value] = self._bind(bound)
            elif row := trace.row(value):
                name = self._bind(row)
                sizes = ", ".join(["x0.shape[0]", *["-1"] * (row.value.ndim - 1)])
                self._assign(value, f"{name}.expand({sizes})", [])
            else:
                self._write(value)
        return self.names[value]

    def _bind(self, value: Any) -> str:
        return self.bound.setdefault(value, f"w{len(self.bound)}")

    def _write(self, op: fx.Node) -> None:
        if is_call(op):
            which, inputs = op.args
            called, given = self._bind(self.calls[which]), [self._name(value) for value in inputs]  # type: ignore
            self._assign(op, f"{called}({', '.join(given)})", given)
            return
        used: list[str] = []
        arguments = [self._written(value, used) for value in op.args]
        arguments += [f"{key}={self._written(value, used)}" for key, value in op.kwargs.items()]
        self._assign(op, f"{_target(op.target)}({', '.join(arguments)})", used)

    def _written(self, value: Any, used: list[str]) -> str:
        if isinstance(value, fx.Node):
            name = self._name(value)
            used.append(name)
            return name
        if isinstance(value, tuple | list):
            return f"[{', '.join(self._written(part, used) for part in value)}]"
        return repr(value)

    def _assign(self, value: fx.Node, code: str, used: list[str]) -> None:
        name = self.names[value] = f"v{len(self.lines)}"
        self.lines.append((name, code, used))

    def _with_releases(self, kept: set[str]) -> list[str]:
        """The lines, each with the names deleted that are not used again: activations are large."""
        last: dict[str, int] = {}
        for at, (name, _, used) in enumerate(self.lines):
            last |= dict.fromkeys([name, *used], at)
        freed: dict[int, list[str]] = {}
        for name, at in last.items():
            if name.startswith("v") and name not in kept:
                freed.setdefault(at, []).append(name)
        return [
            f"{name} = {code}" + (f"; del {', '.join(freed[at])}" if at in freed else "")
            for at, (name, code, _) in enumerate(self.lines)
        ]


def _target(target: Any) -> str:
    """An operation, as code names it."""
    if isinstance(target, OpOverload):
        return f"torch.ops.{VIEWS.get(target, target)}"
    module, name = getattr(target, "__module__", ""), getattr(target, "__name__", "")
    found = {"_operator": "operator", "math": "math"}.get(module, "torch")
    if found == "torch" and getattr(torch, name, None) is not target:
        raise ModelError(f"the trace calls {target!r}, which no node can; call the module as a whole: nodes=[]")
    return f"{found}.{name}"
