"""A trace, read: which values depend on the columns, and are nodes, and which are the same for all rows."""

import operator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx.node import map_arg

from scrubbing.errors import ModelError
from scrubbing.lens.modules.operations import Bound

aten = torch.ops.aten

# Of a module in eval mode, and where nothing is written in place, these return what they are given.
IDENTITIES = frozenset(
    {
        aten.dropout.default,
        aten.feature_dropout.default,
        aten.alpha_dropout.default,
        aten.detach.default,
        aten.detach_.default,
        aten.alias.default,
        aten.lift_fresh_copy.default,
        aten.contiguous.default,
        aten.clone.default,
    }
)
COLUMN, WEIGHT, BATCH = "column", "weight", "batch"  # what a value may depend on


@dataclass(frozen=True)
class Call:
    """One call of a module: its key tells repeated calls apart."""

    key: str
    path: str  # from the module that is taken apart, which has ""


ROOT = Call("", "")  # of what stands in no call


@dataclass(frozen=True)
class Trace:
    """The trace of a module, with the tensors that it uses."""

    program: ExportedProgram
    module: nn.Module  # what was exported
    wanted: tuple[str, ...]  # of its outputs
    _held: dict[Any, Bound] = field(default_factory=dict, repr=False)  # by memory: a tied weight is hashed once
    _computed: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def columns(self) -> dict[fx.Node, str]:
        """The columns, by what stands for them."""
        names = _keys(self.program.call_spec.in_spec, 0, 0)  # of the dict that is the one argument
        given = [n for n in self.program.graph.nodes if n.op == "placeholder" and n.name not in self._specs]
        return dict(zip(given, names, strict=True))

    @cached_property
    def outputs(self) -> dict[str, fx.Node]:
        """The wanted tensors of those that the module returns, by name.

        Raises `ModelError` for one that depends on no column, or has no rows.
        """
        (output,) = (n for n in self.program.graph.nodes if n.op == "output")
        names = _keys(self.program.call_spec.out_spec)
        returned = dict(zip(names, output.args[0][-len(names) :], strict=True))  # after buffers that are written
        found = {name: original(returned[name]) for name in self.wanted}
        for name, value in found.items():
            if not self.by_columns(value):
                raise ModelError(f"{name!r}, which the module returns, depends on no column")
            if not self.has_rows(value):
                raise ModelError(
                    f"{name!r}, which the module returns, has shape {self.shape(value)}, not one entry per row first"
                )
        return found

    def shape(self, node: fx.Node) -> str:
        """A value's shape in words."""
        sizes = [_size(size) for size in getattr(node.meta["val"], "shape", ())]
        return f"[{', '.join('rows' if size == self.batch else str(size) for size in sizes)}]"

    @cached_property
    def _specs(self) -> dict[str, Any]:
        """Everything that is given to the trace and is no column."""
        inputs = self.program.graph_signature.input_specs
        return {spec.arg.name: spec for spec in inputs if spec.kind is not InputKind.USER_INPUT}

    @cached_property
    def batch(self) -> Any:
        """The symbol of the number of rows."""
        return next(iter(self.columns)).meta["val"].shape[0].node.expr

    @cached_property
    def depends(self) -> dict[fx.Node, frozenset[str]]:
        """What each value depends on. The number of rows is one source, wherever it is read from."""
        found: dict[fx.Node, frozenset[str]] = {}
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                spec = self._specs.get(node.name)
                weight = spec is not None and spec.kind is InputKind.PARAMETER
                found[node] = frozenset([COLUMN] if spec is None else [WEIGHT] if weight else [])
            elif self.is_batch(node):
                found[node] = frozenset([BATCH])
            else:
                found[node] = frozenset().union(*(found[i] for i in node.all_input_nodes))
        return found

    def is_batch(self, node: fx.Node) -> bool:
        """Whether a value is the number of rows, read from a tensor."""
        return node.target is aten.sym_size.int and _size(node.meta["val"]) == self.batch

    def has_rows(self, node: fx.Node) -> bool:
        """Whether a value is a tensor with one entry per row first."""
        value = node.meta.get("val")
        return isinstance(value, Tensor) and value.ndim > 0 and _size(value.shape[0]) == self.batch

    def by_columns(self, node: fx.Node) -> bool:
        """Whether a value depends on the columns."""
        return COLUMN in self.depends[node]

    def inputs(self, node: fx.Node) -> list[fx.Node]:
        """What an operation reads, each once, what passes on its input unchanged left out."""
        return list(dict.fromkeys(map(original, node.all_input_nodes)))

    @cached_property
    def operations(self) -> list[fx.Node]:
        """The operations on columns that the outputs need, in order."""
        needed: set[fx.Node] = set()
        waiting = list(self.outputs.values())
        while waiting:
            node = waiting.pop()
            if node not in needed and self.by_columns(node) and node.op == "call_function":
                needed.add(node)
                waiting += self.inputs(node)
        return [node for node in self.program.graph.nodes if node in needed]

    def calls(self, node: fx.Node) -> list[Call]:
        """The calls that an operation is part of, the outermost first."""
        stack = node.meta.get("nn_module_stack") or {}
        return [
            Call(key, path.removeprefix("module").removeprefix("."))
            for key, (path, _) in stack.items()
            if path.partition(".")[0] == "module"
        ]

    def innermost(self, node: fx.Node) -> Call:
        """The call that an operation stands in."""
        return (self.calls(node) or [ROOT])[-1]

    # -- values that are the same for all rows

    def bound(self, node: fx.Node) -> Bound | None:
        """The tensor to bind for a value; None for one that its readers compute.

        Weights are bound as they are, and what is computed from weights alone is computed again in every reader, so
        that no weight is copied. All else that depends neither on columns nor on the number of rows is computed here.
        """
        if node.op == "placeholder":
            spec = self._specs.get(node.name)
            return None if spec is None else self._hold(self._tensor(spec))
        if self.depends[node]:
            return None
        value = self._value(node)
        return self._hold(value) if isinstance(value, Tensor) else None

    def row(self, node: fx.Node) -> Bound | None:
        """The one row of a value that depends on the number of rows and has the same in all of them."""
        if self.depends[node] != {BATCH} or not self.has_rows(node):
            return None
        two, three = (self._value(node, rows) for rows in (2, 3))
        same = len(two) == 2 and len(three) == 3 and torch.equal(two[:1].expand_as(three), three)
        return self._hold(two[:1].clone()) if same else None

    def _hold(self, value: Tensor) -> Bound:
        value = value.detach()
        memory = value.data_ptr(), value.device, value.dtype, value.shape, value.stride()
        return self._held.setdefault(memory, Bound(value))

    def _tensor(self, spec: Any) -> Tensor:
        constant: Any = self.program.constants.get(spec.target)
        if constant is not None:
            return constant
        *parents, name = spec.target.split(".")
        return getattr(self.module.get_submodule(".".join(parents)), name)

    def _value(self, node: fx.Node, rows: int | None = None) -> Any:
        """The value of what depends on no column, for some number of rows."""
        if self.is_batch(node):
            return rows
        if (node, rows) not in self._computed:
            if node.op == "placeholder":
                found = self._tensor(self._specs[node.name])
            else:
                args, kwargs = map_arg((node.args, node.kwargs), lambda n: self._value(n, rows))
                found = node.target(*args, **kwargs)  # type: ignore[operator]
            self._computed[node, rows] = found
        return self._computed[node, rows]


def original(node: fx.Node) -> fx.Node:
    """The value itself, of one that is passed on unchanged."""
    while node.target in IDENTITIES or _changes_nothing(node):
        node = node.args[0]  # type: ignore[assignment]
    return node


def _changes_nothing(node: fx.Node) -> bool:
    """Whether it converts a tensor to what it is, or takes all of it."""
    target = node.target
    if not isinstance(target, OpOverload) or target._schema.name not in ("aten::to", "aten::_to_copy", "aten::slice"):
        return False
    before, after = node.args[0].meta["val"], node.meta["val"]  # type: ignore[union-attr]
    same = (before.dtype, before.device) == (after.dtype, after.device)
    return same and [*map(_size, before.shape)] == [*map(_size, after.shape)]


def _keys(spec: Any, *path: int) -> list[str]:
    """The keys of a dict that is a part of what a trace gets or returns."""
    return _keys(spec.child(path[0]), *path[1:]) if path else spec.context


def _size(value: Any) -> Any:
    return value.node.expr if isinstance(value, torch.SymInt) else value


def operation_name(node: fx.Node) -> str:
    """What a reader calls the operation: `linear`, `relu`; of a part of its value too."""
    while node.target is operator.getitem:
        node = node.args[0]  # type: ignore[assignment]
    target = node.target
    name = target._schema.name.partition("::")[2] if isinstance(target, OpOverload) else getattr(target, "__name__", "")
    return name.strip("_")
