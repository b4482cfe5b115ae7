"""A transformer as a graph: which nodes it has, what each reads, and who owns each bias.

| node | reads | value |
|---|---|---|
| `embed` | the column `tokens` | token (and standard position) embeddings |
| `a{layer}_h{head}` | `embed` and every head of earlier layers | what the head writes, its value bias with it |
| `logits` | `embed` and every head | lazy logits |
| `loss` | `logits`, the columns `labels` and `weights` | one weighted cross-entropy per row |

A layer's output bias belongs to every reader of the stream after it; the unembedding's bias to `logits`.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from scrubbing.components.attention import Attention
from scrubbing.components.loss import WeightedCrossEntropy
from scrubbing.components.norm import Norm
from scrubbing.components.projection import Projection, Rotary
from scrubbing.components.readout import Readout
from scrubbing.components.residual import Embedding, ResidualReader
from scrubbing.graph import Graph, Node
from scrubbing.lens.config import TransformerConfig
from scrubbing.lens.loading import Transformer
from scrubbing.rewrite import RESID_POSITION_AXIS, group_heads


def transformer(model: Transformer, **groups: str) -> Graph:
    """The graph of a transformer, some of its heads as groups: `transformer(model, ind="a1_h5 a1_h6")`."""
    layers = [_layer(model, layer) for layer in range(model.config.n_layers)]
    nodes: dict[str, Node] = {"embed": Node(_embedding(model), ("tokens",), RESID_POSITION_AXIS)}
    for layer, attention in enumerate(layers):
        stream = tuple(nodes)
        for head in range(model.config.n_heads):
            nodes[f"a{layer}_h{head}"] = Node(attention.heads([head]), stream, RESID_POSITION_AXIS)
    nodes["logits"] = Node(_readout(model), tuple(nodes))
    nodes["loss"] = Node(WeightedCrossEntropy(), ("logits", "labels", "weights"))
    # Grouping at birth is no rewrite: the grouped graph is the one that rewrites are checked against.
    return Graph(dict(group_heads(Graph(nodes), **groups)))


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
        scale=config.score_scale,
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
