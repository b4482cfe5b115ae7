"""The naive story of induction heads, written out by hand on the shipped model and scored on 200 rows.

The same hypothesis is one row of the table in hypotheses/induction/ladder.py; here everything is spelled out.
"""

from hypotheses.induction import case
from hypotheses.induction.roles import load_roles
from hypotheses.induction.suite import SHIPPED
from scrubbing import Graph, Hypothesis, reads, scrub
from scrubbing.lens import load_transformer, transformer
from scrubbing.rewrite import all_but, gather, offset, split_mask, split_qkv

model = load_transformer(SHIPPED)
roles = load_roles(SHIPPED / "roles.json", n_layers=2, n_heads=8)
prev, ind = (" ".join(f"a{layer}_h{head}" for layer, head in heads) for heads in (roles.previous, roles.induction))

G = transformer(model, prev=prev, ind=ind)
G = gather(G, "logits", rest=all_but("ind"))  # everything but the induction heads
G = split_qkv(G, "ind", "prev")  # ind -> ind_q, ind_k, ind_pattern, ind_v
G = split_mask(G, "prev", prev_at=offset(1))  # prev -> prev_at + prev_off, by relative position

heads_do_nothing = Graph(loss=reads("logits", "labels", "weights"), logits=reads("rest"), rest=reads("tokens"))
naive = heads_do_nothing | {
    "logits": reads("ind", "rest"),
    "ind": reads("ind_pattern", "ind_v"),
    "ind_pattern": reads("ind_q", "ind_k"),
    "ind_q": reads("embed"),
    "ind_k": reads("prev_at"),
    "ind_v": reads("embed"),
    "prev_at": reads("prev_v"),
    "prev_v": reads("embed"),
    "embed": reads("tokens"),
}

data = case("naive").data  # tokens, labels and per-position weights are columns
score = scrub(Hypothesis(G, naive), data, baseline=heads_do_nothing, others="reference", references=200)
print(score)
