"""A value as parts that add up to it: by position, by subspace."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from scrubbing.errors import GraphError
from scrubbing.errors.arguments import checked
from scrubbing.graph import Graph, Node
from scrubbing.lens.components.parts import AtPositions, Within
from scrubbing.rewrite.copies import for_reader
from scrubbing.rewrite.editing import replace_by_sum

RANK = 1e-6  # of the largest singular value: what is below it spans nothing


@checked
def split_positions(G: Graph, name: str, *, reader: str | None = None, **parts: Iterable[int] | str) -> Graph:
    """What a node writes at some positions, and at all others: a sum of nodes that are 0 elsewhere.

    A part is given by positions, or by the name of a column that has a position for each row (a role), or several with
    -1 to fill up. All other positions are `{name}_elsewhere`. The node itself stays as `{name}_whole`.

    >>> from hypotheses.induction.suite import SHIPPED
    >>> from scrubbing.lens import load_transformer, transformer
    >>> G = transformer(load_transformer(SHIPPED))
    >>> split_positions(G, "a0_h0", reader="logits", first=[0], last="end")["a0_h0_logits_elsewhere"].inputs
    ('a0_h0_logits_whole', 'end')

    Raises `GraphError` for a node without a position axis, for parts that overlap, and for names that exist.
    """
    G, name = for_reader(G, name, reader)
    node, whole, rest = G[name], f"{name}_whole", f"{name}_elsewhere"
    if node.position_axis != 1:
        raise GraphError(f"{name!r} has no positions on its second axis, so it has no parts by position")
    places: set[int] = set()
    for part, given in parts.items():
        own = set() if isinstance(given, str) else set(given)
        if own & places or any(place < 0 for place in own):
            raise GraphError(f"{part!r} names positions {sorted(own)}; each is 0 or more, and stands in one part")
        places |= own
    columns = tuple(given for given in parts.values() if isinstance(given, str))
    if len(set(columns)) < len(columns):
        raise GraphError(f"two parts are the same column, one of {', '.join(columns)}")
    terms = {
        part: Node(AtPositions(), (whole, given), 1)
        if isinstance(given, str)
        else Node(AtPositions(tuple(sorted(given))), (whole,), 1)
        for part, given in parts.items()
    }
    terms[rest] = Node(AtPositions(tuple(sorted(places)), complement=True), (whole, *columns), 1)
    return replace_by_sum(G, name, terms, also={whole: node})


@checked
def project(G: Graph, name: str, directions: Tensor, *, reader: str | None = None) -> Graph:
    """What a node writes within the span of some directions `[direction, d_model]`, and orthogonal to it.

    The parts are `{name}_inside` and `{name}_outside`; the node itself stays as `{name}_whole`.

    >>> import torch
    >>> from hypotheses.induction.suite import SHIPPED
    >>> from scrubbing.lens import load_transformer, transformer
    >>> model = load_transformer(SHIPPED)
    >>> project(transformer(model), "embed", model.weights["unembed.W_U"][:, :3].T)["a0_h0"].inputs
    ('embed_inside', 'embed_outside')

    Raises `GraphError` for directions that are no matrix or not finite, and for names that exist.
    """
    G, name = for_reader(G, name, reader)
    if directions.ndim != 2 or not directions.isfinite().all() or not directions.any():
        raise GraphError(f"directions have the shape {list(directions.shape)}; give vectors [direction, d_model]")
    _, sizes, basis = torch.linalg.svd(directions.detach().double(), full_matrices=False)
    basis = basis[sizes > RANK * sizes[0]].to(directions.dtype)
    node, whole, inside, outside = G[name], f"{name}_whole", f"{name}_inside", f"{name}_outside"
    part = Node(Within(basis), (whole,), node.position_axis)
    terms = {inside: part, outside: replace(part, fn=Within(basis, complement=True))}
    return replace_by_sum(G, name, terms, also={whole: node})
