"""Some of the terms that a node adds up, as one node."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scrubbing.errors import GraphError
from scrubbing.errors.arguments import checked
from scrubbing.graph import Graph, Node
from scrubbing.lens.components.attention import Attention
from scrubbing.lens.components.residual import RESID_POSITION_AXIS, Sum
from scrubbing.lens.grouping import replaced, with_terms
from scrubbing.rewrite.editing import readers_of, require_new, require_summed, summed_by, words


@dataclass(frozen=True)
class all_but:
    """Every input of a node except those named, or matched by a pattern such as "a0.*".

    >>> all_but("a1_h5 a1_h6", "embed").names
    ('a1_h5', 'a1_h6', 'embed')
    """

    names: tuple[str, ...]

    @checked
    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", words(names))


@checked
def gather(G: Graph, reader: str, **groups: str | Sequence[str] | all_but) -> Graph:
    """Several terms that `reader` sums, as one node `[row, position, d_model]`: names, or patterns such as "a5.* m5".

    >>> from hypotheses.induction.suite import SHIPPED
    >>> from scrubbing.lens import load_transformer, transformer
    >>> G = transformer(load_transformer(SHIPPED))
    >>> gather(G, "logits", rest=all_but("a1_h5"))["logits"].inputs
    ('a1_h5', 'rest')

    Raises `GraphError` where `reader` does not sum its inputs, does not read a name, or a group is empty or not new.
    """
    for name, members in groups.items():
        require_new(G, name)
        terms = summed_by(G, reader)
        chosen = _chosen(members, terms, reader)
        gathered = frozenset(chosen)
        kept = tuple(i for i in terms if i not in gathered)
        node = with_terms(G, reader, (*kept, name))
        G = G.rewritten({reader: node, name: Node(Sum(), chosen, RESID_POSITION_AXIS)})
    return G


def _chosen(members: str | Iterable[str] | all_but, terms: tuple[str, ...], reader: str) -> tuple[str, ...]:
    given = members.names if isinstance(members, all_but) else [members] if isinstance(members, str) else members
    names = words(given, terms)
    require_summed(reader, terms, names)
    chosen = tuple(term for term in terms if (term in names) != isinstance(members, all_but))
    if not chosen:
        raise GraphError(f"a group of the inputs of {reader!r} would be empty")
    return chosen


@checked
def scatter(G: Graph, name: str, *, reader: str | None = None) -> Graph:
    """A node as the terms that it adds up: its readers sum these in its place. It undoes `gather`, and grouped heads.

    The heads of a group are `{name}_h0`, `{name}_h1`, ..., in the order in which they were named.

    >>> from hypotheses.induction.suite import SHIPPED
    >>> from scrubbing.lens import load_transformer, transformer
    >>> G = transformer(load_transformer(SHIPPED), ind="a1_h5 a1_h6")
    >>> scatter(G, "ind")["logits"].inputs[-4:]
    ('a1_h4', 'ind_h0', 'ind_h1', 'a1_h7')

    Raises `GraphError` for a node that adds nothing up, and for readers that do not sum it or sum a term of it already.
    """
    made = _heads(G, name)
    if not made and not isinstance(G[name].fn, Sum):
        raise GraphError(f"{name!r} is {type(G[name].fn).__name__}, and this rewrite needs a sum or a group of heads")
    parts = tuple(made) or G[name].inputs
    changes: dict[str, Node] = {}
    for r in readers_of(G, name, reader):
        terms = summed_by(G, r, (name,))
        twice = next((part for part in parts if part in terms), None)
        if twice is not None:
            raise GraphError(f"{r!r} sums {twice!r} already, which is a term of {name!r}; scatter it for other readers")
        changes[r] = with_terms(G, r, replaced(terms, {name: parts}))
    return G.rewritten(made | changes)


def _heads(G: Graph, name: str) -> dict[str, Node]:
    """The heads of a group, as nodes of their own."""
    fn, node = G[name].fn, G[name]
    if not isinstance(fn, Attention) or fn.q.count < 2:
        return {}
    for head in range(fn.q.count):
        require_new(G, f"{name}_h{head}")
    return {f"{name}_h{head}": Node(fn.heads([head]), node.inputs, node.position_axis) for head in range(fn.q.count)}
