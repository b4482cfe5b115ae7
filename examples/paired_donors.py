"""Path patching with paired donors: two heads to the queries of a third, the MLP between them computed again."""

import torch
from random_transformer import ROWS, G, data

from scrubbing import paths, scrub
from scrubbing.rewrite import split_qkv

net = split_qkv(G, "a1_h0")
donors = torch.arange(ROWS).roll(1)  # the row before
two_heads, all_heads = (paths(net, names, "a1_h0_q", through="m*") for names in ("a0_h1 a0_h3", "a0.*"))
score = scrub(two_heads, data, baseline=all_heads, others=donors)
print(score)
