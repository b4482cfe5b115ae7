"""A sweep over heads: each replaced by its mean over all rows."""

from random_transformer import G, data

from scrubbing import sweep

heads = {"layer": range(2), "head": range(4)}
found = sweep(G, heads, lambda layer, head: {f"a{layer}_h{head}": "mean"}, data)
print(found)
