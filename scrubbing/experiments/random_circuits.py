"""Random circuits of the size of a hypothesis, and the edges that a hypothesis claims."""

from collections.abc import Iterator, Mapping

import numpy as np

from scrubbing.engine.sampling.randomness import keyed_uniforms
from scrubbing.errors import HypothesisError
from scrubbing.errors.arguments import checked
from scrubbing.graph import Graph, Node, reads
from scrubbing.graph.data import seed_number
from scrubbing.graph.hypothesis import Hypothesis

TRIED = 200  # paths, one after the other, none of which fits

Edge = tuple[str, str]  # a node of G and a node that it reads
Edges = frozenset[Edge]


def claimed_edges(h: Hypothesis) -> Edges:
    """The edges of G between nodes that a hypothesis claims."""
    return frozenset((h.image(name), read) for name in h.I for read in h.claimed_inputs(name))


def forced_edges(G: Graph) -> Edges:
    """The edges between the output and the first node that reads several nodes: every path takes them."""
    name, found = G.output, set[Edge]()
    while len(read := [i for i in G[name].inputs if i in G]) == 1:
        found.add((name, read[0]))
        name = read[0]
    return frozenset(found)


def random_path(G: Graph, rng: np.random.Generator) -> list[Edge]:
    """A path from the output to a node that reads no other, each time to one of the nodes that are read."""
    name, found = G.output, list[Edge]()
    while read := [i for i in G[name].inputs if i in G]:
        chosen = read[int(rng.integers(len(read)))]
        found.append((name, chosen))
        name = chosen
    return found


def generator(seed: int, *key: str) -> np.random.Generator:
    """Random numbers of their own for a seed and a purpose."""
    return np.random.default_rng(int(keyed_uniforms(seed_number(seed), key, np.arange(1))[0] * 2**53))


def pruned(h: Hypothesis, claims: Mapping[str, Node], c: Mapping[str, str] | None = None) -> Hypothesis:
    """The hypothesis with these claims (and names), without those that the output does not come to."""
    used, waiting = {h.I.output}, [h.I.output]
    while waiting:
        new = {i for i in claims[waiting.pop()].inputs if i in claims} - used
        used |= new
        waiting += new
    names = {name: image for name, image in (h.c if c is None else c).items() if name in used}
    kept = Graph({name: claim for name, claim in claims.items() if name in used})
    return Hypothesis(h.G, kept, names, columns=h.columns, scramble=h.scramble)


@checked
def random_circuit(hypothesis: Hypothesis, *, seed: int = 0) -> Hypothesis:
    """A circuit of as many edges of G as the hypothesis claims: random paths from the output to the data.

    Paths are added as long as they fit, so that it may be smaller by less than a path. It claims all that its nodes
    know of the data, as `circuit` does: beside a hypothesis with features, it is the harder one to beat.

    >>> from scrubbing import Graph, circuit
    >>> G = Graph(
    ...     a=lambda x: x,
    ...     b=lambda x: 2 * x,
    ...     c=lambda x: 3 * x,
    ...     out=lambda a, b, c: a + b + c,
    ...     loss=lambda out, y: abs(out - y),
    ... )
    >>> [random_circuit(circuit(G, "a b"), seed=seed).I["out"].inputs for seed in range(3)]
    [('b', 'c'), ('a', 'c'), ('a', 'c')]

    Raises `HypothesisError` where no path of the network is as short as the hypothesis.

    Source: Shi et al. 2024, Hypothesis testing the circuit hypothesis in LLMs: the sufficiency test.
    """
    h, G = hypothesis, hypothesis.G
    size, rng = len(claimed_edges(h)), generator(seed, "circuit")
    chosen, missed = set[Edge](), 0
    while len(chosen) < size and missed < TRIED:
        grown = chosen | set(random_path(G, rng))
        missed = 0 if len(chosen) < len(grown) <= size else missed + 1
        chosen = grown if not missed else chosen
    if not chosen:
        raise HypothesisError(
            f"the hypothesis claims {size} edge{'s' * (size != 1)} between nodes, and every path from the output to "
            f"the data that was tried has more: there is no random circuit of its size; choose other controls"
        )
    return Hypothesis(G, Graph(dict(_claims(h, chosen))), scramble=h.scramble)


def _claims(h: Hypothesis, edges: set[Edge]) -> Iterator[tuple[str, Node]]:
    inside = {name for edge in edges for name in edge}
    own = set(h.I[h.I.output].inputs)
    for name in h.G.order:
        if name in inside:
            inputs = [i for i in h.G[name].inputs if (name, i) in edges or i not in h.G]
            if name == h.G.output:
                inputs = [i for i in inputs if i in h.G or i in own]  # labels may be scrambled on purpose
            yield name, reads(*inputs)
