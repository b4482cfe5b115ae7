"""A transformer as a graph: which nodes it has, what each reads, and who owns each bias.

| node | reads | value |
|---|---|---|
| `embed` | the column `tokens` | token (and standard position) embeddings, normalised where the model does so |
| `pos_embed`, if asked for | the column `tokens` | the position embeddings, which `embed` has otherwise |
| `a{layer}_h{head}` | all that was written before its layer | what the head writes, its value bias with it |
| `a{layer}`, where a norm follows attention | the layer's heads | their sum and output bias, normalised |
| `m{layer}` | all that was written before it; in parallel blocks what its layer's heads read | what the MLP writes |
| `logits` | all that was written | lazy logits |
| `loss` | `logits`, the columns `labels` and `weights` | one weighted cross-entropy per row |

Output biases of attention and of MLPs belong to every reader of the stream after them, or to the norm that follows;
the unembedding's bias belongs to `logits`, all others to the node whose weights they stand beside. Heads that share
keys and values each have them as their own. With `padded` rows, heads (and `embed`, if it adds positions) also read
`padding`, a node that is the column `attention_mask`: a claim that reads that column has it on all its paths.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from scrubbing.errors import GraphError
from scrubbing.errors.arguments import checked
from scrubbing.graph import Graph, Node
from scrubbing.lens.components.attention import Attention
from scrubbing.lens.components.loss import WeightedCrossEntropy
from scrubbing.lens.components.mlp import MLP, Neurons
from scrubbing.lens.components.norm import NO_NORM, Norm
from scrubbing.lens.components.projection import HeadNorm, Projection
from scrubbing.lens.components.readout import Readout
from scrubbing.lens.components.residual import RESID_POSITION_AXIS, Embedding, PositionEmbedding, ResidualReader, Sum
from scrubbing.lens.components.rotary import Rotary
from scrubbing.lens.components.scores import Mask, Scores, alibi_slopes
from scrubbing.lens.config import TransformerConfig
from scrubbing.lens.grouping import grouped
from scrubbing.lens.members import heads_of, members_of
from scrubbing.lens.weights import Transformer

PADDING = "attention_mask"


@checked
def transformer(model: Transformer, /, *, padded: bool = False, pos_embed: bool = False, **groups: str) -> Graph:
    """The graph of a transformer: a node for the embedding, each head, each MLP, the logits and the loss.

    It reads the columns `tokens` and `labels` (`[row, position]`, whole numbers) and `weights` (`[row, position]`),
    which `next_token_data` makes; with `padded`, also `attention_mask` (`[row, position]`, 1 for tokens and 0 for
    padding at either side). What nodes write is `[row, position, d_model]`; `loss` is `[row]`, in nats if the weights
    of a row sum to one on average. With `pos_embed` the position embeddings are a node of their own. Any other keyword
    makes one node of several: of heads of a layer (names, or a pattern: `ind="a1_h5 a1_h6"`, `first="a0.*"`), or of
    whole blocks (`late="a5.* m5"`), which may read each other.

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

    Raises `GraphError` for a group that names no node, an unknown node or one twice, or some heads of several layers.

    Source: Elhage et al. 2021, A Mathematical Framework for Transformer Circuits: heads and MLPs read what was written
    to the residual stream, and add to it.
    """
    config = model.config
    members, composed = members_of(config, groups, reserved=(PADDING,))
    padding = ("padding",) if padded else ()
    nodes = _embeddings(model, padding, pos_embed)
    stream = tuple(nodes)
    if padded:
        nodes["padding"] = Node(Sum(), (PADDING,), RESID_POSITION_AXIS)
    for layer in range(config.n_layers):
        attention, before = _attention(model, layer, padded), stream
        heads = {
            name: Node(attention.heads(heads), (*stream, *padding), RESID_POSITION_AXIS)
            for name, heads in heads_of(layer, config.n_heads, members)
        }
        nodes |= heads
        written = tuple(heads)
        if config.norm_placement != "before":
            written = (f"a{layer}",)
            nodes[written[0]] = Node(_post(model, layer, "ln1_post", "attn.b_O"), tuple(heads), RESID_POSITION_AXIS)
        stream += written
        if not config.attn_only:
            read = before if config.parallel_attn_mlp else stream
            nodes[f"m{layer}"] = Node(_mlp(model, layer), read, RESID_POSITION_AXIS)
            stream += (f"m{layer}",)
    nodes["logits"] = Node(_readout(model), stream)
    nodes["loss"] = Node(WeightedCrossEntropy(), ("logits", "labels", "weights"))
    place = {name: i for i, name in enumerate(nodes)}
    for name, parts in sorted(composed.items(), key=lambda item: min(place[part] for part in item[1])):
        nodes |= grouped(nodes, name, [part for part in nodes if part in parts])
    return Graph({name: node for name, node in nodes.items() if not any(name in parts for parts in composed.values())})


def _embeddings(model: Transformer, padding: tuple[str, ...], pos_embed: bool) -> dict[str, Node]:
    config, weights = model.config, model.weights
    W_pos = weights["pos_embed.W_pos"] if config.positional_embedding_type == "standard" else None
    norm = _norm(model, "embed.ln") if config.post_embedding_ln else NO_NORM
    columns = ("tokens", *padding) if W_pos is not None else ("tokens",)
    if not pos_embed:
        embedding = Embedding(weights["embed.W_E"], W_pos, config.embed_scale, norm)
        return {"embed": Node(embedding, columns, RESID_POSITION_AXIS)}
    if W_pos is None:
        kind = config.positional_embedding_type
        raise GraphError(f"pos_embed=True, but the model's positions are {kind!r}: it adds none to the embeddings")
    if norm.kind is not None:
        raise GraphError("pos_embed=True, but the model normalises token and position embeddings together")
    return {
        "embed": Node(Embedding(weights["embed.W_E"], None, config.embed_scale), ("tokens",), RESID_POSITION_AXIS),
        "pos_embed": Node(PositionEmbedding(W_pos), columns, RESID_POSITION_AXIS),
    }


def _attention(model: Transformer, layer: int, padded: bool) -> Attention:
    config, weights = model.config, model.weights
    block = f"blocks.{layer}"
    reader = _reader(model, f"{block}.ln1", _bias_before(model, layer))
    shortformer = config.positional_embedding_type == "shortformer"
    position = weights["pos_embed.W_pos"] if shortformer else None
    rotary = _rotary(config, layer)

    def projection(m: str, position: Tensor | None, norm: HeadNorm | None, rotary: Rotary | None) -> Projection:
        W, b = weights[f"{block}.attn.W_{m}"], weights.get(f"{block}.attn.b_{m}")
        shared = None
        if len(W) < config.n_heads:
            shared = tuple(head * len(W) // config.n_heads for head in range(config.n_heads))
        return Projection(reader, W, b, position, rotary, norm, shared)

    return Attention(
        q=projection("Q", position, _head_norm(model, layer, "q"), rotary),
        k=projection("K", position, _head_norm(model, layer, "k"), rotary),
        v=projection("V", None, None, None),
        W_O=_written(config, weights[f"{block}.attn.W_O"]),
        scores=_scores(config, layer, padded),
    )


def _scores(config: TransformerConfig, layer: int, padded: bool) -> Scores:
    window = config.window_size if config.is_local(layer) else None
    mask = Mask(config.attention_dir == "causal", window, padded)
    slopes = alibi_slopes(config.n_heads) if config.positional_embedding_type == "alibi" else None
    return Scores(config.score_scale(layer), mask, config.attn_scores_soft_cap, slopes)


def _head_norm(model: Transformer, layer: int, name: str) -> HeadNorm | None:
    if model.config.qk_norm is None:
        return None
    norm = _norm(model, f"blocks.{layer}.attn.{name}_norm")
    return HeadNorm(norm, together=model.config.qk_norm == "layer")


def _mlp(model: Transformer, layer: int) -> MLP:
    config, weights = model.config, model.weights
    block = f"blocks.{layer}"
    own = "ln1" if config.parallel_attn_mlp and f"{block}.ln2.w" not in weights else "ln2"
    bias = _bias_before(model, layer, attention_too=not config.parallel_attn_mlp)
    neurons = Neurons(
        weights[f"{block}.mlp.W_in"],
        weights.get(f"{block}.mlp.b_in"),
        config.act_fn or "",
        weights.get(f"{block}.mlp.W_gate"),
        weights.get(f"{block}.mlp.b_gate"),
        Norm("LN", config.eps, weights.get(f"{block}.mlp.ln.w"), weights.get(f"{block}.mlp.ln.b"))
        if config.act_fn == "solu_ln"
        else NO_NORM,
    )
    post = None if config.norm_placement == "before" else _post(model, layer, "ln2_post", "mlp.b_out")
    return MLP(_reader(model, f"{block}.{own}", bias), neurons, _written(config, weights[f"{block}.mlp.W_out"]), post)


def _readout(model: Transformer) -> Readout:
    config, scale = model.config, model.config.logit_scale
    norm, b_U = _norm(model, "ln_final"), model.weights.get("unembed.b_U")
    if scale != 1:  # of the gain, since the unembedding may be the embedding's own matrix
        ones = torch.ones_like(model.weights["unembed.W_U"][:, 0])
        w, b = ones if norm.w is None else norm.w, norm.b
        norm = replace(norm, w=scale * w, b=None if b is None else scale * b)
        b_U = None if b_U is None else scale * b_U
    reader = ResidualReader(norm, _bias_before(model, config.n_layers))
    return Readout(reader, model.weights["unembed.W_U"], b_U, config.output_logits_soft_cap)


def _reader(model: Transformer, name: str, bias: Tensor | None) -> ResidualReader:
    """How a block reads the stream: where its norm comes after it, as it is."""
    return ResidualReader(NO_NORM if model.config.norm_placement == "after" else _norm(model, name), bias)


def _post(model: Transformer, layer: int, norm: str, bias: str) -> ResidualReader:
    """The norm after a block, with the block's output bias."""
    return ResidualReader(_norm(model, f"blocks.{layer}.{norm}"), model.weights.get(f"blocks.{layer}.{bias}"))


def _norm(model: Transformer, name: str) -> Norm:
    config, weights = model.config, model.weights
    kind = "RMS" if config.final_rms and name == "ln_final" else config.norm_kind
    if not config.norm_has_gain:
        return Norm(kind, config.eps)
    w = weights[f"{name}.w"]
    return Norm(kind, config.eps, w + 1 if config.rmsnorm_uses_offset else w, weights.get(f"{name}.b"))


def _bias_before(model: Transformer, layer: int, attention_too: bool = False) -> Float[Tensor, " d_model"] | None:
    """The output biases of all earlier layers, and with `attention_too` that of the layer's attention, summed."""
    if model.config.norm_placement != "before":
        return None  # each was normalised with what it was added to
    names = [f"blocks.{earlier}.{name}" for earlier in range(layer) for name in ("attn.b_O", "mlp.b_out")]
    names += [f"blocks.{layer}.attn.b_O"] if attention_too else []
    biases = [model.weights[name] for name in names if name in model.weights]
    return _written(model.config, torch.stack(biases).sum(0)) if biases else None


def _written(config: TransformerConfig, W: Tensor) -> Tensor:
    """What a block writes with, in the scale of the stream."""
    return W if config.residual_scale == 1 else config.residual_scale * W


def _rotary(config: TransformerConfig, layer: int) -> Rotary | None:
    if config.positional_embedding_type != "rotary":
        return None
    dims, adjacent = config.rotary_dim or config.d_head, config.rotary_adjacent_pairs
    if config.rotary_base_local is not None and config.is_local(layer):
        return Rotary(dims, config.rotary_base_local, adjacent)  # Gemma 3: local layers are not stretched
    return Rotary(dims, config.rotary_base, adjacent, config.rope_scaling)
