"""Builders of common hypotheses: all of this matters, a circuit."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from scrubbing.errors import HypothesisError
from scrubbing.errors.arguments import checked
from scrubbing.experiments.places import Names, Place, Split, named, part, places, whole
from scrubbing.graph import Graph, Node, reads
from scrubbing.graph.hypothesis import Hypothesis

Edges = Annotated[Mapping[str, str | Sequence[str]], "a dict from nodes to what they read"]

OPEN = "_open"  # what the name of a part ends in whose value a circuit leaves open


@checked
def kept(G: Graph, *names: str) -> dict[str, Node]:
    """Claims that nodes matter with everything upstream of them, whatever columns that is: add them with `|`.

    `donors={name: rows}` gives such a node the value that it has in other rows.

    >>> from scrubbing import Graph, Hypothesis, kept, reads, scrub
    >>> G = Graph(a=lambda x1: 2 * x1, b=lambda x2: x2, both=lambda a, b: a * b, loss=lambda a, both: a + both)
    >>> claims = Graph(loss=reads("both")) | kept(G, "both")
    >>> claims["both"].inputs
    ('x1', 'x2')

    Raises `GraphError` for a name that is no node.
    """
    return {name: _kept(G, name) for name in named(G, names)}


def _kept(G: Graph, name: str) -> Node:
    node, columns = G[name], G.upstream_columns[name]
    # A claim of a column that the node reads itself is about that edge alone, and says nothing of the other inputs.
    also = {i for i in node.inputs if i in G and G.upstream_columns[i] & node.read}
    claim = reads(*sorted(columns))
    return Node(claim.fn, claim.inputs, keeps=frozenset(also)) if also else claim


@checked
def circuit(G: Graph, nodes: Names | Edges) -> Hypothesis:
    """The claim that only these nodes matter, on the edges between them; every other input is unclaimed.

    Name nodes, or give a dict from nodes to those that they read, where not all edges are in the circuit. "a9_h9@END"
    is a node at the positions of a role: a column of the data with a position for each row. What the node writes
    elsewhere is unclaimed then, position by position. The output belongs to every circuit, and so does what it reads,
    if that is one node (logits). With `unclaimed="mean"` or "zero", `scrub` ablates what is outside; by default it is
    resampled.

    >>> from scrubbing import Graph, circuit
    >>> G = Graph(
    ...     embed=lambda x: x,
    ...     a0_h0=lambda embed: 2 * embed,
    ...     a0_h1=lambda embed: 3 * embed,
    ...     logits=lambda embed, a0_h0, a0_h1: embed + a0_h0 + a0_h1,
    ...     loss=lambda logits, y: abs(logits - y),
    ... )
    >>> circuit(G, "embed a0_h1").I
    Graph of 4 nodes, output 'loss', columns x, y
      embed(x)
      a0_h1(embed)
      logits(embed, a0_h1)
      loss(logits, y)
    >>> circuit(G, {"logits": "a0_h1", "a0_h1": "embed"}).I["logits"].inputs
    ('a0_h1',)

    Raises `GraphError` for a name that is no node, `HypothesisError` for a node that no path within the circuit joins
    to the data or to the output. `scrub` raises `DataError` for a role that is missing in some rows.

    Source: Wang et al. 2022, Interpretability in the Wild: a circuit is a subgraph, with everything else knocked out.
    """
    edges, inside = _edges_of(G, nodes) if isinstance(nodes, Mapping) else ({}, set(places(G, nodes)))
    inside |= {Place(name) for name in _spine(G)}
    everywhere = set() if edges else {place.node for place in inside if not place.role}
    inside = {place for place in inside if not place.role or place.node not in everywhere}
    split = Split.of(G, sorted(inside))
    return _Claims(split, inside, edges).hypothesis


def _edges_of(G: Graph, nodes: Mapping[str, Any]) -> tuple[dict[str, set[Place]], set[Place]]:
    """What each node reads, and every place that is named."""
    read: dict[Place, set[Place]] = {}
    for reader, given in nodes.items():
        for place in places(G, reader):
            read.setdefault(place, set()).update(places(G, given))
    edges: dict[str, set[Place]] = {}
    for place, of in read.items():
        if edges.setdefault(place.node, of) != of:
            raise HypothesisError(
                f"{place.node!r} reads different nodes at different roles, and computes one value for all of them; "
                f"say once what it reads: {{{place.node!r}: ...}}"
            )
    return edges, {*read, *(place for of in read.values() for place in of)}


@dataclass(frozen=True)
class _Claims:
    """The claims of a circuit in the making.

    A part of a split node that a reader may not read is claimed where it stands, and its value is open: it is masked
    by the reference's role, not by the donor's.
    """

    split: Split
    inside: Collection[Place]
    edges: Mapping[str, Collection[Place]]
    pieces: dict[str, Node] = field(default_factory=dict)  # the parts of split nodes that are read
    c: dict[str, str] = field(default_factory=dict)

    @property
    def hypothesis(self) -> Hypothesis:
        """The claims of every node of the circuit."""
        G, claims = self.split.G, dict[str, Node]()
        members = {whole(p.node) if p.role else p.node: p.node for p in self.inside}
        members |= {node: node for node in self.split.roles if node in G}  # the sum of its parts
        for name in G.order:
            if name in members:
                claims[name] = self._claim(name, self.edges.get(members[name], self.inside))
        claims |= self.pieces
        _refuse_unread(G, claims, {part(place): str(place) for place in self.inside if place.role})
        return Hypothesis(G, Graph(claims), self.c)

    def _claim(self, name: str, allowed: Collection[Place]) -> Node:
        G, inputs, found = self.split.G, list[str](), False
        of_parts = {i: place for node in self.split.roles for i, place in self.split.parts(node).items()}
        for i in G[name].inputs:
            if i in of_parts and name in self.split.roles:  # what it adds up
                allowed = self.inside
            place = of_parts.get(i, Place(i))
            if i not in G or place in allowed or Place(place.node) in allowed:
                found, inputs = True, [*inputs, self._piece(i, opened=False) if i in of_parts else i]
            elif i in of_parts and any(other.node == place.node for other in allowed):
                inputs.append(self._piece(i, opened=True))
            elif i in self.split.roles and any(other.node == i for other in allowed):
                found, inputs = True, [*inputs, i]
        if not found and G.upstream_columns[name]:
            raise HypothesisError(
                f"no path within the circuit leads from the data to {name!r}; "
                f"name some of what it reads: {', '.join(G[name].inputs)}"
            )
        return reads(*inputs)

    def _piece(self, name: str, *, opened: bool) -> str:
        """The claim of a part of a split node, with its value open or not."""
        known = f"{name}{OPEN}" if opened else name
        inputs = self.split.G[name].inputs
        self.pieces[known] = reads(*(i for i in inputs if not (opened and i in self.split.G)))
        if opened:
            self.c[known] = name
        return known


def _spine(G: Graph) -> set[str]:
    """The output, and as long as a node reads one node alone, that."""
    name, found = G.output, {G.output}
    while len(read := [i for i in G[name].inputs if i in G]) == 1:
        name = read[0]
        if not any(i in G for i in G[name].inputs):
            break
        found.add(name)
    return found


def _refuse_unread(G: Graph, claims: Mapping[str, Node], said: Mapping[str, str]) -> None:
    read = frozenset().union(*(node.read for node in claims.values()))
    for name in [*claims, *said]:
        if name not in read and name != G.output:
            raise HypothesisError(
                f"no path within the circuit leads from {said.get(name, name)!r} to the output {G.output!r}; "
                f"name some of what reads it: {', '.join(G.readers(name))}"
            )
