"""Cross-entropies of several hypotheses at once, which share the network's logits and add what differs.

With x the network's centred stream, x + z W a hypothesis's, s the norm's scale of it, and U the unembedding with the
norm's gain folded in, its logits are s (x U + z (W U)) + b: x U is computed once for all hypotheses, W U once per run,
and z is narrower than x. All logits are in units of ln 2, since powers of two are the fastest to take.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from scrubbing.lens.components.norm import Norm
from scrubbing.lens.components.readout import Readout, precise

BLOCK = 128, 512  # positions at a time: at least, so that tiles are wide, and at most
ROWS = 2560  # positions of all hypotheses together, between those
TILE = 2**19  # logits of all hypotheses together held at a time: what a core keeps close
ALIGNED = 64  # numbers: the logits of a position are as many times this, since products are slower at odd sizes
LN2 = math.log(2)
NEVER = -1e30  # the logit of a token without probability: finite, since 0 times infinity is no number
# Outside these bounds a sum of exponentials may have lost what matters of it.
SAFE = (2.0**-60, 2.0**60)


class Readings(NamedTuple):
    """What each hypothesis, the network itself first, makes of each position.

    The cross-entropy of the label and the divergence of the network's distribution from the hypothesis's, in nats, and
    whether the most probable token is the network's (1 or 0).
    """

    loss: Float[Tensor, "hypothesis position"]
    kl: Float[Tensor, "hypothesis position"]
    agreement: Float[Tensor, "hypothesis position"]


@dataclass(frozen=True)
class Change:
    """How the streams of several hypotheses differ from the network's: by `z W`, or by z where there is no W.

    `unembedding` is W folded with the unembedding (see `fold`).
    """

    z: Float[Tensor, "hypothesis position width"]
    W: Float[Tensor, "width d_model"] | None
    unembedding: Float[Tensor, "rows d_vocab"]

    def at(self, positions: slice) -> "Change":
        """The same at some of the positions."""
        return Change(self.z[:, positions], self.W, self.unembedding)


def fold(readout: Readout, W: Float[Tensor, "width d_model"] | None = None) -> Float[Tensor, "rows d_vocab"]:
    """The unembedding of `z W` (of the stream itself without W): its matrix, below that its bias and a row of ones.

    After the vocabulary come tokens without probability.
    """
    norm, U = readout.reader.norm, precise(readout.W_U)
    b = torch.zeros_like(U[0]) if readout.b_U is None else precise(readout.b_U)
    b = b if norm.b is None else b + precise(norm.b) @ U
    U = U if norm.w is None else precise(norm.w)[:, None] * U
    U = U if W is None else norm.centred(precise(W)) @ U
    padding = 0, -len(b) % ALIGNED
    return torch.cat([pad(U / LN2, padding), pad(b / LN2, padding, value=NEVER)[None], pad(b, padding).fill_(1)[None]])


def readings(
    norm: Norm,
    unembedding: Float[Tensor, "rows d_vocab"],
    resid: Float[Tensor, "position d_model"],
    changes: Sequence[Change],
    labels: Int[Tensor, " position"],
) -> Readings:
    """The readings of the network, whose final stream is `resid`, and of the hypotheses that change it."""
    hypotheses = sum(len(change.z) for change in changes)
    size = min(max(ROWS // max(1, hypotheses), BLOCK[0]), BLOCK[1])
    blocks = [slice(start, start + size) for start in range(0, len(resid), size)] or [slice(0)]
    parts = [_block(norm, unembedding, resid[b], [change.at(b) for change in changes], labels[b]) for b in blocks]
    return Readings(*(torch.cat(values, dim=1) for values in zip(*parts, strict=True)))


def _block(norm: Norm, unembedding: Tensor, resid: Tensor, changes: Sequence[Change], labels: Tensor) -> Readings:
    own = _Network.of(norm, unembedding, resid, labels)
    means = own.means(norm, changes)
    parts = [_beside(norm, own, change, mean, labels) for change, mean in zip(changes, means, strict=True)]
    return Readings(*(torch.cat(values) for values in zip(own.readings, *parts, strict=True)))


@dataclass(frozen=True)
class _Network:
    """What the network makes of a block of positions; logits and their sums in units of ln 2."""

    x: Float[Tensor, "position d_model"]  # the centred stream
    s: Float[Tensor, "position 1"]  # its scale
    U: Float[Tensor, "d_model d_vocab"]
    b: Float[Tensor, " d_vocab"]
    unscaled: Float[Tensor, "position d_vocab"]  # x U
    top: Float[Tensor, " position"]
    token: Int[Tensor, " position"]  # the most probable one
    lse: Float[Tensor, " position"]
    loss: Float[Tensor, " position"]
    p: Float[Tensor, "position d_vocab"]  # the predicted distribution
    mean: Float[Tensor, " position"]  # of x U, over the predicted distribution

    @classmethod
    def of(cls, norm: Norm, unembedding: Tensor, resid: Tensor, labels: Tensor) -> "_Network":
        U, b = unembedding[:-2], unembedding[-2]
        x = norm.centred(precise(resid))
        unscaled = x @ U
        s = norm.scale(x)
        logits = torch.addcmul(b, unscaled, s)
        top, token = logits.max(dim=-1)
        at_label = logits.gather(1, labels[:, None])[:, 0]
        p = logits.sub_(top[:, None]).exp2_()
        total = p.sum(dim=-1, keepdim=True)
        lse, p = top + total.log2()[:, 0], p.div_(total)
        mean = torch.linalg.vecdot(p, unscaled)
        return cls(x, s, U, b, unscaled, top, token, lse, LN2 * (lse - at_label), p, mean)

    @property
    def readings(self) -> Readings:
        """The network agrees with itself."""
        return Readings(self.loss[None], torch.zeros_like(self.loss)[None], torch.ones_like(self.loss)[None])

    def top_and_log_sum(self, normed: Tensor) -> tuple[Tensor, Tensor]:
        """The largest logit of each vector, and the logarithm of the sum of exponentials, however far from these."""
        logits = (rows @ self.U + self.b for rows in normed.split(max(1, TILE // len(self.b))))
        found = [(each.amax(dim=-1), (LN2 * each).logsumexp(dim=-1) / LN2) for each in logits]
        top, lse = zip(*found, strict=True)
        return torch.cat(top), torch.cat(lse)

    def means(self, norm: Norm, changes: Sequence[Change]) -> list[Tensor]:
        """The mean over the predicted distribution of what each number that changes adds to a logit."""
        if sum(change.z.shape[-1] for change in changes) <= len(self.U):
            return [self.p @ change.unembedding[:-2].T for change in changes]
        U = self.p @ self.U.T
        return [U if change.W is None else U @ norm.centred(precise(change.W)).T for change in changes]


def _beside(
    norm: Norm, own: _Network, change: Change, mean: Float[Tensor, "position width"], labels: Tensor
) -> Readings:
    """The readings of the hypotheses of one group."""
    z = precise(change.z) if change.W is not None else norm.centred(precise(change.z))
    x = own.x + (z if change.W is None else z @ norm.centred(precise(change.W)))
    s = norm.scale(x)
    lse, top = _log_sums(own.unscaled, s, s * z, change.unembedding, own.top)
    lost = ~((lse > own.top + math.log2(SAFE[0])) & (lse < own.top + math.log2(SAFE[1])))
    if lost.any():
        top[lost], lse[lost] = own.top_and_log_sum((s * x)[lost])
    at_label, at_token = (_logit(own, s, z, change.unembedding, token) for token in (labels, own.token))
    kl = lse - own.lse - ((s - own.s)[..., 0] * own.mean + s[..., 0] * (z * mean).sum(dim=-1))
    # The same logit summed in another order differs by the rounding of what is summed.
    same = top - at_token <= 64 * torch.finfo(top.dtype).eps * (1 + top.abs() + own.top.abs())
    return Readings(LN2 * (lse - at_label), LN2 * kl, same.to(lse))


def _log_sums(unscaled: Tensor, s: Tensor, sz: Tensor, folded: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """For each hypothesis and position: the logarithm of the sum of exponentials of the logits, and the largest."""
    hypotheses, positions = s.shape[:2]
    ones = torch.ones_like(s)
    left = torch.cat([sz, ones, -shift[:, None] * ones], dim=-1).flatten(0, 1)
    total, top = torch.zeros_like(s[..., 0]), torch.full_like(s[..., 0], -torch.inf)
    for columns in _tiles(folded.shape[1], hypotheses * positions):
        logits = unscaled[:, columns] * s
        logits.flatten(0, 1).addmm_(left, folded[:, columns])
        top = torch.maximum(top, logits.amax(dim=-1))
        total += logits.exp2_().sum(dim=-1)
    return shift + total.log2(), shift + top


def _tiles(columns: int, rows: int) -> Iterator[slice]:
    width = max(64, TILE // max(1, rows) // 64 * 64)  # matrix products are slower at odd sizes
    return (slice(start, start + width) for start in range(0, columns, width))


def _logit(own: _Network, s: Tensor, z: Tensor, folded: Tensor, token: Tensor) -> Tensor:
    """Each hypothesis's logit of one token per position."""
    unscaled = own.unscaled.gather(1, token[:, None])[:, 0] + (z * folded[:-2, token].T).sum(dim=-1)
    return unscaled * s[..., 0] + folded[-2, token]
