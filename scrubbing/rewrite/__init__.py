"""Graph -> Graph, changing no value that was there before: what a hypothesis speaks of is made visible as a node."""

from scrubbing.rewrite.heads import (
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
