"""Transformers rewritten in several ways, each a graph that computes the same."""

from collections.abc import Callable

from reference_transformer import random_data, random_transformer

from scrubbing import Graph, reads
from scrubbing.lens import transformer
from scrubbing.rewrite import (
    all_but,
    copy,
    gather,
    group_heads,
    identity_attention,
    offset,
    split_mask,
    split_qkv,
    split_residual,
)


def plainly(G: Graph) -> Graph:
    return G


def masked(G: Graph) -> Graph:
    return split_mask(split_qkv(G, "a0_h0", "a1_h0"), "a0_h0", at=offset(1))


def off_two_masks(G: Graph) -> Graph:
    G = gather(split_qkv(G, "a0_h0", "a1_h0"), "logits", rest=all_but("a1_h0"))
    G = split_mask(G, "a0_h0", at_q=offset(0, 1), reader="a1_h0_q")
    return split_mask(G, "a0_h0", at_rest=offset(2), reader="rest")


def guessed(G: Graph) -> Graph:
    G = split_qkv(group_heads(G, both="a0_h0 a0_h1"), "both", "a1_h0")
    return split_residual(G, "both", guess=identity_attention(G, "both"))


def guessed_for_the_logits(G: Graph) -> Graph:
    G = split_qkv(G, "a1_h0", "a1_h1")
    G = split_residual(G, "a1_h0", guess=identity_attention(G, "a1_h0"))
    return split_mask(G, "a1_h1", here=offset(0))


def copied(G: Graph) -> Graph:
    return gather(copy(copy(G, "embed"), "a0_h1"), "a1_h0", some="embed_a1_h0 a0_h0".split())


REWRITES: dict[str, Callable[[Graph], Graph]] = {
    f.__name__: f for f in (plainly, masked, off_two_masks, guessed, guessed_for_the_logits, copied)
}
SMALL = random_transformer(n_heads=2, positional_embedding_type="shortformer")
GRAPHS = {name: rewrite(transformer(SMALL)) for name, rewrite in REWRITES.items() if name in ("plainly", "copied")}
CLAIMS = [
    Graph(loss=reads("logits", "labels", "weights"), logits=reads(*read), **{name: reads("tokens") for name in read})
    for read in (["a1_h0"], ["a0_h0", "a1_h1"], ["a0_h0", "a1_h0", "a1_h1"])
]
SMALL_DATA = random_data(SMALL.config, rows=5)
