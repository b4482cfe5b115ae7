"""Nodes by name, and by the role of the positions where they count: "a9_h9@END"."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated

from scrubbing.errors import GraphError, nearest
from scrubbing.errors.arguments import checked
from scrubbing.graph import Graph
from scrubbing.rewrite import split_positions

Names = Annotated[str | Sequence[str], 'names of nodes, with * for what varies, such as "a5_* m5"']


@checked
def named(G: Graph, names: Names) -> tuple[str, ...]:
    """The nodes that are named, in the order of the graph: words, with `*` and `?` for what varies.

    A dot stands for the underscore of a head's name: "a5.*" is "a5_*".

    >>> G = Graph(a0_h0=lambda x: x, a0_h1=lambda x: -x, loss=lambda a0_h0, a0_h1: a0_h0 + a0_h1)
    >>> named(G, "loss a0.*")
    ('a0_h0', 'a0_h1', 'loss')

    Raises `GraphError` for a word that names nothing.
    """
    found = {name for word in _words(names) for name in _like(G, word)}
    return tuple(name for name in G.order if name in found)


@dataclass(frozen=True, order=True)
class Place:
    """A node, everywhere or at the positions of a role: a column with a position for each row, or several."""

    node: str
    role: str = ""

    def __str__(self) -> str:
        return f"{self.node}@{self.role}" if self.role else self.node


@checked
def places(G: Graph, names: Names) -> tuple[Place, ...]:
    """The places that are named, in the order of the graph: "a9.*@END" is all heads of a layer at the role `END`.

    >>> G = Graph(a0_h0=lambda x: x, a0_h1=lambda x: -x, loss=lambda a0_h0, a0_h1: a0_h0 + a0_h1)
    >>> [str(place) for place in places(G, "a0.*@END a0_h0@S2")]
    ['a0_h0@END', 'a0_h0@S2', 'a0_h1@END']

    Raises `GraphError` for a word that names nothing, or no role after the @.
    """
    found: dict[str, dict[Place, None]] = {}
    for word in _words(names):
        pattern, at, role = word.partition("@")
        if at and not role.isidentifier():
            raise GraphError(f"{word!r} names no role; write a column of positions after the @, such as {pattern}@END")
        for name in _like(G, pattern):
            found.setdefault(name, {})[Place(name, role)] = None
    return tuple(place for name in G.order if name in found for place in found[name])


@dataclass(frozen=True)
class Split:
    """A graph in which nodes are the sum of what they write at the positions of roles, and elsewhere."""

    G: Graph
    roles: Mapping[str, tuple[str, ...]]  # by node

    @classmethod
    def of(cls, G: Graph, chosen: Iterable[Place]) -> "Split":
        """The graph with the nodes split that are named with a role. Raises `GraphError` for those without positions.

        >>> from hypotheses.induction.suite import SHIPPED
        >>> from scrubbing.lens import load_transformer, transformer
        >>> split = Split.of(transformer(load_transformer(SHIPPED)), [Place("a0_h0", "end"), Place("a0_h1")])
        >>> split.G["logits"].inputs[1:4]
        ('a0_h0_at_end', 'a0_h0_elsewhere', 'a0_h1')
        """
        roles: dict[str, dict[str, None]] = {}
        for place in chosen:
            if place.role:
                roles.setdefault(place.node, {})[place.role] = None
        for node, of in roles.items():
            G = split_positions(G, node, **{part(Place(node, role)): role for role in of})
        return cls(G, {node: tuple(of) for node, of in roles.items()})

    def parts(self, node: str) -> dict[str, Place]:
        """The nodes that a split node is the sum of, with their places; elsewhere has none that can be named."""
        named = (Place(node, role) for role in self.roles[node])
        return {part(place): place for place in named} | {f"{node}_elsewhere": Place(node, "*")}

    def of_place(self, place: Place) -> tuple[str, ...]:
        """The nodes that together write what is written at a place."""
        return tuple(self.parts(place.node)) if place.node in self.roles and not place.role else (part(place),)


def part(place: Place) -> str:
    """The node that has what is written at a place."""
    return f"{place.node}_at_{place.role}" if place.role else place.node


def whole(node: str) -> str:
    """The node that has all of what is split."""
    return f"{node}_whole"


def _words(names: str | Sequence[str]) -> list[str]:
    return [word for given in ([names] if isinstance(names, str) else names) for word in given.split()]


def _like(G: Graph, word: str) -> list[str]:
    like = [name for name in G if fnmatchcase(name, word.replace(".", "_"))]
    if not like:
        close = nearest(word, G, cutoff=0.3) or f"; there are {', '.join(G.order[:8])}, ..."
        raise GraphError(f"there is no node {word!r}{close}")
    return like
