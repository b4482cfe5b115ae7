"""What the rewrites share: the terms of a sum, the readers of a node, names that are new."""

from collections.abc import Iterable
from typing import TypeVar

from scrubbing.engine.component import Component
from scrubbing.errors import GraphError, nearest
from scrubbing.graph import Graph, Node
from scrubbing.lens.components.residual import Sum
from scrubbing.lens.grouping import matching, replaced, terms_of, with_terms

Fn = TypeVar("Fn", bound=Component)


def summed_by(G: Graph, reader: str, names: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The inputs that `reader` adds up, all the names among them."""
    terms = terms_of(G[reader])
    if not terms:
        raise GraphError(f"{reader!r} does not sum its inputs ({', '.join(G[reader].inputs)}), so they are no terms")
    require_summed(reader, terms, names)
    return terms


def require_summed(reader: str, terms: tuple[str, ...], names: tuple[str, ...]) -> None:
    for name in names:
        if name not in terms:
            raise GraphError(f"{reader!r} does not sum {name!r}; it sums {', '.join(terms)}{nearest(name, terms)}")


def replace_by_sum(G: Graph, name: str, terms: dict[str, Node], also: dict[str, Node] | None = None) -> Graph:
    """The node as a sum of new nodes; readers that sum their inputs read the terms themselves.

    Raises `GraphError` for a new node whose name exists.
    """
    changes = terms | (also or {})
    for new in changes:
        require_new(G, new)
    readers = all_readers(G, name)
    summing = {r: of for r in readers if name in (of := terms_of(G[r]))}
    if len(summing) < len(readers) or not readers:
        changes = changes | {name: Node(Sum(), tuple(terms), G[name].position_axis)}
    changes |= {r: with_terms(G, r, replaced(of, {name: tuple(terms)})) for r, of in summing.items()}
    return G.rewritten(changes)


def readers_of(G: Graph, name: str, reader: str | None) -> tuple[str, ...]:
    readers = all_readers(G, name)
    if reader is not None and reader not in readers:
        raise GraphError(
            f"{reader!r} does not read {name!r}; its readers are {', '.join(readers)}{nearest(reader, readers)}"
        )
    return readers if reader is None else (reader,)


def all_readers(G: Graph, name: str) -> tuple[str, ...]:
    """The readers of a node as the graph lists them: a rewrite is not to wait for the order of all nodes."""
    return tuple(r for r in G if name in G[r].read) or G.readers(name)


def fn_of(G: Graph, name: str, kind: type[Fn], wanted: str) -> Fn:
    fn = G[name].fn
    if not isinstance(fn, kind):
        raise GraphError(f"{name!r} is {type(fn).__name__}, and this rewrite needs {wanted}")
    return fn


def require_new(G: Graph, name: str) -> None:
    if name in G or name in G.columns:
        raise GraphError(f"there is a node or column {name!r} already; choose another name")


def words(names: Iterable[str], known: Iterable[str] = ()) -> tuple[str, ...]:
    """Names given one by one or as words of a string: ("a b", "c") is ("a", "b", "c"), and "a0.*" all heads of a layer.

    A pattern stands for the known names that it matches, and what matches none for itself.
    """
    there = tuple(known)
    found = [matching(word, there) or [word] for name in names for word in name.split()]
    return tuple(name for names in found for name in names)
