"""What scrubbing can say of self-repair: how much of the loss survives where one head is another row's.

Two hypotheses for each head, on the donors of the resampling ablation. "resampled": the head does not matter, and all
that follows it is computed again. "norm frozen": the same, and the final norm divides by what it divided by before, so
that it repairs nothing.
"""

from collections.abc import Iterable

from scrubbing import Graph, Hypothesis, paths, reads
from scrubbing.lens import Transformer, transformer
from scrubbing.lens.components.attention import Attention
from scrubbing.lens.components.mlp import MLP
from scrubbing.rewrite import split_norm

RESAMPLED, FROZEN = "resampled", "norm frozen"
LABELS_ALONE = Graph(loss=reads("labels", "weights"))


def hypotheses(model: Transformer, layers: Iterable[int]) -> dict[str, Hypothesis]:
    """Two for each head of some layers: "1.5/resampled", "1.5/norm frozen"; without a final norm, the former alone."""
    config = model.config
    G = transformer(model)
    frozen = split_norm(G, "logits") if config.norm_kind is not None else None
    found: dict[str, Hypothesis] = {}
    for layer in layers:
        for head in range(config.n_heads):
            name, of = f"{layer}.{head}", f"a{layer}_h{head}"
            found[f"{name}/{RESAMPLED}"] = _without(G, of)
            if frozen is not None:
                found[f"{name}/{FROZEN}"] = _without(frozen, of)
    return found


def _without(G: Graph, head: str) -> Hypothesis:
    """Everything matters but one head, and what heads and MLPs after it read is computed again."""
    blocks = [name for name in G.order if isinstance(G[name].fn, Attention | MLP) and name != head]
    return paths(G, head, "logits", through=[name for name in blocks if head in G.upstream(name)])
