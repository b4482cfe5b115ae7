"""Several nodes as one, the sum of what they write; and the terms that nodes add up."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import reduce
from typing import Any

import torch

from scrubbing.engine.component import Component
from scrubbing.engine.expressions import Caller, Expression
from scrubbing.errors import GraphError
from scrubbing.graph import Node
from scrubbing.lens.components.residual import RESID_POSITION_AXIS, Resid, Sum


def matching(word: str, known: Iterable[str]) -> list[str]:
    """The names that a word stands for, with * and ? for what varies; a dot is a head's underscore: "a5.*"."""
    pattern = word.replace(".", "_")
    return [name for name in known if fnmatchcase(name, pattern)]


def terms_of(node: Node) -> tuple[str, ...]:
    """The inputs that a node adds up."""
    return node.inputs[place_of_terms(node)]


def with_terms(nodes: Mapping[str, Node], reader: str, terms: tuple[str, ...]) -> Node:
    """The reader with other terms, and all else that it reads."""
    node = nodes[reader]
    inputs = list(node.inputs)
    inputs[place_of_terms(node)] = terms
    return replace(node, inputs=tuple(inputs))


def place_of_terms(node: Node) -> slice:
    """Of the terms among the inputs."""
    return node.fn.terms(len(node.inputs)) if isinstance(node.fn, Component) else slice(0)


def replaced(terms: tuple[str, ...], by: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Terms with others in the places of some."""
    return tuple(new for term in terms for new in by.get(term, (term,)))


@dataclass(frozen=True, eq=False)
class Composite(Component):
    """Functions that read each other, as one: the sum of what some of them write.

    Each part reads values by number: first the inputs, then the parts before it.
    """

    parts: tuple[tuple[Callable[..., Any], tuple[int, ...]], ...]
    written: tuple[int, ...]

    def __call__(self, *inputs: Any) -> Resid:
        return reduce(torch.add, self._written(inputs, lambda fn, arguments: fn(*arguments)))

    def lower(self, arguments: tuple[Expression, ...], call: Caller) -> Expression:
        """The parts as they are alone, so that they share what they compute with all others."""
        return call(Sum(), self._written(arguments, call))

    def _written(self, inputs: tuple[Any, ...], call: Callable[..., Any]) -> tuple[Any, ...]:
        values = list(inputs)
        for fn, read in self.parts:
            values.append(call(fn, tuple(values[i] for i in read)))
        return tuple(values[i] for i in self.written)


def grouped(nodes: Mapping[str, Node], group: str, members: Sequence[str]) -> dict[str, Node]:
    """The changes that make one node of several, given in an order in which each comes after what it reads.

    Raises `GraphError` unless all that reads one of what they write sums all of it.
    """
    inside = frozenset(members)
    readers = [name for name, node in nodes.items() if name not in inside and not inside.isdisjoint(node.inputs)]
    read = frozenset(i for reader in readers for i in nodes[reader].inputs)
    written = tuple(name for name in members if name in read)
    by = {written[0]: (group,)} | dict.fromkeys(written[1:], ()) if written else {}
    changes: dict[str, Node] = {}
    for reader in readers:
        terms = terms_of(nodes[reader])
        lacking = [name for name in written if name not in terms]
        if lacking:
            raise GraphError(
                f"{group!r} groups {', '.join(members)}; group heads of one layer, or blocks that are summed by all "
                f"that reads one of them: {reader!r} does not sum {', '.join(lacking)}"
            )
        changes[reader] = with_terms(nodes, reader, replaced(terms, by))
    return changes | {group: _composed({name: nodes[name] for name in members}, written)}


def _composed(members: Mapping[str, Node], written: Sequence[str]) -> Node:
    inputs = tuple(dict.fromkeys(i for node in members.values() for i in node.inputs if i not in members))
    number = {name: k for k, name in enumerate((*inputs, *members))}
    parts = tuple((node.fn, tuple(number[i] for i in node.inputs)) for node in members.values())
    return Node(Composite(parts, tuple(number[name] for name in written)), inputs, RESID_POSITION_AXIS)
