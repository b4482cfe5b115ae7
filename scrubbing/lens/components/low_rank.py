"""The low-rank readout: logits of several hypotheses at once, which share the network's and add what differs.

With x the network's centred stream, x + z W a hypothesis's, s the norm's scale of it, and U the unembedding with the
norm's gain folded in, its logits are s (x U + z (W U)) + b: x U is computed once for all hypotheses, W U once per run,
and z is narrower than x. All logits are in units of ln 2, since powers of two are the fastest to take. They are made
in tiles; what is read of them is for `readings` to say.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scrubbing.lens.components.norm import Norm
from scrubbing.lens.components.readings.reading import LN2, Output, Reading, ReadingOfTiles
from scrubbing.lens.components.readout import Readout, precise

BLOCK = 128, 512  # positions at a time: at least, so that tiles are wide, and at most
ROWS = 2560  # positions of all hypotheses together, between those
TILE = 2**19  # logits of all hypotheses together held at a time: what a core keeps close
ALIGNED = 64  # numbers: the logits of a position are as many times this, since products are slower at odd sizes
FOLDED = 2**22  # numbers of the unembedding that are folded at once
NEVER = -1e30  # the logit of a token without probability: finite, since 0 times infinity is no number
# Outside these bounds a sum of exponentials may have lost what matters of it.
SAFE = (2.0**-60, 2.0**60)


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
    norm, U = readout.reader.norm, readout.W_U
    W = None if W is None else norm.centred(precise(W))
    rows, tokens = len(U if W is None else W), U.shape[1]
    folded = precise(U[:1]).new_zeros(rows + 2, tokens + -tokens % ALIGNED)
    size = max(ALIGNED, FOLDED // len(U))
    for some in (slice(start, min(start + size, tokens)) for start in range(0, tokens, size)):
        part = precise(U[:, some])  # a large vocabulary's is copied in pieces: the whole may be half of the weights
        if readout.b_U is not None:
            folded[rows, some] = precise(readout.b_U[some])
        if norm.b is not None:
            folded[rows, some] += precise(norm.b) @ part
        part = part if norm.w is None else precise(norm.w)[:, None] * part
        folded[:rows, some] = part if W is None else W @ part
    folded /= LN2
    folded[rows, tokens:] = NEVER
    folded[rows + 1] = 1
    return folded


def read(
    norm: Norm,
    unembedding: Float[Tensor, "rows d_vocab"],
    resid: Float[Tensor, "position d_model"],
    changes: Sequence[Change],
    tokens: Mapping[str, Int[Tensor, " position"]],
    readings: Mapping[str, Reading],
    soft_cap: float | None = None,
) -> dict[str, Float[Tensor, "hypothesis position"]]:
    """The readings of the network (first), whose final stream is `resid`, and of the hypotheses that change it.

    `tokens` are those that readings ask about, at each position: "labels", and others by name. With a `soft_cap` of the
    logits nothing adds up any more, and each hypothesis's logits are made of its own stream.
    """
    hypotheses = sum(len(change.z) for change in changes)
    size = min(max(ROWS // max(1, hypotheses), BLOCK[0]), BLOCK[1])
    blocks = [slice(start, start + size) for start in range(0, len(resid), size)] or [slice(0)]
    parts: list[list[Tensor]] = []
    for b in blocks:
        asked = {name: token[b] for name, token in tokens.items()}
        parts.append(
            _block(norm, unembedding, resid[b], [change.at(b) for change in changes], asked, readings, soft_cap)
        )
    return {name: torch.cat(values, dim=1) for name, *values in zip(readings, *parts, strict=True)}


def _block(
    norm: Norm,
    unembedding: Tensor,
    resid: Tensor,
    changes: Sequence[Change],
    tokens: Mapping[str, Tensor],
    readings: Mapping[str, Reading],
    soft_cap: float | None,
) -> list[Tensor]:
    """Each reading of some positions: a row for the network, and one for each hypothesis."""
    kinds = tuple(readings.values())
    own = _Network.of(norm, unembedding, resid, tokens, kinds, soft_cap)
    if soft_cap is not None:
        outputs = [output for change in changes for output in _capped_outputs(norm, own, change, soft_cap, kinds)]
        return [torch.stack([kind.of(output) for output in (own.output, *outputs)]) for kind in kinds]
    means = cache(lambda: own.means(norm, changes))  # made only if a reading asks for them
    outputs = [_output(norm, own, change, lambda i=i: means()[i], kinds) for i, change in enumerate(changes)]
    return [torch.cat([kind.of(own.output)[None], *(kind.of(output) for output in outputs)]) for kind in kinds]


@dataclass(frozen=True)
class _Network:
    """What the network makes of a block of positions; logits and their sums in units of ln 2."""

    x: Float[Tensor, "position d_model"]  # the centred stream
    s: Float[Tensor, "position 1"]  # its scale
    U: Float[Tensor, "d_model d_vocab"]
    b: Float[Tensor, " d_vocab"]
    unscaled: Float[Tensor, "position d_vocab"]  # x U
    tokens: Mapping[str, Int[Tensor, " position"]]  # asked about, "top" the most probable one
    output: Output
    p: Float[Tensor, "position d_vocab"]  # the predicted distribution
    mean: Float[Tensor, " position"]  # of x U (of capped logits), over the predicted distribution

    @classmethod
    def of(
        cls,
        norm: Norm,
        unembedding: Tensor,
        resid: Tensor,
        tokens: Mapping[str, Tensor],
        readings: Sequence[Reading],
        soft_cap: float | None,
    ) -> "_Network":
        U, b = unembedding[:-2], unembedding[-2]
        x = norm.centred(precise(resid))
        unscaled = x @ U
        s = norm.scale(x)
        logits = torch.addcmul(b, unscaled, s)
        if soft_cap is not None:
            logits = unscaled = _capped(logits, soft_cap)
            logits = logits.clone()
        top, token = logits.max(dim=-1)
        tokens = {**tokens, "top": token}
        at = {name: logits.gather(1, token[:, None])[:, 0] for name, token in tokens.items()}
        shifted = logits.sub_(top[:, None])
        in_tiles = _summed([_in_tile(shifted, at, top, readings)])
        p = shifted.exp2_()
        total = p.sum(dim=-1, keepdim=True)
        lse, p = top + total.log2()[:, 0], p.div_(total)
        mean = torch.linalg.vecdot(p, unscaled)
        output = Output(lse, top, at, in_tiles, None, lambda: torch.zeros_like(lse))
        return cls(x, s, U, b, unscaled, tokens, output, p, mean)

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


def _output(
    norm: Norm, own: _Network, change: Change, mean: Callable[[], Tensor], readings: Sequence[Reading]
) -> Output:
    """What the hypotheses of one group predict."""
    z = precise(change.z) if change.W is not None else norm.centred(precise(change.z))
    x = own.x + (z if change.W is None else z @ norm.centred(precise(change.W)))
    s, top_of_network = norm.scale(x), own.output.top
    at = {name: _logit(own, s, z, change.unembedding, token) for name, token in own.tokens.items()}
    in_tiles: list[dict[Reading, Tensor]] = []
    total, top = torch.zeros_like(s[..., 0]), torch.full_like(s[..., 0], -torch.inf)
    for logits in _tiles_of_logits(own.unscaled, s, s * z, change.unembedding, top_of_network):
        top = torch.maximum(top, logits.amax(dim=-1))
        in_tiles.append(_in_tile(logits, at, top_of_network, readings))
        total += logits.exp2_().sum(dim=-1)
    lse, top = top_of_network + total.log2(), top_of_network + top
    lost = ~((lse > top_of_network + math.log2(SAFE[0])) & (lse < top_of_network + math.log2(SAFE[1])))
    if lost.any():
        top[lost], lse[lost] = own.top_and_log_sum((s * x)[lost])

    def mean_change() -> Tensor:
        return (s - own.s)[..., 0] * own.mean + s[..., 0] * (z * mean()).sum(dim=-1)

    return Output(lse, top, at, _summed(in_tiles), own.output, mean_change)


def _capped_outputs(
    norm: Norm, own: _Network, change: Change, soft_cap: float, readings: Sequence[Reading]
) -> Iterator[Output]:
    """What the hypotheses of one group predict with capped logits, one after another."""
    for z in change.z:
        x = own.x + norm.centred(precise(z) if change.W is None else precise(z) @ precise(change.W))
        logits = _capped(torch.addcmul(own.b, x @ own.U, norm.scale(x)), soft_cap)
        at = {name: logits.gather(1, token[:, None])[:, 0] for name, token in own.tokens.items()}
        top, shift = logits.amax(dim=-1), own.output.top
        in_tiles = _summed([_in_tile(logits - shift[:, None], at, shift, readings)])
        lse = (LN2 * logits).logsumexp(dim=-1) / LN2
        change_of_mean = torch.linalg.vecdot(own.p, logits) - own.mean
        yield Output(lse, top, at, in_tiles, own.output, lambda found=change_of_mean: found)


def _capped(logits: Tensor, soft_cap: float) -> Tensor:
    """Logits in units of ln 2; a token without probability keeps none."""
    cap = soft_cap / LN2
    return torch.where(logits == NEVER, NEVER, cap * (logits / cap).tanh())


def _in_tile(
    logits: Tensor, at: Mapping[str, Tensor], shift: Tensor, readings: Sequence[Reading]
) -> dict[Reading, Tensor]:
    """What readings add up over tiles: of the logits of one tile."""
    asking = [reading for reading in readings if isinstance(reading, ReadingOfTiles)]
    shifted = {name: value - shift for name, value in at.items()} if asking else {}
    return {reading: reading.in_tile(logits, shifted) for reading in asking}


def _summed(tiles: Sequence[dict[Reading, Tensor]]) -> dict[Reading, Tensor]:
    return {reading: torch.stack([tile[reading] for tile in tiles]).sum(dim=0) for reading in tiles[0]}


def _tiles_of_logits(
    unscaled: Tensor, s: Tensor, sz: Tensor, folded: Tensor, shift: Tensor
) -> Iterator[Float[Tensor, "hypothesis position token"]]:
    """The logits of each hypothesis and position, less a shift of each position, some tokens at a time."""
    hypotheses, positions = s.shape[:2]
    ones = torch.ones_like(s)
    left = torch.cat([sz, ones, -shift[:, None] * ones], dim=-1).flatten(0, 1)
    for columns in _tiles(folded.shape[1], hypotheses * positions):
        logits = unscaled[:, columns] * s
        logits.flatten(0, 1).addmm_(left, folded[:, columns])
        yield logits


def _tiles(columns: int, rows: int) -> Iterator[slice]:
    width = max(64, TILE // max(1, rows) // 64 * 64)  # matrix products are slower at odd sizes
    return (slice(start, start + width) for start in range(0, columns, width))


def _logit(own: _Network, s: Tensor, z: Tensor, folded: Tensor, token: Tensor) -> Tensor:
    """Each hypothesis's logit of one token per position."""
    unscaled = own.unscaled.gather(1, token[:, None])[:, 0] + (z * folded[:-2, token].T).sum(dim=-1)
    return unscaled * s[..., 0] + folded[-2, token]
