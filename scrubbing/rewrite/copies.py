"""A node once more, for one of its readers."""

from dataclasses import replace

from scrubbing.errors.arguments import checked
from scrubbing.graph import Graph, Node
from scrubbing.rewrite.editing import readers_of, require_new


@checked
def copy(G: Graph, name: str, *, reader: str | None = None) -> Graph:
    """A node under a second name, `{name}_{reader}`, for one reader, or one copy for each of its readers.

    >>> G = Graph(a=lambda x: x, b=lambda a: 2 * a, loss=lambda a, b: a - b)
    >>> copy(G, "a", reader="b")["b"].inputs
    ('a_b',)

    Raises `GraphError` for a `reader` that does not read the node, and for names that exist.
    """
    changes: dict[str, Node] = {}
    for r in readers_of(G, name, reader):
        own = f"{name}_{r}"
        require_new(G, own)
        inputs = tuple(own if i == name else i for i in G[r].inputs)
        changes |= {own: G[name], r: replace(G[r], inputs=inputs)}
    return G.rewritten(changes)


def for_reader(G: Graph, name: str, reader: str | None) -> tuple[Graph, str]:
    """The graph and the name of the node to rewrite: the node itself, or the reader's own copy of it."""
    if reader is None:
        return G, name
    return copy(G, name, reader=reader), f"{name}_{reader}"
