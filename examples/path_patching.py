"""Path patching on the shipped model: which heads of the first layer make the induction heads' keys?

Each head alone gets a donor's value on its edges to the keys, and its share is that of all such heads together. Then,
what every head adds to the logit of the next token.
"""

import torch

from hypotheses.induction import case
from hypotheses.induction.roles import load_roles
from hypotheses.induction.suite import SHIPPED
from scrubbing import direct_effects, paths, scrub
from scrubbing.lens import load_transformer, transformer
from scrubbing.rewrite import split_qkv

model = load_transformer(SHIPPED)
induction = load_roles(SHIPPED / "roles.json", n_layers=2, n_heads=8).induction
names = [f"a{layer}_h{head}" for layer, head in induction]
G = split_qkv(transformer(model), *names)
keys = [f"{name}_k" for name in names]

data = case("naive").data
donors = torch.arange(len(data["tokens"])).roll(1)  # the row before
heads = [f"a0_h{head}" for head in range(8)]
patched = {head: paths(G, head, keys) for head in heads}
together = paths(G, heads, keys)
for head, score in scrub(patched, data, baseline=together, others=donors, references=range(16)).items():
    print(f"{head} makes {1 - (score.recovered or 0):6.1%} of what all heads make of the keys")

print(direct_effects(G, data, references=range(16)))
