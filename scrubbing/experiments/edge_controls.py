"""Minimality: what each claimed edge is needed for, among random edges that nobody claims."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Unpack

import numpy as np
from rich.console import RenderableType

from scrubbing.errors import HypothesisError, ScrubbingWarning
from scrubbing.errors.arguments import checked
from scrubbing.experiments.arguments import baseline_of
from scrubbing.experiments.random_circuits import Edge, claimed_edges, forced_edges, generator, pruned, random_path
from scrubbing.experiments.scoring import Baseline, Data, Settings, scrub
from scrubbing.graph import Node, reads
from scrubbing.graph.data import as_columns, at_least_one, seed_number
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Score, paired_advantage
from scrubbing.score.statistics import holm, interval_of_mean
from scrubbing.score.tables import Printed, decimals_for, estimate, titled

if TYPE_CHECKING:
    import pandas as pd

MOST_CONTROLS = 100_000
TRIED = 200  # paths, of which none adds an edge


@dataclass(frozen=True, eq=False, repr=False)
class EdgeControls(Printed):
    """What leaving out each claimed edge adds to the loss, among random edges of the network.

    `added` and `interval` are losses, by edge (a node, and what it reads); `random` what leaving out a random edge
    of a random path adds, which was claimed beside the hypothesis. `p` tests that an edge is needed no more than such a
    one, `corrected` for the number of edges (Holm).
    """

    score: Score
    added: Mapping[Edge, float]
    interval: Mapping[Edge, tuple[float, float] | None]
    random: tuple[float, ...]

    @property
    def p(self) -> dict[Edge, float]:
        """(1 + random edges that add as much) / (1 + random edges)."""
        held = np.array(self.random)
        return {edge: (1 + int((held >= added).sum())) / (1 + len(held)) for edge, added in self.added.items()}

    @property
    def corrected(self) -> dict[Edge, float]:
        """The same, so that all hold together."""
        return dict(zip(self.added, holm(np.array(list(self.p.values()))).tolist(), strict=True))

    @property
    def not_needed(self) -> tuple[Edge, ...]:
        """The edges that are not shown to be needed more than a random one, at 5%."""
        return tuple(edge for edge, p in self.corrected.items() if p > 0.05)

    @property
    def table(self) -> "pd.DataFrame":
        """A row for each claimed edge."""
        import pandas as pd

        ends = [self.interval[edge] or (np.nan, np.nan) for edge in self.added]
        rows = [
            (*edge, added, *end, p, corrected)
            for (edge, added), end, p, corrected in zip(
                self.added.items(), ends, self.p.values(), self.corrected.values(), strict=True
            )
        ]
        return pd.DataFrame(rows, columns=["node", "reads", "added", "low", "high", "p", "corrected"])

    def __rich__(self) -> RenderableType:
        decimals, corrected = decimals_for([*self.added.values()]), self.corrected
        rows = [
            (
                f"{name} reads {read}",
                estimate(added, self.interval[name, read], decimals),
                f"{corrected[name, read]:.3f}",
            )
            for (name, read), added in sorted(self.added.items(), key=lambda item: -item[1])
        ]
        notes = [
            f"{len(self.not_needed)} of {len(self.added)} edges are not shown to be needed more than a random one",
            f"p among {len(self.random)} random edges, Holm's correction; 95% intervals",
        ]
        return titled("the loss that leaving out an edge adds", ["edge", "added", "p"], rows, notes)


@checked
def edge_controls(
    hypothesis: Hypothesis,
    data: Data,
    *,
    baseline: Baseline,
    count: int | None = None,
    **settings: Unpack[Settings],
) -> EdgeControls:
    """Leave out each claimed edge, and hold the loss that this adds against that of random edges: minimality.

    A random edge: a random path of the network is claimed beside the hypothesis, and one of its edges that are new is
    left out again. None of these is in the hypothesis. `count` is their number, by default 20 for each claimed edge, at
    least 99, so that one of them can be told from chance. Edges into nodes that claim a feature are not left out, since
    the feature needs them. `settings` are those of `scrub`.

    >>> from scrubbing import Graph, circuit, reads
    >>> import torch
    >>> G = Graph(
    ...     a=lambda x: x,
    ...     b=lambda z: 0.1 * z,
    ...     c=lambda z: 0.1 * z,
    ...     out=lambda a, b, c: a + b - c,
    ...     loss=lambda out, x: abs(out - x),
    ... )
    >>> data = {"x": torch.arange(20.0) % 5, "z": torch.arange(20.0) % 4}
    >>> found = edge_controls(circuit(G, "a b"), data, baseline=Graph(loss=reads("x")), count=39)
    >>> found.not_needed
    (('out', 'b'),)

    Raises `HypothesisError` for a hypothesis none of whose edges can be left out, or that claims every path.

    Source: Shi et al. 2024, Hypothesis testing the circuit hypothesis in LLMs: the minimality test.
    """
    h = hypothesis
    edges = list(_free_edges(h))
    if not edges:
        raise HypothesisError(
            "no edge of this hypothesis can be left out: its nodes claim features of what they read, or every path "
            "takes the edge; random_controls has other nulls"
        )
    count = max(99, 20 * len(edges)) if count is None else count
    at_least_one("count", count, below=MOST_CONTROLS)
    rng = generator(seed_number(settings.get("seed", 0)), "edges")
    named = {"the hypothesis": h} | {f"without {i}": _without(h, *edge) for i, edge in enumerate(edges)}
    for i in range(count):
        larger, edge = _inflated(h, rng)
        named |= {f"larger {i}": larger, f"smaller {i}": _without(larger, *edge)}
    with warnings.catch_warnings():  # of the hypothesis itself alone
        warnings.filterwarnings("ignore", "hypothesis '(without|larger|smaller) ", ScrubbingWarning)
        scores = scrub(named, as_columns(data), baseline=baseline_of(h, baseline), **settings)
    own = scores["the hypothesis"]
    paired = [paired_advantage(own, scores[f"without {i}"]) for i in range(len(edges))]
    names = [(h.image(name), h.image(read)) for name, read in edges]
    return EdgeControls(
        own,
        {edge: added.mean() for edge, added in zip(names, paired, strict=True)},
        {
            edge: interval_of_mean(added, design=own.design, most=own.reach)
            for edge, added in zip(names, paired, strict=True)
        },
        tuple(paired_advantage(scores[f"larger {i}"], scores[f"smaller {i}"]).mean() for i in range(count)),
    )


def _free_edges(h: Hypothesis) -> Iterator[Edge]:
    """The claimed edges that can be left out, by their names in I."""
    forced = forced_edges(h.G)
    for name, node in h.I.items():
        for read in node.inputs:
            if node.is_reads and read in h.I and (h.image(name), h.image(read)) not in forced:
                yield name, read


def _without(h: Hypothesis, name: str, read: str) -> Hypothesis:
    """The hypothesis with one edge left open."""
    node = h.I[name]
    left = replace(node, inputs=tuple(i for i in node.inputs if i != read))
    return pruned(h, {**{n: h.I[n] for n in h.I}, name: left})


def _inflated(h: Hypothesis, rng: np.random.Generator) -> tuple[Hypothesis, Edge]:
    """The hypothesis with a random path beside it, and a random edge of what is new in it, by names in I."""
    own = claimed_edges(h)
    names = {h.image(name): name for name in h.I}
    for _ in range(TRIED):
        path = random_path(h.G, rng)
        new = [edge for edge in path if edge not in own]
        if not new or any(reader in names and not h.I[names[reader]].is_reads for reader, _ in new):
            continue
        larger, called = _with(h, new, names)
        name, read = new[int(rng.integers(len(new)))]
        return larger, (called[name], called[read])
    raise HypothesisError(
        "no path of the network could be claimed beside this hypothesis: it claims all of them, or features that "
        "another input would change; random_controls has other nulls"
    )


def _with(h: Hypothesis, new: list[Edge], names: Mapping[str, str]) -> tuple[Hypothesis, dict[str, str]]:
    """The hypothesis with new edges, and the names in I of their nodes."""
    called = {name: names.get(name, _unused(name, h)) for edge in new for name in edge}
    claims: dict[str, Node] = {name: h.I[name] for name in h.I}
    for name in called:
        if name not in names:
            claims[called[name]] = reads(*(i for i in h.G[name].inputs if i not in h.G))
    for reader, read in new:
        node = claims[called[reader]]
        claims[called[reader]] = replace(node, inputs=(*node.inputs, called[read]))
    c = dict(h.c) | {own: name for name, own in called.items() if own != name}
    return pruned(h, claims, c), called


def _unused(name: str, h: Hypothesis) -> str:
    """A name for a node of G that I does not use for another."""
    return name if name not in h.I else f"{name}_beside"
