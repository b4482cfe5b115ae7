"""Attention heads: several as one, and one as its q, k, pattern, v and output."""

from collections import Counter
from collections.abc import Sequence

from scrubbing.errors import GraphError
from scrubbing.errors.arguments import checked
from scrubbing.graph import Graph, Node
from scrubbing.lens.components.attention import PATTERN_QUERY_AXIS, Attention, HeadOutput, Pattern, merge
from scrubbing.lens.components.residual import RESID_POSITION_AXIS, OutputProjection
from scrubbing.lens.grouping import place_of_terms, replaced, terms_of, with_terms
from scrubbing.rewrite.copies import for_reader
from scrubbing.rewrite.editing import fn_of, readers_of, require_new, summed_by, words

SPLIT_HEAD = "a head that was split into pattern and values (split_qkv)"


@checked
def group_heads(G: Graph, *, reader: str | None = None, **groups: str | Sequence[str]) -> Graph:
    """Heads of one layer as one node, the sum of what they write: `[row, position, d_model]`.

    Heads are named, or matched by a pattern: "a1.*" is a whole layer. With `reader`, only that node reads the group;
    all others go on reading the single heads. `transformer(model, ind="a1_h5 a1_h6")` makes the group at once.

    >>> from hypotheses.induction.suite import SHIPPED
    >>> from scrubbing.lens import load_transformer, transformer
    >>> G = transformer(load_transformer(SHIPPED))
    >>> group_heads(G, ind="a1_h5 a1_h6")["logits"].inputs[-3:]
    ('a1_h4', 'ind', 'a1_h7')

    Raises `GraphError` for what is no head, for heads of different layers or readers, and for a name that exists.
    """
    for name, members in groups.items():
        require_new(G, name)
        heads = words([members] if isinstance(members, str) else members, _heads(G))
        if not heads or len(set(heads)) < len(heads):
            raise GraphError(f"{name!r} groups {members!r}; a group names at least one head, and each of them once")
        attention = [fn_of(G, head, Attention, "attention heads, not yet split") for head in heads]
        if len({G[head].inputs for head in heads}) != 1:
            raise GraphError(
                f"{name!r} groups {', '.join(heads)}, which read different inputs; group heads of one layer"
            )
        merged = Node(merge(attention), G[heads[0]].inputs, RESID_POSITION_AXIS)
        readers = _reading_all(G, heads, reader)
        terms = {heads[0]: (name,)} | dict.fromkeys(heads[1:], ())
        changes = {r: with_terms(G, r, replaced(summed_by(G, r, heads), terms)) for r in readers}
        G = G.rewritten(changes | {name: merged})
    return G


def _heads(G: Graph) -> tuple[str, ...]:
    """The nodes that are heads, not yet split: what a pattern may match."""
    return tuple(name for name in G.order if isinstance(G[name].fn, Attention))


def _reading_all(G: Graph, heads: tuple[str, ...], reader: str | None) -> tuple[str, ...]:
    readers = readers_of(G, heads[0], reader)
    for head in heads[1:]:
        if set(readers_of(G, head, reader)) != set(readers):
            raise GraphError(f"{heads[0]!r} and {head!r} have different readers; group them for one with reader=")
    return readers


@checked
def split_qkv(G: Graph, *names: str, reader: str | None = None) -> Graph:
    """A head (or group) as `{name}_q`, `_k`, `_pattern`, `_v` and what it writes, each with inputs of its own.

    Several are named, or matched by a pattern: "a1.*" is all heads of a layer.

    q, k and v are `[row, position, head, d_head]`, the pattern `[row, head, query, key]`; `{name}` itself stays what
    the head writes, `[row, position, d_model]`, and reads the pattern and v.

    >>> from hypotheses.induction.suite import SHIPPED
    >>> from scrubbing.lens import load_transformer, transformer
    >>> G = transformer(load_transformer(SHIPPED))
    >>> split_qkv(G, "a1_h5")["a1_h5"].inputs
    ('a1_h5_pattern', 'a1_h5_v')

    Raises `GraphError` for a node that is no attention head or is split already, and for names that exist.
    """
    names, given = words(names, _heads(G)), names
    if given and not names:
        raise GraphError(f"{given[0]!r} names no head; name one, such as {next(iter(_heads(G)), 'a0_h0')!r}")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise GraphError(f"{twice[0]!r} is to be split twice; name each head once")
    changes: dict[str, Node] = {}
    for head in names:
        G, name = for_reader(G, head, reader)
        heads, node = fn_of(G, name, Attention, "an attention head, not yet split"), G[name]
        inputs, tokens = terms_of(node), node.inputs[place_of_terms(node).stop :]
        q, k, v, pattern = (f"{name}_{part}" for part in ("q", "k", "v", "pattern"))
        for new in (q, k, v, pattern):
            require_new(G, new)
        changes |= {
            q: Node(heads.q, inputs, RESID_POSITION_AXIS),
            k: Node(heads.k, inputs, RESID_POSITION_AXIS),
            v: Node(heads.v, inputs, RESID_POSITION_AXIS),
            pattern: Node(Pattern(heads.scores), (q, k, *tokens), PATTERN_QUERY_AXIS),
            name: Node(HeadOutput(heads.W_O), (pattern, v), RESID_POSITION_AXIS),
        }
    return G.rewritten(changes)


@checked
def identity_attention(G: Graph, name: str) -> Node:
    """The guess that a head attends to the current position alone: its values, written where they stand.

    A node `[row, position, d_model]` that reads the head's v, for `split_residual(G, name, guess=...)`.

    >>> from hypotheses.induction.suite import SHIPPED
    >>> from scrubbing.lens import load_transformer, transformer
    >>> G = transformer(load_transformer(SHIPPED))
    >>> identity_attention(split_qkv(G, "a0_h1"), "a0_h1").inputs
    ('a0_h1_v',)

    Raises `GraphError` for a head that was not split into pattern and values.
    """
    return Node(OutputProjection(fn_of(G, name, HeadOutput, SPLIT_HEAD).W_O), G[name].inputs[1:])
