"""What a head moves, by how far it moves it."""

from dataclasses import replace

from scrubbing.errors import GraphError
from scrubbing.errors.arguments import checked
from scrubbing.graph import Graph
from scrubbing.lens.components.attention import HeadOutput, Offsets
from scrubbing.rewrite.copies import for_reader
from scrubbing.rewrite.editing import fn_of, replace_by_sum
from scrubbing.rewrite.heads import SPLIT_HEAD


@checked
def split_mask(G: Graph, name: str, *, reader: str | None = None, **parts: Offsets) -> Graph:
    """What a head moves from some relative positions, and from all others: a sum of nodes `[row, position, d_model]`.

    The parts must not overlap. What is in none of them is `{name}_off`. The head's pattern is not renormalised.

    >>> from hypotheses.induction.suite import SHIPPED
    >>> from scrubbing.lens import load_transformer, transformer
    >>> from scrubbing.rewrite import offset, split_qkv
    >>> G = transformer(load_transformer(SHIPPED))
    >>> G = split_mask(split_qkv(G, "a0_h0"), "a0_h0", previous=offset(1))
    >>> G["previous"].inputs, G["a0_h0_off"].inputs
    (('a0_h0_pattern', 'a0_h0_v'), ('a0_h0_pattern', 'a0_h0_v'))

    Raises `GraphError` for a head that was not split into pattern and values, for parts that overlap or are
    complements, and for names that exist.
    """
    G, name = for_reader(G, name, reader)
    output = fn_of(G, name, HeadOutput, SPLIT_HEAD)
    if output.mask is not None:
        raise GraphError(f"{name!r} is already one part of a mask; split the whole head into all its parts at once")
    rest = f"{name}_off"
    if rest in parts:
        raise GraphError(f"{rest!r} is the name of what none of the parts holds; choose another name")
    seen: frozenset[int] = frozenset()
    for part, mask in parts.items():
        if mask.complement:
            raise GraphError(f"{part!r} is a complement; name the offsets that it keeps: the others are {rest!r}")
        if mask.distances & seen:
            raise GraphError(f"the masks of {', '.join(parts)} overlap; each offset may stand in one of them")
        seen |= mask.distances
    masks = parts | {rest: ~Offsets(seen)}
    terms = {part: replace(G[name], fn=replace(output, mask=mask)) for part, mask in masks.items()}
    return replace_by_sum(G, name, terms)
