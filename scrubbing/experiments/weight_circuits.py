"""Circuits of weights: what a head makes of tokens by its matrices alone, without positions and other heads.

A matrix of all tokens by all tokens is never held, but for a block of its rows.

Source: Elhage et al. 2021, A Mathematical Framework for Transformer Circuits; McDougall et al. 2023, Copy Suppression,
section 3.1.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from rich.console import RenderableType
from torch import Tensor

from scrubbing.errors import DataError, GraphError, nearest
from scrubbing.errors.arguments import checked
from scrubbing.graph import Graph
from scrubbing.lens.components.attention import Attention
from scrubbing.lens.components.direct import Pulled
from scrubbing.lens.components.mlp import MLP
from scrubbing.lens.components.norm import Norm
from scrubbing.lens.components.projection import Heads, Projection
from scrubbing.lens.components.readout import Readout, precise
from scrubbing.lens.components.residual import Embedding, ResidualReader
from scrubbing.score.tables import Printed, titled

if TYPE_CHECKING:
    import pandas as pd

Vectors = Float[Tensor, "token d_model"]

BLOCK = 2**22  # numbers of a matrix held at a time
MOST = 5000  # tokens whose ranks are found, unless more are asked for

OV, QK, EMBEDDED = "ov", "qk", "qk, embedded queries"


@checked
@torch.no_grad()
def effective_embedding(G: Graph) -> Vectors:
    """What each token is to later layers: its embedding and what the first MLP makes of it; no positions, no heads.

    `[token, d_model]`, for the vocabulary of the embedding. Of a network without MLPs it is the embedding.

    >>> from hypotheses.induction.suite import SHIPPED
    >>> from scrubbing import effective_embedding
    >>> from scrubbing.lens import load_transformer, transformer
    >>> tuple(effective_embedding(transformer(load_transformer(SHIPPED))).shape)
    (4096, 256)

    Raises `GraphError` for a graph whose embedding or first MLP is no node of its own.

    Source: McDougall et al. 2023, Copy Suppression, section 3.1; after Gurnee et al. 2023.
    """
    embedding = _fn(G, "embed", Embedding, "the embedding")
    mlp = _fn(G, "m0", MLP, "the first MLP") if any(isinstance(node.fn, MLP) for node in G.values()) else None
    tokens = torch.arange(len(embedding.W_E), device=embedding.W_E.device)
    if mlp is None:
        return replace(embedding, W_pos=None)(tokens[None])[0]
    before, after = mlp.reader.bias, _bias_after_first_block(G)
    pieces = []
    for some in tokens.split(max(1, BLOCK // len(mlp.W_out))):
        embedded = replace(embedding, W_pos=None)(some[None])
        pieces.append((embedded + mlp(embedded))[0])
    made = torch.cat(pieces)
    return made if after is None else made + (after if before is None else after - before)


@dataclass(frozen=True, eq=False)
class HeadCircuits:
    """The matrices of one head, between tokens as its layer reads them and tokens as they are predicted.

    Bilinear forms alone: without the biases of projections, norms and unembedding. A rotary embedding counts as where
    query and key stand at one position, and a norm of what a head or layer writes by its gain, which is the same for
    all that is compared with each other.
    """

    head: Attention
    readout: Readout
    embedded: Vectors
    post: Norm | None = None  # after attention

    @classmethod
    @checked
    def of(cls, G: Graph, head: str) -> "HeadCircuits":
        """Those of a head of a language model's graph.

        >>> from hypotheses.induction.suite import SHIPPED
        >>> from scrubbing.lens import load_transformer, transformer
        >>> tuple(HeadCircuits.of(transformer(load_transformer(SHIPPED)), "a1_h5").written.shape)
        (4096, 256)

        Raises `GraphError` for a node that is no single head, and what `effective_embedding` raises.
        """
        fn = _fn(G, head, Attention, "an attention head, not yet split")
        if len(fn.W_O) > 1:
            raise GraphError(f"{head!r} is a group of {len(fn.W_O)} heads, and a circuit is that of one head")
        readout = next((node.fn for node in G.values() if isinstance(node.fn, Readout)), None)
        if readout is None:
            raise GraphError("no node of the graph makes logits; make it with transformer(model)")
        after = [G[reader].fn for reader in G.readers(head)]
        norms = [read.norm for read in after if isinstance(read, ResidualReader) and read.norm.kind is not None]
        return cls(fn, readout, effective_embedding(G), norms[0] if norms else None)

    @cached_property
    def sources(self) -> Vectors:
        """Each token as the head reads it."""
        return self.read(precise(self.embedded))

    @cached_property
    def unembedded(self) -> Vectors:
        """Each token as a direction of the final stream, less the mean of all, which changes no prediction."""
        W = precise(self.readout.W_U)
        return Pulled(self.readout)((W - W.mean(1, keepdim=True)).T[None])[0]

    @cached_property
    def written(self) -> Vectors:
        """What the head writes of each token."""
        made = self._projected(self.head.v, self.sources) @ precise(self.head.W_O[0])
        if self.post is None:
            return made
        return self.post.centred(made) * (1.0 if self.post.w is None else precise(self.post.w))

    @cached_property
    def keys(self) -> Float[Tensor, "token d_head"]:
        """Each token as a key."""
        return self._projected(self.head.k, self.sources)

    def queries(self, vectors: Vectors) -> Float[Tensor, "token d_head"]:
        """Vectors of the stream as queries."""
        return self._projected(self.head.q, self.read(precise(vectors)))

    def read(self, vectors: Vectors) -> Vectors:
        """As what the head reads, but without the norm's bias: of size root d_model before the gain."""
        norm = self.head.q.reader.norm
        if norm.kind is None:
            return vectors
        centred = norm.centred(vectors)
        scaled = centred * centred.square().mean(-1, keepdim=True).clamp(min=1e-30).rsqrt()
        return scaled if norm.w is None else scaled * precise(norm.w)

    def _projected(self, projection: Projection, x: Vectors) -> Float[Tensor, "token d_head"]:
        bare = replace(projection, W=precise(projection.W), b=None, position=None, rotary=None)
        pieces = (bare.of_normalised(some[None]) for some in x.split(max(1, BLOCK // bare.W[:, 0].numel())))
        made = torch.cat([piece[0] for piece in pieces])
        return (made if bare.chosen is None else Heads(bare.chosen)(made[None])[0])[:, 0]


@dataclass(frozen=True, eq=False, repr=False)
class CircuitRanks(Printed):
    """The place of each token among others in its own row of a head's circuits, 0 for the first: `ranks[circuit]`.

    - "ov": of each source token, itself among the outputs that it lowers most (last, where it raises itself most)
    - "qk": of each predicted token, itself among the sources that are attended to most
    - "qk, embedded queries": the same with effective embeddings as queries, as a baseline
    """

    head: str
    tokens: Int[Tensor, " ranked"]
    among: int
    ranks: Mapping[str, Int[Tensor, " ranked"]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A summary of each circuit: shares of tokens that are first, in the first 10 and 5%, and the median rank."""
        return [
            {
                "circuit": circuit,
                "among": self.among,
                "ranked": len(ranks),
                "first": (ranks == 0).double().mean().item(),
                "top_10": (ranks < 10).double().mean().item(),
                "top_5_percent": (ranks < 0.05 * self.among).double().mean().item(),
                "median_rank": ranks.double().median().item(),
            }
            for circuit, ranks in self.ranks.items()
        ]

    @property
    def frame(self) -> "pd.DataFrame":
        """The summary as a table."""
        import pandas as pd

        return pd.DataFrame(self.rows).set_index("circuit")

    def __rich__(self) -> RenderableType:
        rows = [
            [
                row["circuit"],
                f"{row['first']:.1%}",
                f"{row['top_10']:.1%}",
                f"{row['top_5_percent']:.1%}",
                f"{row['median_rank']:,.0f}",
            ]
            for row in self.rows
        ]
        notes = [f"{len(self.tokens):,} tokens, each among {self.among:,}"]
        return titled(
            f"the own token in the circuits of {self.head}",
            ["circuit", "first", "first 10", "first 5%", "median rank"],
            rows,
            notes,
        )


@checked
@torch.no_grad()
def circuit_ranks(G: Graph, head: str, *, tokens: Any = None, most: int = MOST) -> CircuitRanks:
    """Where each token stands in its own row of a head's OV and QK circuits, by effective embeddings.

    `tokens` are those that are ranked, and among which they are (token numbers; all by default). Of more than `most` of
    them, evenly spread ones are ranked, among all.

    >>> from hypotheses.induction.suite import SHIPPED
    >>> from scrubbing import circuit_ranks
    >>> from scrubbing.lens import load_transformer, transformer
    >>> found = circuit_ranks(transformer(load_transformer(SHIPPED)), "a1_h5", most=100)
    >>> float(found.frame.loc["ov", "top_5_percent"])  # it copies: few tokens are among those that they lower most
    0.0

    Raises `GraphError` for a node that is no single head, `DataError` for tokens that are none.
    """
    circuits = HeadCircuits.of(G, head)
    chosen = _chosen(tokens, min(len(circuits.embedded), len(circuits.unembedded)), circuits.unembedded.device)
    ranked = chosen if len(chosen) <= most else chosen[:: len(chosen) // most + 1]
    of = {
        OV: (-circuits.written, circuits.unembedded),
        QK: (circuits.queries(circuits.unembedded), circuits.keys),
        EMBEDDED: (circuits.queries(circuits.embedded), circuits.keys),
    }
    ranks = {circuit: torch.cat([*_ranks(rows, columns, ranked, chosen)]) for circuit, (rows, columns) in of.items()}
    return CircuitRanks(head, ranked, len(chosen), ranks)


def _ranks(
    rows: Float[Tensor, "token width"],
    columns: Float[Tensor, "token width"],
    ranked: Int[Tensor, " ranked"],
    among: Int[Tensor, " among"],
) -> Iterator[Int[Tensor, " some"]]:
    """How many tokens score higher than the own one, for some tokens at a time."""
    others = columns[among].T
    for some in ranked.contiguous().split(max(1, BLOCK // len(among))):
        scores = rows[some] @ others
        own = scores.gather(1, torch.searchsorted(among, some)[:, None])
        yield (scores > own).sum(1)


def _chosen(tokens: Any, vocabulary: int, device: torch.device) -> Int[Tensor, " token"]:
    if tokens is None:
        return torch.arange(vocabulary, device=device)
    found = torch.as_tensor(tokens)
    if (
        found.is_floating_point()
        or found.is_complex()
        or found.dtype == torch.bool
        or found.ndim != 1
        or not len(found)
    ):
        raise DataError(f"tokens must be token numbers, and are of type {found.dtype}, shape {list(found.shape)}")
    wrong = found[(found < 0) | (found >= vocabulary)]
    if len(wrong):
        raise DataError(f"tokens names token {int(wrong[0])}; the vocabulary has the tokens 0 to {vocabulary - 1}")
    return found.unique().to(device)


def _bias_after_first_block(G: Graph) -> Float[Tensor, " d_model"] | None:
    """The output biases that are read by what follows the first MLP."""
    for reader in G.readers("m0"):
        fn = G[reader].fn
        read = getattr(fn.q if isinstance(fn, Attention) else fn, "reader", None)
        if isinstance(read, ResidualReader):
            return read.bias
    return None


def _fn(G: Graph, name: str, kind: type[Any], wanted: str) -> Any:
    fn = G[name].fn if name in G else None
    if not isinstance(fn, kind):
        what = f"{name!r} is {type(fn).__name__}" if fn is not None else f"there is no node {name!r}{nearest(name, G)}"
        raise GraphError(f"{what}, and circuits of weights need {wanted}; make the graph with transformer(model)")
    return fn
