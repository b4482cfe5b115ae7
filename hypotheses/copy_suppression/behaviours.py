"""What the head is seen to do on text: which sources it attends to, and what that does to their logits.

Source: McDougall et al. 2023, Copy Suppression, sections 2 and 3.1, and the appendices on entropy and on queries.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hypotheses.copy_suppression.divergence import Logits
from hypotheses.copy_suppression.network import AtPosition, Final
from hypotheses.copy_suppression.passes import Pass, before, mean_output, passes, run
from hypotheses.copy_suppression.preserving import Weights
from hypotheses.copy_suppression.sources import Tokens
from hypotheses.copy_suppression.study import Study
from hypotheses.heads import Head, all_heads, head_name, in_words
from scrubbing import HypothesisError
from scrubbing.lens.components.readout import precise
from scrubbing.lens.components.residual import Resid

USEFUL = 0.05  # the share of completions that the head helps most
FEW, MANY = 2, 10  # most attended sources; predictions and lowered logits
ATTENDED = 0.1
MOVED = 0.2  # of tokens, that mean ablation moves most
BINS, GUESSES = 50, 3
ROWS = 32


def triple(study: Study) -> list[dict[str, Any]]:
    """How often, of the completions that the head helps most, it suppresses what was predicted and is attended to.

    A source counts if it is among the 2 most attended to, its token among the 10 likeliest before the head, and among
    the 10 whose logits the head lowers most. A completion is helped by the loss that mean ablation adds.
    """
    helped: list[Tensor] = []
    seen: list[Tensor] = []
    for at in study.passes():
        where = at.weights != 0
        ablated = run(study.parts, at.tokens, **{head_name(study.head): study.averaged(at)})
        without = at.own_logits(_final(study, ablated))
        helped.append((_losses(without, at.labels) - _losses(at.logits(at.final), at.labels))[where])
        seen.append(_criteria(study, at)[where])
    gains, met = torch.cat(helped), torch.cat(seen)
    chosen = gains.argsort(descending=True)[: max(1, round(USEFUL * len(gains)))]
    names = ("predicted", "attended and predicted", "attended and lowered", "all three")
    return [
        {
            "criterion": name,
            "useful": met[chosen, i].double().mean().item(),
            "all": met[:, i].double().mean().item(),
            "completions": len(chosen),
        }
        for i, name in enumerate(names)
    ]


def _criteria(study: Study, at: Pass) -> Bool[Tensor, "batch query criterion"]:
    pattern, _ = at.pairs(study.head)
    towards = study.unembeddings.all.T.to(at.size)
    predicted = (at.lens(study.head[0]) @ towards).topk(MANY).indices
    effect = (precise(at.written(study.head)) - study.averaged(at)) * at.size @ towards
    lowered = effect.topk(MANY, largest=False).indices
    attended = at.tokens.gather(1, pattern.topk(min(FEW, pattern.shape[-1])).indices.flatten(1)).view(
        *at.tokens.shape, -1
    )
    content = ~study.function_words[attended]
    is_predicted, is_lowered = (
        (attended[..., None] == those[:, :, None]).any(-1) & content for those in (predicted, lowered)
    )
    causal = torch.ones(*[at.tokens.shape[1]] * 2, dtype=torch.bool, device=at.tokens.device).tril()
    sources = (at.tokens[:, None, :, None] == predicted[:, :, None]).any(-1) & causal
    any_predicted = (sources & ~study.function_words[at.tokens][:, None]).any(-1)
    both = is_predicted & is_lowered
    return torch.stack([any_predicted, is_predicted.any(-1), is_lowered.any(-1), both.any(-1)], dim=-1)


def in_practice(study: Study) -> list[dict[str, Any]]:
    """Of the pairs with attention above 10%: where the source's own token stands among those that the pair lowers."""
    ranks: list[Tensor] = []
    towards = study.unembeddings.all.T
    for at in study.passes():
        pattern, written = at.pairs(study.head)
        chosen = (pattern > ATTENDED) & (at.weights != 0)[:, :, None] & ~study.function_words[at.tokens][:, None]
        row, _, key = chosen.nonzero(as_tuple=True)
        # How much attention there is changes no rank, nor does the scale of the norm: a source has one.
        unique, times = torch.stack([row, key]).unique(dim=1, return_counts=True)
        effects = precise(written[unique[0], unique[1]]) @ towards.to(precise(written))
        own = effects.gather(1, at.tokens[unique[0], unique[1]][:, None])
        ranks.append((effects < own).sum(1).repeat_interleave(times))
    found = torch.cat(ranks)
    if not len(found):
        return []
    vocab = towards.shape[1]
    return [
        {
            "pairs": len(found),
            "first": (found == 0).double().mean().item(),
            "top_10": (found < MANY).double().mean().item(),
            "top_5_percent": (found < USEFUL * vocab).double().mean().item(),
        }
    ]


def pathways(study: Study, other: Head | None) -> list[dict[str, Any]]:
    """What mean ablation costs by path: the loss added and the divergence, in nats, norm frozen or not.

    Direct: on what the head adds to the final stream; indirect: on what later blocks make of it; both. With `other`,
    indirect effects are also shown without what that later head makes of the ablation.
    """
    total: dict[tuple[str, str], Tensor] = {}
    for at in study.passes():
        head, mean = at.written(study.head), study.averaged(at)
        name = head_name(study.head)
        both = _final(study, run(study.parts, at.tokens, **{name: mean}))
        streams = {"both": both, "direct": at.final + (mean - head), "indirect": both + (head - mean)}
        if other is not None:
            kept = {name: mean, head_name(other): at.written(other)}
            without = f"indirect without {in_words([other])}"
            streams[without] = _final(study, run(study.parts, at.tokens, **kept)) + (head - mean)
        clean = at.logits(at.final)
        for path, stream in streams.items():
            for norm, logits in (("frozen", at.logits(stream)), ("own", at.own_logits(stream))):
                added = _losses(logits, at.labels) - _losses(clean, at.labels)
                moved = (clean.softmax(-1) * (clean.log_softmax(-1) - logits.log_softmax(-1))).sum(-1)
                sums = torch.stack([(x * at.weights).double().sum() for x in (added, moved, torch.ones_like(moved))])
                total[path, norm] = total.get((path, norm), torch.zeros_like(sums)) + sums
    return [
        {"path": path, "norm": norm, "loss_added": (sums[0] / sums[2]).item(), "kl": (sums[1] / sums[2]).item()}
        for (path, norm), sums in total.items()
    ]


def _final(study: Study, values: dict[str, Tensor]) -> Resid:
    return Final(study.parts.readout)(values[before(study.parts.stream)])


def _losses(logits: Logits, labels: Tokens) -> Float[Tensor, "batch position"]:
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(
        labels.shape
    )


def calibration(study: Study) -> list[dict[str, Any]]:
    """What each head does to the entropy of predictions (nats) and to their overconfidence, on the direct path.

    Positive entropy: the head makes predictions less certain. Overconfidence is the slope, from 0 (calibrated) to 1
    (always right half the time), of accuracy against confidence, in 50 bins of the 3 likeliest tokens.
    """
    some = {name: column[:ROWS] for name, column in study.data.items()}
    config = study.parts.config
    heads = all_heads(config)
    means = {h: AtPosition(mean_output(study.parts, h, some["tokens"], ROWS)) for h in heads}
    entropy, bins = dict.fromkeys(heads, 0.0), {h: torch.zeros(3, BINS, dtype=torch.float64) for h in [*heads, None]}
    weight = 0.0
    for at in passes(study.parts, some):
        where = at.weights != 0
        clean = at.logits(at.final)[where]
        bins[None] += _binned(clean, at.labels[where])
        weight += int(where.sum())
        for h in heads:
            stream = at.final + means[h](at.tokens) - at.written(h)
            without = at.logits(stream)[where]
            entropy[h] += (_entropy(clean) - _entropy(without)).double().sum().item()
            bins[h] += _binned(without, at.labels[where])
    over = {h: _overconfidence(found) for h, found in bins.items()}
    return [
        {
            "layer": h[0],
            "head": h[1],
            "entropy": entropy[h] / weight,
            "overconfidence": over[None] - over[h],
        }
        for h in heads
    ]


def _entropy(logits: Float[Tensor, "row d_vocab"]) -> Float[Tensor, " row"]:
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def _binned(logits: Float[Tensor, "row d_vocab"], labels: Tensor) -> Float[Tensor, "3 bin"]:
    """How many guesses each bin of confidence holds, how many of them are right, and their summed confidence."""
    p, guesses = logits.softmax(-1).topk(GUESSES)
    index = (p * BINS).long().clamp(max=BINS - 1).flatten().cpu()
    right = (guesses == labels[:, None]).double().flatten().cpu()
    parts = (torch.ones_like(right), right, p.double().flatten().cpu())
    return torch.stack([torch.zeros(BINS, dtype=torch.float64).index_add(0, index, part) for part in parts])


def _overconfidence(bins: Float[Tensor, "3 bin"]) -> float:
    count, right, confidence = bins[:, bins[0] > 0]
    accuracy, line = right / count, confidence / count
    size = (0.5 - line).square().sum()
    return float(((accuracy - line) * (0.5 - line)).sum() / size) if size else 0.0


def queries(study: Study) -> list[dict[str, Any]]:
    """The effect explained if queries hold of the stream only what lies along the key's unembedding, or all but that.

    Attention to the first token stays as it is, and the rest is shared anew; the norm's scale is that of the plain run.
    Beside all destinations stands the fifth that mean ablation moves most: a head that rests on other tokens than the
    first has its rest spread out, which says nothing of what it suppresses.

    Raises `HypothesisError` for a model whose scores are not products of projections alone.
    """
    attention = study.parts.attention(study.head[0], [study.head[1]])
    if attention.q.rotary is not None or attention.q.norm is not None or attention.q.position is not None:
        raise HypothesisError("queries are projected for models with learned positions, without norms of queries")
    found: dict[str, list[Tensor]] = {"mean": [], "onto": [], "away": []}
    for at in study.passes():
        pattern, written = at.pairs(study.head)
        instead = {which: _requeried(study, at, pattern, onto=which == "onto") @ written for which in ("onto", "away")}
        for name, output in ({"mean": study.averaged(at)} | instead).items():
            found[name].append(study.moved(at, output)[at.weights != 0].double())
    kl = {name: torch.cat(parts) for name, parts in found.items()}
    some = kl["mean"].argsort(descending=True)[: max(1, round(MOVED * len(kl["mean"])))]
    return [
        {"query": which, "destinations": name, "explained": 1 - float(kl[which][at].sum() / kl["mean"][at].sum())}
        for name, at in (("all", slice(None)), ("the fifth that is moved most", some))
        for which in ("onto", "away")
    ]


def _requeried(study: Study, at: Pass, pattern: Weights, *, onto: bool) -> Weights:
    """The pattern of queries that hold only what lies along each key's unembedding, or (`onto=False`) all but that."""
    attention = study.parts.attention(study.head[0], [study.head[1]])
    inputs, norm = at.inputs(study.head[0]), attention.q.reader.norm
    stream = norm.centred(attention.q.reader.stream(*inputs))
    k, W_Q = attention.k(*inputs)[:, :, 0], attention.q.W[0]
    u = torch.nn.functional.normalize(study.unembeddings(at.tokens).to(stream), dim=-1)
    along = (stream * norm.scale(stream)) @ u.transpose(1, 2)
    gained = u if norm.w is None else u * norm.w
    part = along * ((gained @ W_Q) * k).sum(-1)[:, None, :] * attention.scores.scale
    q = attention.q(*inputs)[:, :, 0]
    whole = q @ k.transpose(1, 2) * attention.scores.scale
    if onto:
        bias = torch.zeros_like(W_Q[0]) if attention.q.b is None else attention.q.b[0]
        bias = bias if norm.b is None else bias + norm.b @ W_Q
        scores = part + (k @ bias)[:, None, :] * attention.scores.scale
    else:
        scores = whole - part
    blocked = ~torch.ones_like(scores[0], dtype=torch.bool).tril()
    blocked[1:, 0] = True
    shared = scores.masked_fill(blocked, -torch.inf).softmax(-1)
    shared = shared * (1 - pattern[:, :, :1])
    shared[:, :, 0] = pattern[:, :, 0]
    return shared
