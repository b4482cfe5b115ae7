"""The hypothesis: a network's graph G, an explanation's graph I, and which node of G runs which node of I."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from scrubbing.errors import HypothesisError, nearest
from scrubbing.graph.differences import Diff, diff
from scrubbing.graph.graph import Graph
from scrubbing.graph.nodes import Node


@dataclass(frozen=True)
class Hypothesis:
    """The claim that G computes what I computes, node by node (Chan et al. 2022: the triple (G, I, c)).

    `c` names the node of G for nodes of I that go by another name there. `columns` declares columns of the data that
    only features read. `scramble` names columns of G's output (labels, weights) that are left to a donor on purpose.

    What a node of I reads of the columns comes from its own datum. Where its image reads the column itself, that one
    edge is claimed. Where it does not, the column is claimed on all unclaimed paths into the image, by a function as by
    `reads`: with A = 2 x0, B = 3 x0 and out = A + B, the claim `out=reads("A")` leaves B to another datum, but
    `out=lambda A, x0: x0` also lets B run on out's own x0. A feature that is to pass nothing on reads a column that the
    network does not have.

    Raises `HypothesisError` with everything that is illegal about it.
    """

    G: Graph
    I: Graph
    c: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = field(default=(), kw_only=True)
    scramble: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "c", dict(self.c))  # what is found of it below stays true
        problems = list(_problems(self))
        if problems:
            raise HypothesisError("\n".join(dict.fromkeys(problems)))

    def diff(self, other: "Hypothesis") -> Diff:
        """What `other` claims otherwise: claims added, removed and changed."""
        return diff(self, other)

    def image(self, name: str) -> str:
        """The name in G of the node that runs I's `name`."""
        return self.c.get(name, name)

    def claimed_inputs(self, name: str) -> Mapping[str, str]:
        """What I's node claims of its image's inputs: G's name of each to I's name."""
        return MappingProxyType(self._claimed_inputs[name])

    def read_columns(self, name: str) -> tuple[str, ...]:
        """The columns that I's node reads."""
        return self._read_columns[name]

    def passed_columns(self, name: str) -> frozenset[str]:
        """The columns that I's node claims on all unclaimed paths into its image: those the image does not read."""
        return self._passed_columns[name]

    # -- found once, since planning asks again at every edge

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
                continue  # said already
            if h.image(read) not in available.read:
                yield _no_such_input(name, read, image, available.inputs)
            elif h.image(read) in by_image:
                yield f"{name!r} reads {by_image[h.image(read)]!r} and {read!r}, which both run on {h.image(read)!r}"
            by_image.setdefault(h.image(read), read)
        elif read in h.G:
            if read in available.read:
                leaf = ", ".join(f'"{c}"' for c in sorted(h.G.upstream_columns[read]))
                yield f"{name!r} reads {read!r}, which I does not have: claim it too, e.g. {read}=reads({leaf})"
            else:
                yield _no_such_input(name, read, image, available.inputs)
        elif read not in columns:
            yield _no_such_input(name, read, image, available.inputs)


def _no_such_input(name: str, read: str, image: str, available: tuple[str, ...]) -> str:
    reader = repr(name) if name == image else f"{name!r} (run by {image!r})"
    message = f"{reader} claims to read {read!r}, but {image!r} reads only: {', '.join(available)}"
    hint = nearest(read, available)
    return message + (hint or f"; a column for features alone is declared with columns=({read!r},)")


def _leaf_problems(h: Hypothesis, name: str, columns: frozenset[str]) -> Iterator[str]:
    read = h.read_columns(name)
    unknown = frozenset(read) - columns  # said already
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
    for column in sorted(set(h.scramble) - columns):
        yield f"scramble names {column!r}, which is no column that G's output {output!r} reads"
