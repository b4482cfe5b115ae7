"""The hypothesis: a network's graph G, an explanation's graph I, and which node of G runs which node of I."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from scrubbing.errors import HypothesisError, displayed, nearest
from scrubbing.errors.arguments import checked
from scrubbing.graph.differences import Diff, diff
from scrubbing.graph.graph import Graph
from scrubbing.graph.nodes import Node


@dataclass(frozen=True)
class Hypothesis:
    """The claim that the network G computes what the explanation I computes, node by node.

    - `G`: the network, and `I`: the explanation, as graphs. Nodes of one name belong together
    - `c`: for nodes of I with another name in G, that name
    - `columns`: columns of the data that only features read
    - `scramble`: columns that G's output reads (labels, weights) and that you leave to a donor on purpose

    A node of I that reads a column keeps the value of its own datum there. If its node in G reads that column itself,
    the claim is about this one edge. If not, the claim is about all unclaimed paths from the column to the node. Take
    A = 2x, B = 3x, out = A + B: `out=reads("A")` scrubs B, and `out=lambda A, x: x` does not, since B then runs on
    out's own x.

    >>> from scrubbing import Graph, Hypothesis, reads
    >>> G = Graph(a=lambda x: 2 * x, b=lambda x: 3 * x, loss=lambda a, b, y: abs(a + b - y))
    >>> Hypothesis(G, Graph(a=reads("x"), loss=reads("a")))
    Traceback (most recent call last):
        ...
    scrubbing.errors.HypothesisError: G's output 'loss' reads the column 'y' and I's does not; ...
    >>> h = Hypothesis(G, Graph(a=reads("x"), loss=reads("a", "y")))
    >>> h.image("a"), dict(h.claimed_inputs("loss"))
    ('a', {'a': 'a'})

    Raises `HypothesisError` that lists everything that is wrong.

    Source: Chan et al. 2022, Causal Scrubbing: the triple (G, I, c).
    """

    G: Graph
    I: Graph
    c: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = field(default=(), kw_only=True)
    scramble: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        _refuse_other_types(self)
        object.__setattr__(self, "c", dict(self.c))  # a copy: what is derived from it below stays right
        problems = list(_problems(self))
        if problems:
            raise HypothesisError("\n".join(dict.fromkeys(problems)))

    @checked
    def diff(self, other: "Hypothesis") -> Diff:
        """How `other` differs: claims added, removed and changed."""
        return diff(self, other)

    def image(self, name: str) -> str:
        """The name in G of I's node `name`."""
        return self.c.get(name, name)

    def claimed_inputs(self, name: str) -> Mapping[str, str]:
        """The inputs of the node in G that I's node `name` claims, as `{name in G: name in I}`."""
        return MappingProxyType(self._claimed_inputs[name])

    def read_columns(self, name: str) -> tuple[str, ...]:
        """The columns that I's node reads."""
        return self._read_columns[name]

    def passed_columns(self, name: str) -> frozenset[str]:
        """The columns that I's node claims on all unclaimed paths into its image: those the image does not read."""
        return self._passed_columns[name]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return displayed(self)

    # -- computed once, since planning needs them at every edge

    @cached_property
    def _claimed_inputs(self) -> dict[str, dict[str, str]]:
        return {name: {self.image(m): m for m in node.inputs if m in self.I} for name, node in self.I.items()}

    @cached_property
    def _read_columns(self) -> dict[str, tuple[str, ...]]:
        return {name: tuple(m for m in node.inputs if m not in self.I) for name, node in self.I.items()}

    @cached_property
    def _passed_columns(self) -> dict[str, frozenset[str]]:
        columns = self._read_columns.items()
        return {name: frozenset(read) - self.G[self.image(name)].read for name, read in columns}


def _refuse_other_types(h: Hypothesis) -> None:
    for name, graph in (("G", h.G), ("I", h.I)):
        if not isinstance(graph, Graph):
            raise HypothesisError(f"{name} is {type(graph).__name__}, and must be a Graph: write Graph(...) around it")
    if not isinstance(h.c, Mapping):
        raise HypothesisError(f"c is {type(h.c).__name__}, and must map names of I to names of G: c={{'A': 'a0_h0'}}")
    if not all(isinstance(name, str) for pair in h.c.items() for name in pair):
        raise HypothesisError(f"c={dict(h.c)!r} must map names of I to names of G: c={{'A': 'a0_h0'}}")
    for name, names in (("columns", h.columns), ("scramble", h.scramble)):
        if not isinstance(names, tuple | list) or not all(isinstance(n, str) for n in names):
            example = names if isinstance(names, str) else "x"
            raise HypothesisError(f"{name}={names!r} must be names of columns in a tuple: {name}=({example!r},)")


def _problems(h: Hypothesis) -> Iterator[str]:
    yield from _correspondence_problems(h)
    if h.image(h.I.output) != h.G.output:
        yield (
            f"I's output {h.I.output!r} runs on {h.image(h.I.output)!r}, but it must run on G's output "
            f"{h.G.output!r}: rename it, or map it with c={{{h.I.output!r}: {h.G.output!r}}}"
        )
    columns = frozenset([*h.G.columns, *h.columns])
    for name, node in h.I.items():
        if h.image(name) in h.G:
            yield from _input_problems(h, name, node, columns)
            yield from _leaf_problems(h, name, columns)
    if h.image(h.I.output) == h.G.output:
        yield from _label_problems(h)


def _correspondence_problems(h: Hypothesis) -> Iterator[str]:
    for name in h.c:
        if name not in h.I:
            yield f"c maps {name!r}, which is no node of I{nearest(name, h.I)}"
    columns = {*h.G.columns, *h.columns}
    for name in h.I:
        if h.image(name) not in h.G:
            yield f"I's {name!r} runs on {h.image(name)!r}, which is no node of G{nearest(h.image(name), h.G)}"
        if name in columns:
            yield f"{name!r} is a node of I and a column of the data: rename the node"
    for column in h.columns:
        if column in h.G:
            yield f"{column!r} is declared as a column, but it is a node of G"


def _input_problems(h: Hypothesis, name: str, node: Node, columns: frozenset[str]) -> Iterator[str]:
    image = h.image(name)
    available = h.G[image]
    by_image: dict[str, str] = {}
    for read in node.inputs:
        if read in h.I:
            if h.image(read) not in h.G:
                continue  # reported already
            if h.image(read) not in available.read:
                yield _no_such_input(h, name, read)
            elif h.image(read) in by_image:
                yield f"{name!r} reads {by_image[h.image(read)]!r} and {read!r}, which both run on {h.image(read)!r}"
            by_image.setdefault(h.image(read), read)
        elif read in h.G:
            if read in available.read:
                leaf = ", ".join(f'"{c}"' for c in sorted(h.G.upstream_columns[read]))
                yield f"{name!r} reads {read!r}, which I does not have: claim it too, e.g. {read}=reads({leaf})"
            else:
                yield _no_such_input(h, name, read)
        elif read not in columns:
            yield _no_such_input(h, name, read)


def _no_such_input(h: Hypothesis, name: str, read: str) -> str:
    image, node = h.image(name), h.image(read)
    available = h.G[image].inputs
    reader = repr(name) if name == image else f"{name!r} (run by {image!r})"
    message = f"{reader} claims to read {read!r}, but {image!r} reads only: {', '.join(available) or 'nothing'}"
    if node in h.G:
        readers = ", ".join(map(repr, h.G.readers(node)))
        return message + (f"; {node!r} can be claimed where it is read: by {readers}" if readers else "")
    known = [*available, *h.I] if read not in h.G.columns else available
    return message + (nearest(read, known) or f"; a column for features alone is declared with columns=({read!r},)")


def _leaf_problems(h: Hypothesis, name: str, columns: frozenset[str]) -> Iterator[str]:
    read = h.read_columns(name)
    unknown = frozenset(read) - columns  # reported already
    if not read or unknown or h.claimed_inputs(name):
        return
    upstream = h.G.upstream_columns[h.image(name)]
    if not upstream & frozenset(read):
        also = " or ".join(map(repr, sorted(upstream)))
        yield (
            f"{name!r} reads {', '.join(map(repr, read))}, none of which reaches {h.image(name)!r}, "
            f"so the donor that it chooses would have no effect: read {also} as well"
        )


def _label_problems(h: Hypothesis) -> Iterator[str]:
    output = h.G.output
    columns = {i for i in h.G[output].inputs if i not in h.G}
    for column in sorted(columns - set(h.I[h.I.output].inputs) - set(h.scramble)):
        yield (
            f"G's output {output!r} reads the column {column!r} and I's does not; it belongs to the reference: "
            f"read it in I's {h.I.output!r}, or to scramble it on purpose say scramble=({column!r},)"
        )
    for column in sorted(set(h.scramble) & set(h.I[h.I.output].inputs)):
        yield (
            f"scramble names {column!r}, which I's output {h.I.output!r} reads, so that it stays the reference's: "
            f"leave it out of one of them"
        )
    for column in sorted(set(h.scramble) - columns):
        yield f"scramble names {column!r}, which is no column that G's output {output!r} reads"
