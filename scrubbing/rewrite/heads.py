"""Graph -> Graph, changing no value that was there before: what a hypothesis speaks of is made visible as a node.

Where a node is read by several others, `reader=` gives that reader a version of its own, named `{node}_{reader}`, and
rewrites it alone. Nodes that were replaced by terms of a sum vanish: whoever sums its inputs reads the terms instead.

A hypothesis that stays legal keeps its score, draw for draw, with two exceptions: with others="input" each term of an
unclaimed sum has a donor of its own; and `gather` and the splits keep scores only under unclaimed="resample", since
anything else stands in for a sum or for each of its terms.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from scrubbing.engine.component import Component
from scrubbing.errors import GraphError, nearest
from scrubbing.graph import Graph, Node
from scrubbing.lens.components.attention import (
    PATTERN_QUERY_AXIS,
    Attention,
    HeadOutput,
    Offsets,
    Pattern,
    merge,
    offset,
)
from scrubbing.lens.components.residual import RESID_POSITION_AXIS, Difference, OutputProjection, Sum

__all__ = [
    "all_but",
    "copy",
    "gather",
    "group_heads",
    "identity_attention",
    "offset",
    "split_mask",
    "split_qkv",
    "split_residual",
]

SPLIT_HEAD = "a head that was split into pattern and values (split_qkv)"

Fn = TypeVar("Fn", bound=Component)


@dataclass(frozen=True)
class all_but:
    """Every input of a node except those named: `gather(G, "logits", rest=all_but("ind"))`."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", _words(names))


def gather(G: Graph, reader: str, **groups: str | Iterable[str] | all_but) -> Graph:
    """Several terms that `reader` sums, as one node: `gather(G, "logits", rest=all_but("ind"))`."""
    for name, members in groups.items():
        _require_new(G, name)
        terms = _terms(G, reader)
        chosen = _chosen(members, terms, reader)
        gathered = frozenset(chosen)
        kept = tuple(i for i in terms if i not in gathered)
        node = _with_terms(G, reader, (*kept, name))
        G = G.rewritten({reader: node, name: Node(Sum(), chosen, RESID_POSITION_AXIS)})
    return G


def group_heads(G: Graph, *, reader: str | None = None, **groups: str | Iterable[str]) -> Graph:
    """Heads of one layer as one node: `group_heads(G, ind="a1_h5 a1_h6")`.

    With `reader` only that node reads the group, and all others go on reading the single heads.
    """
    for name, members in groups.items():
        _require_new(G, name)
        heads = _words([members] if isinstance(members, str) else members)
        if not heads or len(set(heads)) < len(heads):
            raise GraphError(f"{name!r} groups {members!r}; a group names at least one head, and each of them once")
        attention = [_fn_of(G, head, Attention, "attention heads, not yet split") for head in heads]
        if len({G[head].inputs for head in heads}) != 1:
            raise GraphError(
                f"{name!r} groups {', '.join(heads)}, which read different inputs; group heads of one layer"
            )
        merged = Node(merge(attention), G[heads[0]].inputs, RESID_POSITION_AXIS)
        readers = _reading_all(G, heads, reader)
        terms = {heads[0]: (name,)} | dict.fromkeys(heads[1:], ())
        changes = {r: _with_terms(G, r, _replaced(_terms(G, r, heads), terms)) for r in readers}
        G = G.rewritten(changes | {name: merged})
    return G


def split_qkv(G: Graph, *names: str, reader: str | None = None) -> Graph:
    """A head (or group) as `{name}_q`, `_k`, `_pattern`, `_v` and what it writes, each with inputs of its own."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise GraphError(f"{twice[0]!r} is to be split twice; name each head once")
    changes: dict[str, Node] = {}
    for given in names:
        G, name = _for_reader(G, given, reader)
        heads, node = _fn_of(G, name, Attention, "an attention head, not yet split"), G[name]
        inputs, tokens = _terms_of(node), node.inputs[_place(node).stop :]
        q, k, v, pattern = (f"{name}_{part}" for part in ("q", "k", "v", "pattern"))
        for new in (q, k, v, pattern):
            _require_new(G, new)
        changes |= {
            q: Node(heads.q, inputs, RESID_POSITION_AXIS),
            k: Node(heads.k, inputs, RESID_POSITION_AXIS),
            v: Node(heads.v, inputs, RESID_POSITION_AXIS),
            pattern: Node(Pattern(heads.scores), (q, k, *tokens), PATTERN_QUERY_AXIS),
            name: Node(HeadOutput(heads.W_O), (pattern, v), RESID_POSITION_AXIS),
        }
    return G.rewritten(changes)


def split_mask(G: Graph, name: str, *, reader: str | None = None, **parts: Offsets) -> Graph:
    """What a head moves along relative positions, and the rest: `split_mask(G, "prev", prev_at=offset(1))`.

    The parts must not overlap; what is in none of them is `{name}_off`. The head's pattern is not renormalised.
    """
    G, name = _for_reader(G, name, reader)
    output = _fn_of(G, name, HeadOutput, SPLIT_HEAD)
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
    for part in masks:
        _require_new(G, part)
    terms = {part: replace(G[name], fn=replace(output, mask=mask)) for part, mask in masks.items()}
    return _replace_by_sum(G, name, terms)


def split_residual(G: Graph, name: str, *, guess: Node, reader: str | None = None) -> Graph:
    """`x = guess + (x - guess)`: the node as `{name}_guess`, for any guess of its value, and `{name}_error`.

    The guess is a node whose value has the shape of x, for example `identity_attention(G, name)`.
    """
    G, name = _for_reader(G, name, reader)
    x, guessed, error = f"{name}_whole", f"{name}_guess", f"{name}_error"
    for new in (x, guessed, error):
        _require_new(G, new)
    node = G[name]
    guess = replace(guess, position_axis=node.position_axis)
    terms = {guessed: guess, error: Node(Difference(), (x, guessed), node.position_axis)}
    return _replace_by_sum(G, name, terms, also={x: node})


def identity_attention(G: Graph, name: str) -> Node:
    """The guess that a head attends to the current position alone: its values, written where they stand."""
    return Node(OutputProjection(_fn_of(G, name, HeadOutput, SPLIT_HEAD).W_O), G[name].inputs[1:])


def copy(G: Graph, name: str, *, reader: str | None = None) -> Graph:
    """A node under a second name, `{name}_{reader}`, for one reader, or one copy for each of its readers."""
    changes: dict[str, Node] = {}
    for r in _readers(G, name, reader):
        own = f"{name}_{r}"
        _require_new(G, own)
        inputs = tuple(own if i == name else i for i in G[r].inputs)
        changes |= {own: G[name], r: replace(G[r], inputs=inputs)}
    return G.rewritten(changes)


# -- what the rewrites share


def _for_reader(G: Graph, name: str, reader: str | None) -> tuple[Graph, str]:
    """The graph and the name of the node to rewrite: the node itself, or the reader's own copy of it."""
    if reader is None:
        return G, name
    return copy(G, name, reader=reader), f"{name}_{reader}"


def _replace_by_sum(G: Graph, name: str, terms: dict[str, Node], also: dict[str, Node] | None = None) -> Graph:
    """The node as a sum of new nodes; readers that sum their inputs read the terms themselves."""
    also = also or {}
    changes = terms | also
    readers = _all_readers(G, name)
    summing = {r: of for r in readers if name in (of := _terms_of(G[r]))}
    if len(summing) < len(readers) or not readers:
        changes = changes | {name: Node(Sum(), tuple(terms), G[name].position_axis)}
    changes |= {r: _with_terms(G, r, _replaced(of, {name: tuple(terms)})) for r, of in summing.items()}
    return G.rewritten(changes)


def _terms_of(node: Node) -> tuple[str, ...]:
    """The inputs that a node adds up."""
    return node.inputs[_place(node)]


def _place(node: Node) -> slice:
    """Of the terms among the inputs."""
    return node.fn.terms(len(node.inputs)) if isinstance(node.fn, Component) else slice(0)


def _terms(G: Graph, reader: str, names: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The inputs that `reader` adds up, all the names among them."""
    terms = _terms_of(G[reader])
    if not terms:
        raise GraphError(f"{reader!r} does not sum its inputs ({', '.join(G[reader].inputs)}), so they are no terms")
    _require_summed(reader, terms, names)
    return terms


def _require_summed(reader: str, terms: tuple[str, ...], names: tuple[str, ...]) -> None:
    for name in names:
        if name not in terms:
            raise GraphError(f"{reader!r} does not sum {name!r}; it sums {', '.join(terms)}{nearest(name, terms)}")


def _with_terms(G: Graph, reader: str, terms: tuple[str, ...]) -> Node:
    """The reader with other terms, and all else that it reads."""
    node = G[reader]
    inputs = list(node.inputs)
    inputs[_place(node)] = terms
    return replace(node, inputs=tuple(inputs))


def _replaced(terms: tuple[str, ...], by: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(new for term in terms for new in by.get(term, (term,)))


def _fn_of(G: Graph, name: str, kind: type[Fn], wanted: str) -> Fn:
    fn = G[name].fn
    if not isinstance(fn, kind):
        raise GraphError(f"{name!r} is {type(fn).__name__}, and this rewrite needs {wanted}")
    return fn


def _require_new(G: Graph, name: str) -> None:
    if name in G or name in G.columns:
        raise GraphError(f"there is a node or column {name!r} already; choose another name")


def _readers(G: Graph, name: str, reader: str | None) -> tuple[str, ...]:
    readers = _all_readers(G, name)
    if reader is not None and reader not in readers:
        raise GraphError(
            f"{reader!r} does not read {name!r}; its readers are {', '.join(readers)}{nearest(reader, readers)}"
        )
    return readers if reader is None else (reader,)


def _all_readers(G: Graph, name: str) -> tuple[str, ...]:
    """The readers of a node as the graph lists them: a rewrite is not to wait for the order of all nodes."""
    return tuple(r for r in G if name in G[r].read) or G.readers(name)


def _reading_all(G: Graph, heads: tuple[str, ...], reader: str | None) -> tuple[str, ...]:
    readers = _readers(G, heads[0], reader)
    for head in heads[1:]:
        if set(_readers(G, head, reader)) != set(readers):
            raise GraphError(f"{heads[0]!r} and {head!r} have different readers; group them for one with reader=")
    return readers


def _chosen(members: str | Iterable[str] | all_but, terms: tuple[str, ...], reader: str) -> tuple[str, ...]:
    names = (
        members.names if isinstance(members, all_but) else _words([members] if isinstance(members, str) else members)
    )
    _require_summed(reader, terms, names)
    chosen = tuple(term for term in terms if (term in names) != isinstance(members, all_but))
    if not chosen:
        raise GraphError(f"a group of the inputs of {reader!r} would be empty")
    return chosen


def _words(names: Iterable[str]) -> tuple[str, ...]:
    """Names given one by one or as words of a string: ("a b", "c") is ("a", "b", "c")."""
    return tuple(word for name in names for word in name.split())
