"""An ablation that keeps one mechanism: of what a head moves, only what lowers the logit of the token moved from.

The head is written as that part and the rest, and the rest is replaced by its mean. `scrubbing score copy-suppression`
does so as the paper does.
"""

import torch
from random_transformer import G, data, loaded

from scrubbing import Node, measure
from scrubbing.rewrite import split_qkv, split_residual

W_O, W_U = loaded.weights["blocks.1.attn.W_O"][1], loaded.weights["unembed.W_U"].T


def suppressed(pattern: torch.Tensor, v: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """What the head writes along the unembedding of each source, where it is negative."""
    along = torch.nn.functional.normalize(W_U[tokens.long()], dim=-1)
    written = ((v[:, :, 0] @ W_O) * along).sum(-1, keepdim=True).clamp(max=0)  # the node has one head, number 0
    return pattern[:, 0] @ (written * along)


net = split_qkv(G, "a1_h1")
net = split_residual(net, "a1_h1", guess=Node(suppressed, ("a1_h1_pattern", "a1_h1_v", "tokens")))
kept = {"a1_h1_error": "mean"}
scores = measure(net, {"kept": kept, "ablated": kept | {"a1_h1_guess": "mean"}}, data)
kl = {name: score.readings["kl"].value for name, score in scores.items()}
print(f"{1 - kl['kept'] / kl['ablated']:.0%} of the effect of the head is this mechanism")
