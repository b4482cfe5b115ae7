"""Path patching, as a hypothesis."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scrubbing.engine.component import Component
from scrubbing.errors import HypothesisError
from scrubbing.errors.arguments import checked
from scrubbing.experiments.places import Names, Place, Split, named, places, whole
from scrubbing.graph import Graph, Node
from scrubbing.graph.hypothesis import Hypothesis

SECOND = "_through"  # what the name of a node ends in that is claimed a second time
SENT = "_sent"  # what the name of a part of a sender ends in that has the donor's value


@checked
def paths(G: Graph, senders: Names, receivers: Names, *, through: Names = ()) -> Hypothesis:
    """Path patching: everything is claimed but the edges from senders to receivers, which take a donor's value.

    A receiver is computed a first time from what the senders write for the donor, and everything else for the
    reference. Then the network runs on the reference with the receivers' values in place. Nodes between senders and
    receivers are frozen, but for those named in `through` (often the MLPs), which are computed again on the way; where
    they follow a receiver as well, they are claimed twice, the first time as `{name}_through`. With `through="*"`
    nothing is frozen: senders to the logits are then patched in the activations.

    Say who the donor is in `scrub`: `others=` row numbers, one for each row, or "reference" (drawn); with
    `unclaimed="mean"` or "zero" the edges are ablated.

    "a0_h1@S2" is a node at the positions of a role, a column with a position for each row: such a sender has the
    donor's value there alone, at the same position, and such a receiver gets it there alone.

    >>> import torch
    >>> from scrubbing import Graph, paths, reads, scrub
    >>> G = Graph(
    ...     a=lambda x: x,
    ...     b=lambda a, x: 10 * a + x,
    ...     c=lambda a, b: a + b,
    ...     loss=lambda a, c: a + c,
    ... )
    >>> h = paths(G, "a", "c")
    >>> h.I["loss"].inputs, h.I["c"].inputs  # the claim of c leaves a open
    (('c',), ())
    >>> data, settings = {"x": torch.tensor([0.0, 1.0])}, dict(baseline=Graph(loss=reads()), others=[1, 0])
    >>> scrub(h, data, **settings).losses["scrubbed"].tolist()  # a + (a' + 10 a + x)
    [1.0, 12.0]
    >>> h = paths(G, "a", "c", through="b")  # a + (a' + 10 a' + x)
    >>> scrub(h, data, **settings).losses["scrubbed"].tolist()
    [11.0, 2.0]

    Raises `GraphError` for a name that is no node, `HypothesisError` for a sender that no path leads from.

    Source: Wang et al. 2022, Interpretability in the Wild; Goldowsky-Dill et al. 2023, Localizing Model Behavior with
    Path Patching.
    """
    sending, receiving, between = places(G, senders), places(G, receivers), named(G, through)
    if not sending or not receiving:
        raise HypothesisError(f"{'senders' if not sending else 'receivers'} names no node; name at least one")
    split = Split.of(G, sorted({*sending, *receiving}))
    G = split.G
    sent = frozenset(name for place in sending for name in split.of_place(place))
    received = tuple(name for name in G.order if any(name in split.of_place(place) for place in receiving))
    recomputed = {name for node in between for name in (node, whole(node), *split.of_place(Place(node)))}
    recomputed |= {whole(place.node) for place in receiving}
    recomputed |= {place.node for place in sending if place.node in split.roles}  # the sum of its parts
    carriers = _carriers(G, sent, frozenset(recomputed), received)
    patched = frozenset(r for r in received if G[r].read & (sent | carriers))
    _refuse_idle(G, sent, received, carriers | patched)
    after = _after(G, patched)
    second = {i: f"{i}{SECOND}" if i in after and i not in patched else i for i in carriers}
    # Where a sender has a role, the donor's value stands at the reference's positions, so that the mask is claimed.
    masked = {i: f"{i}{SENT}" for i in sent if any(i in split.parts(node) for node in split.roles)}
    claims = {
        new: Node(Frozen(), tuple(i for i in G[i].inputs if i not in G), swaps=False) for i, new in masked.items()
    }
    for name in G.order:
        if name in carriers or name in patched:
            claims[second.get(name, name)] = _claim(G, name, second | masked, sent - masked.keys())
        if name in after and name not in patched:
            claims[name] = _claim(G, name, {i: i for i in after | patched}, frozenset())
    used = _read(claims, G.output)
    _refuse_covered(G, patched, used)
    c = {new: name for name, new in (second | masked).items() if new != name and new in used}
    return Hypothesis(G, Graph({name: claims[name] for name in claims if name in used}), c)


def _read(claims: Mapping[str, Node], output: str) -> set[str]:
    """The claims that the output depends on."""
    found, waiting = {output}, [output]
    while waiting:
        new = {i for i in claims[waiting.pop()].inputs if i in claims} - found
        found |= new
        waiting += new
    return found


@dataclass(frozen=True, eq=False)
class Frozen(Component):
    """No feature: the node stays on its reader's datum, and what it reads need not be compared.

    (The features of `reads` are tuples of tuples, which double with every layer. A user's own function would be tried
    on a few rows, in each hypothesis.)
    """

    def __call__(self, *values: Any) -> tuple[()]:
        return ()


def _claim(G: Graph, name: str, claimed: Mapping[str, str], open_: Collection[str]) -> Node:
    """A claim of some inputs by their names in I, of all others exactly, but for those left open."""
    inputs = G[name].inputs
    columns = [i for i in inputs if i not in G]
    read = [claimed[i] for i in inputs if i in claimed and i not in open_] + columns
    keeps = G[name].read.difference(claimed, open_, columns)
    return Node(Frozen(), tuple(read), keeps=keeps, swaps=False)


def _carriers(G: Graph, sent: frozenset[str], through: frozenset[str], received: Iterable[str]) -> frozenset[str]:
    """The nodes of `through` that lie on a path, within `through`, from a sender to a receiver."""
    reached: set[str] = set()
    for name in G.order:
        if name in through and name not in sent and not G[name].read.isdisjoint(sent | reached):
            reached.add(name)
    found: set[str] = set()
    waiting = [*received]
    while waiting:
        new = (G[waiting.pop()].read & reached) - found
        found |= new
        waiting += new
    return frozenset(found)


def _after(G: Graph, patched: frozenset[str]) -> frozenset[str]:
    """Every node that depends on one of these."""
    found: set[str] = set()
    for name in G.order:
        if not G[name].read.isdisjoint(patched | found):
            found.add(name)
    return frozenset(found)


def _refuse_idle(G: Graph, sent: frozenset[str], received: Sequence[str], affected: frozenset[str]) -> None:
    """Raise for senders whose value no receiver gets."""
    for sender in [name for name in G.order if name in sent]:
        readers = G.readers(sender)
        if affected.isdisjoint(readers):
            ways = _ways(G, sender, received)
            read_by = f"{sender!r} is read by {_few(readers)}" if readers else f"nothing reads {sender!r}"
            reading = "; ".join(f"{r!r} reads {_few(G[r].inputs)}" for r in received[:3])
            help_ = f"name nodes between them in through=: {_few(ways)}" if ways else f"{reading}; {read_by}"
            raise HypothesisError(f"no path leads from {sender!r} to {_few(map(repr, received))}: {help_}")


def _refuse_covered(G: Graph, patched: frozenset[str], used: Collection[str]) -> None:
    """Raise for receivers that the output depends on through other receivers alone."""
    for name in G.order:
        if name in patched and name not in used:
            others = [r for r in G.order if r in patched and r in used]
            raise HypothesisError(
                f"what {name!r} receives changes nothing: it reaches the output only through {_few(others)}, "
                f"whose values are made while {name!r} is frozen; patch them apart, or name {name!r} in through="
            )


def _ways(G: Graph, sender: str, received: Iterable[str]) -> list[str]:
    """The nodes between a sender and receivers, whatever is frozen."""
    after, before = _after(G, frozenset([sender])), frozenset(G.upstream(*received))
    return [name for name in G.order if name in after & before and name not in received]


def _few(names: Iterable[str]) -> str:
    first = [*names]
    return ", ".join(first[:8]) + (f" and {len(first) - 8} more" if len(first) > 8 else "")
