"""A transformer as a graph: which nodes it has, what each reads, and who owns each bias.

| node | reads | value |
|---|---|---|
| `embed` | the column `tokens` | token (and standard position) embeddings |
| `a{layer}_h{head}` | `embed` and every head of earlier layers | what the head writes, its value bias with it |
| `logits` | `embed` and every head | lazy logits |
| `loss` | `logits`, the columns `labels` and `weights` | one weighted cross-entropy per row |

A layer's output bias belongs to every reader of the stream after it; the unembedding's bias to `logits`.
"""

from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from scrubbing.errors import GraphError, nearest
from scrubbing.graph import Graph, Node
from scrubbing.lens.components.attention import Attention
from scrubbing.lens.components.loss import WeightedCrossEntropy
from scrubbing.lens.components.norm import Norm
from scrubbing.lens.components.projection import Projection, Rotary
from scrubbing.lens.components.readout import Readout
from scrubbing.lens.components.residual import RESID_POSITION_AXIS, Embedding, ResidualReader
from scrubbing.lens.components.scores import Scores
from scrubbing.lens.config import TransformerConfig
from scrubbing.lens.loading import Transformer


def transformer(model: Transformer, **groups: str) -> Graph:
    """The graph of a transformer: a node for the embedding, for each head, for the logits and for the loss.

    It reads the columns `tokens` and `labels` (`[row, position]`, whole numbers) and `weights` (`[row, position]`),
    which `next_token_data` makes. `embed` and the heads are `[row, position, d_model]`; `loss` is `[row]`, in nats if
    the weights of a row sum to one on average. A keyword makes one node of several heads of a layer.

    >>> import torch
    >>> from scrubbing.lens import Transformer, TransformerConfig, next_token_data, transformer
    >>> sizes = dict(n_layers=1, n_heads=2, d_model=4, d_head=2, d_vocab=3, n_ctx=5, normalization_type=None)
    >>> shapes = {"embed.W_E": (3, 4), "pos_embed.W_pos": (5, 4), "unembed.W_U": (4, 3), "blocks.0.attn.W_O": (2, 2, 4)}
    >>> shapes |= {f"blocks.0.attn.W_{m}": (2, 4, 2) for m in "QKV"}
    >>> weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
    >>> model = Transformer(TransformerConfig(**sizes), weights)
    >>> G = transformer(model, both="a0_h0 a0_h1")
    >>> G
    Graph of 4 nodes, output 'loss', columns labels, tokens, weights
      embed(tokens)
      both(embed)
      logits(embed, both)
      loss(logits, labels, weights)
    >>> G(next_token_data([[0, 1, 2]], model=model))  # no weight knows anything: log 3
    tensor([1.0986])

    Raises `GraphError` for a group that names no head, an unknown head or one twice, or heads of several layers.

    Source: Elhage et al. 2021, A Mathematical Framework for Transformer Circuits: attention-only models, in which each
    head adds to the residual stream.
    """
    members = _members(model.config, groups)
    nodes: dict[str, Node] = {"embed": Node(_embedding(model), ("tokens",), RESID_POSITION_AXIS)}
    for layer in range(model.config.n_layers):
        attention, stream = _layer(model, layer), tuple(nodes)
        for name, heads in _heads_of(layer, model.config.n_heads, members):
            nodes[name] = Node(attention.heads(heads), stream, RESID_POSITION_AXIS)
    nodes["logits"] = Node(_readout(model), tuple(nodes))
    nodes["loss"] = Node(WeightedCrossEntropy(), ("logits", "labels", "weights"))
    return Graph(nodes)


Head = tuple[int, int]  # layer and number


def _members(config: TransformerConfig, groups: Mapping[str, str]) -> dict[str, list[Head]]:
    """The heads of each group."""
    known = {f"a{layer}_h{head}": (layer, head) for layer in range(config.n_layers) for head in range(config.n_heads)}
    seen: dict[str, str] = {}
    found: dict[str, list[Head]] = {}
    for group, written in groups.items():
        names = written.split()
        if group in known or group in ("embed", "logits", "loss", "tokens", "labels", "weights"):
            raise GraphError(f"there is a node or column {group!r} already; choose another name")
        if not names:
            raise GraphError(f"{group!r} groups {written!r}; a group names at least one head")
        for name in names:
            if name not in known:
                raise GraphError(f"{group!r} groups {name!r}, which is no head of this model{nearest(name, known)}")
            if name in seen:
                raise GraphError(f"{name!r} is named twice, in {seen[name]!r} and in {group!r}; name each head once")
            seen[name] = group
        found[group] = [known[name] for name in names]
        if len({layer for layer, _ in found[group]}) > 1:
            raise GraphError(f"{group!r} groups {', '.join(names)}; group heads of one layer")
    return found


def _heads_of(layer: int, n_heads: int, members: Mapping[str, list[Head]]) -> Iterator[tuple[str, list[int]]]:
    """The nodes of a layer with their heads: a group stands where its first head stood."""
    grouped = {head: (group, heads) for group, heads in members.items() for head in heads}
    for head in range(n_heads):
        group, heads = grouped.get((layer, head), (f"a{layer}_h{head}", [(layer, head)]))
        if heads[0] == (layer, head):
            yield group, [h for _, h in heads]


def _embedding(model: Transformer) -> Embedding:
    standard = model.config.positional_embedding_type == "standard"
    return Embedding(model.weights["embed.W_E"], model.weights["pos_embed.W_pos"] if standard else None)


def _layer(model: Transformer, layer: int) -> Attention:
    config, weights = model.config, model.weights
    block = f"blocks.{layer}"
    reader = ResidualReader(_norm(config, weights, f"{block}.ln1"), _bias_before(weights, layer))
    shortformer = config.positional_embedding_type == "shortformer"
    position = weights["pos_embed.W_pos"] if shortformer else None

    def projection(m: str, position: Tensor | None, rotary: Rotary | None) -> Projection:
        return Projection(reader, weights[f"{block}.attn.W_{m}"], weights.get(f"{block}.attn.b_{m}"), position, rotary)

    rotary = _rotary(config)
    return Attention(
        q=projection("Q", position, rotary),
        k=projection("K", position, rotary),
        v=projection("V", None, None),
        W_O=weights[f"{block}.attn.W_O"],
        scores=Scores(config.score_scale),
    )


def _readout(model: Transformer) -> Readout:
    reader = ResidualReader(
        _norm(model.config, model.weights, "ln_final"), _bias_before(model.weights, model.config.n_layers)
    )
    return Readout(reader, model.weights["unembed.W_U"], model.weights.get("unembed.b_U"))


def _norm(config: TransformerConfig, weights: Mapping[str, Tensor], name: str) -> Norm:
    if not config.norm_has_gain:
        return Norm(config.norm_kind, config.eps)
    return Norm(config.norm_kind, config.eps, weights[f"{name}.w"], weights.get(f"{name}.b"))


def _bias_before(weights: Mapping[str, Tensor], layer: int) -> Float[Tensor, " d_model"] | None:
    """The output biases of all earlier layers, summed."""
    biases = [weights[name] for earlier in range(layer) if (name := f"blocks.{earlier}.attn.b_O") in weights]
    return torch.stack(biases).sum(0) if biases else None


def _rotary(config: TransformerConfig) -> Rotary | None:
    if config.positional_embedding_type != "rotary":
        return None
    return Rotary(config.rotary_dim or config.d_head, config.rotary_base, config.rotary_adjacent_pairs)
