"""Self-repair: when what predicts a token is ablated, there is less to suppress.

Source: McDougall et al. 2023, Copy Suppression, section 4. The text ablates the three heads that move names.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hypotheses.copy_suppression.heads import predicted_and_said, said_before
from hypotheses.copy_suppression.network import Final, SizeOf
from hypotheses.copy_suppression.passes import Pass, before, passes, run
from hypotheses.copy_suppression.prompts import ioi_prompts
from hypotheses.copy_suppression.study import Study
from hypotheses.heads import in_words
from scrubbing import HypothesisError
from scrubbing.lens.components.readout import precise

MOVERS = 3


def self_repair(study: Study) -> list[dict[str, Any]]:
    """What each later term adds to the right token's logit, before and after the terms that predict it are ablated.

    On prompts of indirect objects the token is the name, and the terms ablated are the three heads before the head with
    the largest direct effects. Where the model's tokenizer has no such names, rows of the data: the token is the
    predicted word where it was said before, and the one term with the largest effect is ablated. It is ablated by its
    mean over the rows. `share` is a later term's part in the change of all later ones.
    """
    prompts = ioi_prompts(study.vocabulary)
    rows = study.data if prompts is None else prompts
    batches = list(passes(study.parts, rows))
    upstream = study.parts.inputs(study.head[0])
    clean = _effects(study, batches, prompts is not None, [at.values for at in batches])
    before = {name: effect for name, effect in clean.items() if name in upstream and name != "embed"}
    ranked = sorted(before, key=lambda name: -before[name])
    movers = ranked[:1] if prompts is None else [name for name in ranked if "_h" in name][:MOVERS]
    if not movers:
        raise HypothesisError(
            f"nothing writes before head {in_words([study.head])}, so that no prediction of its can be ablated"
        )
    means = {name: torch.cat([at.values[name] for at in batches]).mean(0) for name in movers}
    ablated = [
        run(study.parts, at.tokens, **{n: m.expand(len(at.tokens), -1, -1) for n, m in means.items()}) for at in batches
    ]
    after = _effects(study, batches, prompts is not None, ablated)
    order = study.parts.stream
    last = max(order.index(name) for name in movers)
    later = list(order[last + 1 :])
    change = sum(after[name] - clean[name] for name in later)
    found = [{"term": n, "ablated": True, "clean": clean[n], "after": after[n], "share": None} for n in movers]
    return found + [
        {
            "term": name,
            "ablated": False,
            "clean": clean[name],
            "after": after[name],
            "share": (after[name] - clean[name]) / change if change else None,
        }
        for name in later
    ]


def _effects(
    study: Study, batches: list[Pass], labelled: bool, values: list[dict[str, Tensor]] | list[Mapping[str, Tensor]]
) -> dict[str, float]:
    """The mean direct effect of each term on the target, under the scale of the norm in that run."""
    total, count = dict.fromkeys(study.parts.stream, 0.0), 0
    for at, terms in zip(batches, values, strict=True):
        if labelled:
            token, sources = at.labels, said_before(at, at.labels)
        else:
            token, sources = predicted_and_said(at, study.head[0], study.unembeddings, study.function_words)
        where = sources.any(2)
        final = Final(study.parts.readout)(terms[before(study.parts.stream)])
        towards: Float[Tensor, "some d_model"] = study.unembeddings(token)[where]
        towards = towards * precise(SizeOf(study.parts.readout)(final))[where]
        for name in study.parts.stream:
            total[name] += float((precise(terms[name])[where] * towards).sum())
        count += int(where.sum())
    return {name: effect / max(count, 1) for name, effect in total.items()}
