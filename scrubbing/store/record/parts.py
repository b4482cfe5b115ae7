"""What a record says of functions, nodes, hypotheses and data."""

from collections.abc import Callable
from dataclasses import fields
from types import ModuleType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from scrubbing.graph import Graph, Node, Reads
from scrubbing.graph.data import Data, as_columns
from scrubbing.graph.fingerprint import digest, import_path, source, used_values
from scrubbing.graph.hypothesis import Hypothesis

Scalar = bool | int | float | str | None


class RecordPart(BaseModel):
    """Anything that stands in a record."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class FunctionRecord(RecordPart):
    """A function by where it is imported from, its source, and fingerprints of the values that it uses.

    `kind` "object" is a callable object, by its class; of its fields, `scalars` are kept as they are and functions
    (of a wrapper, the wrapped) as `functions`.
    """

    kind: Literal["reads", "function", "object"]
    path: str | None = None
    source: str | None = None
    digest: str = "reads"
    values: dict[str, str] = {}
    scalars: dict[str, Scalar] = {}
    functions: dict[str, "FunctionRecord"] = {}

    @classmethod
    def of(cls, fn: Callable[..., Any]) -> "FunctionRecord":
        """The record of a live function."""
        if isinstance(fn, Reads):
            return cls(kind="reads")
        used = {name: value for name, value in used_values(fn).items() if not isinstance(value, ModuleType)}
        is_object = not hasattr(fn, "__qualname__")
        parts = used if is_object else {}
        return cls(
            kind="object" if is_object else "function",
            path=import_path(fn),
            source=source(fn),
            digest=digest(fn),
            values={name: digest(value) for name, value in used.items()},
            scalars={name: value for name, value in parts.items() if isinstance(value, Scalar)},
            functions={name: cls.of(value) for name, value in parts.items() if callable(value)},
        )


class NodeRecord(RecordPart):
    """A node; `options` are what it says besides (its position axis, whether it claims per position)."""

    inputs: tuple[str, ...]
    function: FunctionRecord
    options: dict[str, Any] = {}

    @classmethod
    def of(cls, node: Node) -> "NodeRecord":
        """The record of a live node."""
        others = [f for f in fields(node) if f.name not in ("fn", "inputs")]
        options = {f.name: getattr(node, f.name) for f in others if getattr(node, f.name) != f.default}
        options |= {"keeps": sorted(node.keeps)} if node.keeps else {}
        return cls(inputs=node.inputs, function=FunctionRecord.of(node.fn), options=options)


class HypothesisRecord(RecordPart):
    """The graphs by node, the correspondence, and what is declared."""

    G: dict[str, NodeRecord]
    I: dict[str, NodeRecord]
    c: dict[str, str] = {}
    columns: tuple[str, ...] = ()
    scramble: tuple[str, ...] = ()

    @classmethod
    def of(cls, h: Hypothesis) -> "HypothesisRecord":
        """The record of a live hypothesis."""
        return cls(G=_nodes(h.G), I=_nodes(h.I), c=dict(h.c), columns=h.columns, scramble=h.scramble)


class DataRecord(RecordPart):
    """The content hash of a dataset, and of each column."""

    digest: str
    rows: int = Field(ge=1)
    columns: dict[str, str]

    @classmethod
    def of(cls, data: Data) -> "DataRecord":
        """The record of a dataset; the order of its columns is no part of it."""
        columns = as_columns(data)
        digests = {name: digest(columns[name]) for name in sorted(columns)}
        return cls(digest=digest(digests), rows=len(next(iter(columns.values()))), columns=digests)


def _nodes(graph: Graph) -> dict[str, NodeRecord]:
    return {name: NodeRecord.of(graph[name]) for name in graph.order}
