"""The scale of a norm as a node of its own."""

from dataclasses import replace
from typing import Any

from scrubbing.errors import GraphError
from scrubbing.errors.arguments import checked
from scrubbing.graph import Graph, Node
from scrubbing.lens.components.attention import Attention
from scrubbing.lens.components.residual import RESID_POSITION_AXIS, ReadsStream, ResidualReader, Scale
from scrubbing.lens.grouping import terms_of
from scrubbing.rewrite.editing import require_new, words


@checked
def split_norm(G: Graph, *names: str) -> Graph:
    """What a node divides the stream by, as `{name}_scale` `[row, position, 1]`: claiming it exactly freezes the norm.

    A node is an attention head, its queries, keys or values, an MLP, the norm after one, or `logits`. The scale reads
    the terms that the node reads, and the node reads it last.

    >>> from hypotheses.induction.suite import SHIPPED
    >>> from scrubbing.lens import load_transformer, transformer
    >>> G = split_norm(transformer(load_transformer(SHIPPED)), "logits")
    >>> G["logits"].inputs[-2:], G["logits_scale"].inputs[:2]
    (('a1_h7', 'logits_scale'), ('embed', 'a0_h0'))

    Raises `GraphError` for a node that reads no normalised stream or whose scale is a node already.
    """
    changes: dict[str, Node] = {}
    for name in words(names, G.order):
        scale, node = f"{name}_scale", G[name]
        require_new(G, scale)
        reader, fn = _apart(name, node.fn)
        if reader.norm.kind is None or reader.scale_apart:
            raise GraphError(f"{name!r} reads a stream that has no norm, or whose scale is a node already")
        terms = terms_of(node)
        others = node.inputs[len(terms) :]
        changes |= {
            scale: Node(Scale(reader), terms, RESID_POSITION_AXIS),
            name: replace(node, fn=fn, inputs=(*terms, scale, *others)),
        }
    return G.rewritten(changes)


def _apart(name: str, fn: Any) -> tuple[ResidualReader, Any]:
    """How a node reads the stream, and the same node with the scale given to it."""
    match fn:
        case Attention(q=q, k=k, v=v):
            parts = (replace(part, reader=replace(part.reader, scale_apart=True)) for part in (q, k, v))
            return q.reader, replace(fn, **dict(zip("qkv", parts, strict=True)))
        case ReadsStream():
            return fn.reader, replace(fn, reader=replace(fn.reader, scale_apart=True))
        case ResidualReader():
            return fn, replace(fn, scale_apart=True)
    raise GraphError(f"{name!r} is {type(fn).__name__}, and this rewrite needs a node that reads the residual stream")
