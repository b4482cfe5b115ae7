"""Which source tokens of a destination are kept: those that are predicted there before the head, the first few."""

from dataclasses import dataclass
from fractions import Fraction

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scrubbing.errors import HypothesisError

Scores = Float[Tensor, "batch query key"]
Pairs = Bool[Tensor, "batch query key"]
Tokens = Int[Tensor, "batch position"]

TIED = 1e-6  # logits that differ by less


@dataclass(frozen=True)
class Share:
    """How many distinct sources are kept of those that a destination sees: a share, or with `number` so many.

    >>> [Share("0.05").of(sources) for sources in (20, 21, 40, 41)]
    [1, 2, 2, 3]
    >>> Share(number=5).of(20)
    5
    """

    share: str = "0.05"
    number: int | None = None

    def of(self, sources: int) -> int:
        """The share of so many sources, rounded up, in whole numbers: 0.05 is a twentieth exactly."""
        if self.number is not None:
            return self.number
        share = Fraction(self.share)
        return -(-share.numerator * sources // share.denominator)

    @classmethod
    def read(cls, k_u: float) -> "Share":
        """A share below 1, or a whole number from 1 on. Raises `HypothesisError` for what is neither."""
        if k_u >= 1 and k_u == int(k_u):
            return cls(number=int(k_u))
        if not 0 < k_u < 1:
            raise HypothesisError(
                f"k_u is {k_u:g}; it must be a share of the sources, above 0 and below 1, or a whole number of them"
            )
        return cls(share=repr(k_u))


def kept_pairs(
    scores: Scores, tokens: Tokens, valid: Bool[Tensor, "batch position"], share: Share, *, keep_invalid: bool = False
) -> Pairs:
    """The pairs of a destination and a source that are kept: the sources of the best scores.

    A token that stands in several places counts once, by its first, and is kept in all of them. Sources that are not
    `valid` (function words) are never kept. The authors' code keeps everything, those too, where fewer valid sources
    than wanted are there: `keep_invalid`.
    """
    positions = tokens.shape[1]
    causal = torch.ones(positions, positions, dtype=torch.bool, device=tokens.device).tril()
    scores = scores.masked_fill(~(valid[:, None, :] & causal), -torch.inf)
    counted = scores.masked_fill(~first_occurrences(tokens)[:, None, :], -torch.inf)
    best = counted.sort(dim=-1, descending=True).values
    wanted = [min(share.of(query + 1), positions) for query in range(positions)]
    index = torch.tensor(wanted, device=tokens.device)[None, :, None] - 1
    threshold = best.gather(2, index.expand(len(tokens), -1, 1)) - TIED
    return (scores >= threshold) & (causal if keep_invalid else scores > -torch.inf)


def first_occurrences(tokens: Tokens) -> Bool[Tensor, "batch position"]:
    """Where a token stands for the first time in its row.

    >>> first_occurrences(torch.tensor([[5, 7, 5, 5]]))
    tensor([[ True,  True, False, False]])
    """
    return ~(tokens[:, :, None] == tokens[:, None, :]).tril(-1).any(2)


def last_seen(tokens: Tokens) -> Scores:
    """At which position each query last saw the token of each key: the later, the more recent.

    >>> last_seen(torch.tensor([[5, 7, 5]]))[0, 2]
    tensor([2., 1., 2.])
    """
    same = tokens[:, :, None] == tokens[:, None, :]
    at = torch.where(same, torch.arange(tokens.shape[1], device=tokens.device), -1)
    return at.cummax(dim=2).values.transpose(1, 2).float()


def by_chance(tokens: Tokens, seed: int) -> Scores:
    """Scores that say nothing: the same number for one token at one destination, in whatever row and order."""
    query = torch.arange(tokens.shape[1], device=tokens.device)[None, :, None]
    mixed = (tokens[:, None, :] * 2654435761 + query * 40503 + seed * 97 + 12345) % 4294967291
    mixed = (mixed * 48271) % 2147483647
    return (mixed * 69621 % 2147483647).double().div(2147483647)
