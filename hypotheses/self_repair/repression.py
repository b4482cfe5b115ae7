"""Self-repressing heads: what a head writes is added, several times over, to the stream that it reads.

Source: Rushing and Nanda 2024, section 5.3 and appendix E.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hypotheses.heads import Head
from hypotheses.self_repair.effects import Clean, Scale
from hypotheses.self_repair.network import ByToken, projected
from scrubbing.lens.components.attention import Attention
from scrubbing.lens.components.residual import Resid

ALPHAS = (1.0, 3.0, 5.0)
OWN, OTHER, RANDOM = "its output", "another head's", "a random direction"
Row = dict[str, str | int | float | None]


@dataclass(frozen=True, eq=False)
class Repressed:
    """A head's direct effect on each token, and that when something was added to the stream at this position alone."""

    head: Head
    added: str
    alpha: float
    before: ByToken
    after: ByToken

    def row(self) -> Row:
        """Means, the slope of the new effects over the old ones, and how often what was positive has fallen."""
        x, y = self.before.double().flatten(), self.after.double().flatten()
        centred, positive = x - x.mean(), x > 0
        spread = centred.square().sum()
        return {
            "layer": self.head[0],
            "head": self.head[1],
            "added": self.added,
            "alpha": self.alpha,
            "tokens": len(x),
            "direct_effect": x.mean().item(),
            "new_direct_effect": y.mean().item(),
            "slope": (centred @ y / spread).item() if spread > 0 else None,
            "fallen": (y < x)[positive].double().mean().item() if positive.any() else None,
        }


@torch.no_grad()
def repressed(
    clean: Clean, head: Head, *, alphas: Sequence[float] = ALPHAS, scale: Scale = "clean", seed: int = 0
) -> list[Repressed]:
    """A head's new direct effects where its own output is added, and as controls another head's, and a direction.

    The direction is random and as long as the output. What is added stays in the stream. With `scale="own"` new direct
    effects are in the scale that the final norm then has, which takes a run for each position.
    """
    layer, number = head
    step, W_O = clean.run.steps[layer], clean.network.W_O(layer)
    z = clean.run.z(layer)
    generator = torch.Generator().manual_seed(seed)
    output = z[:, :, number] @ W_O[number]
    others = [other for other in range(len(W_O)) if other != number]
    found = {OWN: output}
    if others:
        other = others[int(torch.randint(len(others), (1,), generator=generator))]
        found[OTHER] = z[:, :, other] @ W_O[other]
    direction = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output)
    found[RANDOM] = direction / direction.norm(dim=-1, keepdim=True) * output.norm(dim=-1, keepdim=True)
    before = clean.of_heads(layer)[..., number]
    along = clean.reading.towards @ W_O[number].T
    one = clean.network.blocks[layer].attention.heads([number])
    results: list[Repressed] = []
    for added, vectors in found.items():
        for alpha in alphas:
            moved = step.before + alpha * vectors
            new = torch.linalg.vecdot(z_where_moved(one, step.before, moved)[:, :, 0], along)
            size = clean.scale if scale == "clean" else scale_where_moved(clean, layer, moved)
            results.append(Repressed(head, added, alpha, before, new * size))
    return results


def z_where_moved(one: Attention, before: Resid, moved: Resid) -> Float[Tensor, "row position head d_head"]:
    """At each position, a head's `z` if the stream had moved at that position alone.

    So a query, made of the moved stream, sees itself moved and all other keys as they were: of the pattern that it
    would have over these, the weight of itself is set right.
    """
    x, y = one.q.reader(before), one.q.reader(moved)
    k, v = projected(one.k, x), projected(one.v, x)
    q, own_k, own_v = (projected(part, y) for part in (one.q, one.k, one.v))
    pattern = one.scores.pattern(q, k)
    itself = pattern.diagonal(dim1=-2, dim2=-1).mT[..., None]  # [row, position, head, 1]
    more = _score(one, q, own_k) - _score(one, q, k)
    rest = pattern.masked_fill(torch.eye(pattern.shape[-1], dtype=torch.bool, device=pattern.device), 0.0)
    others = rest.sum(dim=-1).mT[..., None]
    # Of the two weights, in logarithms: what was added may turn a query to itself, or from itself, by hundreds of nats.
    share = torch.sigmoid(itself.log() + more - others.log())
    moved_by_rest = torch.einsum("b h q k, b k h e -> b q h e", rest, v) / others.where(others > 0, 1)
    return share * own_v + (1 - share) * moved_by_rest


def _score(one: Attention, q: Tensor, k: Tensor) -> Float[Tensor, "row position head 1"]:
    """How each query scores a key at its own position, but for what depends on the distance alone."""
    score = torch.linalg.vecdot(q * one.scores.scale, k)[..., None]
    cap = one.scores.soft_cap
    return score if cap is None else cap * (score / cap).tanh()


def scale_where_moved(clean: Clean, layer: int, moved: Resid) -> ByToken:
    """At each position, one over the final norm's size if the stream had moved at that position alone."""
    found = torch.empty_like(clean.scale)
    for position in range(moved.shape[1]):
        stream = clean.run.steps[layer].before.clone()
        stream[:, position] = moved[:, position]
        *_, last = clean.network.steps(layer, stream)
        found[:, position] = clean.reading.scale(clean.reading.whole(last.end))[:, position]
    return found


def table(
    heads: Sequence[Head], clean: Clean, measure: Callable[[Clean, Head], list[Repressed]] = repressed
) -> list[Row]:
    """A row for each head, what was added and how often."""
    return [found.row() for head in heads for found in measure(clean, head)]
