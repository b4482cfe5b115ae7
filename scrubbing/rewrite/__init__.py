"""Graph -> Graph, changing no value that was there before: what a hypothesis speaks of is made visible as a node.

Where several nodes are named, patterns will do: "a5.* m5" is a layer. Where a node is read by several others,
`reader=` gives that reader a version of its own, named `{node}_{reader}`, and rewrites it alone. Nodes that were
replaced by terms of a sum vanish: whoever sums its inputs reads the terms instead.

A hypothesis that stays legal keeps its score, draw for draw, with two exceptions: with others="input" each term of an
unclaimed sum has a donor of its own; and `gather` and the splits keep scores only under unclaimed="resample", since
anything else stands in for a sum or for each of its terms.
"""

from scrubbing.lens.components.attention import offset
from scrubbing.rewrite.copies import copy
from scrubbing.rewrite.groups import group
from scrubbing.rewrite.heads import group_heads, identity_attention, split_qkv
from scrubbing.rewrite.masks import split_mask
from scrubbing.rewrite.neurons import split_neurons
from scrubbing.rewrite.norms import split_norm
from scrubbing.rewrite.parts import project, split_positions
from scrubbing.rewrite.residual import split_residual
from scrubbing.rewrite.terms import all_but, gather, scatter

__all__ = [
    "all_but",
    "copy",
    "gather",
    "group",
    "group_heads",
    "identity_attention",
    "offset",
    "project",
    "scatter",
    "split_mask",
    "split_neurons",
    "split_norm",
    "split_positions",
    "split_qkv",
    "split_residual",
]
