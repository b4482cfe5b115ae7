"""Any nodes as one: a layer, several layers, heads and MLPs."""

from collections.abc import Sequence

from scrubbing.errors import GraphError, nearest
from scrubbing.errors.arguments import checked
from scrubbing.graph import Graph
from scrubbing.lens.grouping import grouped
from scrubbing.rewrite.editing import require_new, words


@checked
def group(G: Graph, **groups: str | Sequence[str]) -> Graph:
    """Nodes that write to the stream as one, the sum of what they write: `[row, position, d_model]`.

    They are named, or matched by patterns: "a5.* m5" is a layer. They may read each other; within the group they then
    run on one datum. `transformer(model, late="a5.* m5")` makes the group at once. For heads of one layer there is
    `group_heads`: such a group can be split into q, k and v. Of two groups in two calls, the earlier one comes first.

    >>> from hypotheses.brackets.suite import SHIPPED
    >>> from scrubbing.lens import load_transformer, transformer
    >>> G = transformer(load_transformer(SHIPPED))
    >>> group(G, late="a1.* m1 a2.* m2")["logits"].inputs
    ('embed', 'a0_h0', 'a0_h1', 'm0', 'late')

    Raises `GraphError` for names that are no nodes, for a new name that exists, and where another node reads some of
    what the group writes, and not all of it.
    """
    chosen: dict[str, tuple[str, ...]] = {}
    for name, given in groups.items():
        require_new(G, name)
        chosen[name] = words([given] if isinstance(given, str) else given, G)
        unknown = next((member for member in chosen[name] if member not in G), None)
        if unknown is not None or not chosen[name]:
            said = (
                f"{unknown!r}, which is no node{nearest(unknown, G)}" if unknown else "nothing; name at least one node"
            )
            raise GraphError(f"{name!r} groups {said}")
    place = {name: i for i, name in enumerate(G.order)}
    for name, members in sorted(chosen.items(), key=lambda item: min(place[member] for member in item[1])):
        G = G.rewritten(grouped(G, name, [member for member in G.order if member in members]))
    return G
