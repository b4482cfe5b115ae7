"""What differs by name between two mappings, and the differences of two hypotheses in words."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from operator import eq
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from scrubbing.graph.fingerprint import digest, source
from scrubbing.graph.graph import Graph
from scrubbing.graph.nodes import Node

T = TypeVar("T")


@dataclass(frozen=True)
class Changes(Generic[T]):
    """What one mapping has and another does not, and the pairs (old, new) that differ."""

    added: dict[str, T]
    removed: dict[str, T]
    changed: dict[str, tuple[T, T]]

    @property
    def names(self) -> frozenset[str]:
        """Everything that differs."""
        return frozenset((*self.added, *self.removed, *self.changed))

    @classmethod
    def of(cls, old: Mapping[str, T], new: Mapping[str, T], same: Callable[[T, T], bool] = eq) -> "Changes[T]":
        """The changes from an old mapping to a new one, each in the order of the mapping that has it.

        >>> Changes.of({"a": 1, "b": 2}, {"b": 3, "c": 4})
        Changes(added={'c': 4}, removed={'a': 1}, changed={'b': (2, 3)})
        """
        return cls(
            {name: value for name, value in new.items() if name not in old},
            {name: value for name, value in old.items() if name not in new},
            {n: (value, new[n]) for n, value in old.items() if n in new and not same(value, new[n])},
        )


@runtime_checkable
class Claims(Protocol):
    """The fields of a `Hypothesis` that are compared. (This module is below the one that defines it.)"""

    @property
    def G(self) -> Graph: ...
    @property
    def I(self) -> Graph: ...  # noqa: E743
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def scramble(self) -> tuple[str, ...]: ...
    def image(self, name: str) -> str: ...


@dataclass(frozen=True, eq=False)
class Claim:
    """One node of I, and the node of G that runs it. Equal claims have functions of equal source and values."""

    node: Node
    image: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Claim) and self.image == other.image and same_node(self.node, other.node)

    def __hash__(self) -> int:
        return hash((self.image, self.node.inputs))

    @property
    def feature(self) -> str:
        """The claim's function in one line; "" for `reads(...)`, which claims none."""
        if self.node.is_reads:
            return ""
        lines = (source(self.node.fn) or "").splitlines() or [""]
        return lines[0] if len(lines) == 1 and len(lines[0]) <= 80 else "a function of its own"

    def __str__(self) -> str:
        read = f"reads {', '.join(self.node.inputs) or 'nothing'}"
        return f"{read}, feature {self.feature}" if self.feature else read


@dataclass(frozen=True)
class Diff:
    """The changes from an old hypothesis to a new one; false if there are none.

    `changed` holds pairs (old, new). `declared` has the changes of `columns` and `scramble`; `network` names the nodes
    of G that were added, removed or changed.
    """

    added: Mapping[str, Claim] = field(default_factory=dict)
    removed: Mapping[str, Claim] = field(default_factory=dict)
    changed: Mapping[str, tuple[Claim, Claim]] = field(default_factory=dict)
    declared: tuple[str, ...] = ()
    network: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any((self.added, self.removed, self.changed, self.declared, self.network))

    def __str__(self) -> str:
        return "\n".join(self._lines()) or "no difference"

    def _lines(self) -> Iterator[str]:
        yield from (f"+ {name} {claim}" for name, claim in self.added.items())
        yield from (f"- {name} {claim}" for name, claim in self.removed.items())
        for name, (old, new) in self.changed.items():
            yield from (f"~ {name}: {change}" for change in _changes(old, new))
        yield from (f"~ {line}" for line in self.declared)
        if self.network:
            yield f"  the networks differ in {', '.join(self.network)}"


def diff(old: Claims, new: Claims) -> Diff:
    """The claims that `new` adds to, removes from and changes of `old`.

    Functions are the same if they are equal, or have the same source and use the same values.

    >>> from scrubbing import Graph, Hypothesis, reads
    >>> G = Graph(a=lambda x: x + 1, loss=lambda a, y: a - y)
    >>> nothing, all_ = Graph(loss=reads("y")), Graph(a=reads("x"), loss=reads("a", "y"))
    >>> print(diff(Hypothesis(G, nothing), Hypothesis(G, all_)))
    + a reads x
    ~ loss: reads a, y (was y)
    """
    claims = Changes.of(_claims(old), _claims(new))
    return Diff(
        claims.added, claims.removed, claims.changed, tuple(_declared(old, new)), _different_nodes(old.G, new.G)
    )


def _claims(h: Claims) -> dict[str, Claim]:
    return {name: Claim(node, h.image(name)) for name, node in h.I.items()}


def same_node(a: Node, b: Node) -> bool:
    """Whether two nodes read the same, compute the same and claim it in the same way."""
    return _options(a) == _options(b) and a.inputs == b.inputs and (a.fn == b.fn or digest(a.fn) == digest(b.fn))


def _options(node: Node) -> dict[str, Any]:
    return {f.name: getattr(node, f.name) for f in fields(node) if f.name not in ("fn", "inputs")}


def _changes(old: Claim, new: Claim) -> Iterator[str]:
    if old.image != new.image:
        yield f"runs on {new.image} (was {old.image})"
    if old.node.inputs != new.node.inputs:
        yield f"reads {', '.join(new.node.inputs) or 'nothing'} (was {', '.join(old.node.inputs) or 'nothing'})"
    if digest(old.node.fn) != digest(new.node.fn):
        if old.feature == new.feature:
            yield f"feature uses other values: {new.feature}"
        else:
            yield f"feature {new.feature or 'none'} (was {old.feature or 'none'})"
    options = _options(old.node)
    for name, value in _options(new.node).items():
        if value != options[name]:
            yield f"{name} {value} (was {options[name]})"


def _declared(old: Claims, new: Claims) -> Iterator[str]:
    for what in ("columns", "scramble"):
        before, after = set(getattr(old, what)), set(getattr(new, what))
        if before != after:
            yield f"{what}: {', '.join(sorted(after)) or 'none'} (was {', '.join(sorted(before)) or 'none'})"


def _different_nodes(old: Graph, new: Graph) -> tuple[str, ...]:
    if old is new:
        return ()
    nodes = Changes.of(old, new, same_node)
    return tuple(name for name in dict.fromkeys((*old, *new)) if name in nodes.names)
