"""A head ablated with the final norm frozen, and with the norm free: the scale is a node, which "clean" freezes."""

from random_transformer import G, data

from scrubbing import measure
from scrubbing.rewrite import split_norm

net = split_norm(G, "logits")
frozen = {"a1_h2": "zero", "logits_scale": "clean"}
scores = measure(net, {"free": {"a1_h2": "zero"}, "frozen": frozen}, data)
for name, score in scores.items():
    print(f"{name}: {score.scrubbed - score.original:+.3f} nats")
