"""What the rows of attention patterns do: a row is the attention of one destination, over all sources.

Source: "Polysemantic attention head in a 4-layer transformer" (2023), section 1: a behaviour that accounts for 95% of a
row is what the row does. Key sets leave special tokens to "inactive", and look back only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hypotheses.polysemantic.tokens import Kinds
from scrubbing.errors import DataError

INACTIVE, PREVIOUS, INDUCTION, BIGGER, UNKNOWN = "inactive", "previous", "induction", "bigger indentation", "unknown"
MIXED = "previous+induction"
BEHAVIOURS = (INACTIVE, PREVIOUS, INDUCTION, MIXED, BIGGER, UNKNOWN)  # a row does the first that fits
ACTIVE = (PREVIOUS, INDUCTION, MIXED, BIGGER)

Tokens = Int[Tensor, "row position"]
Keys = Bool[Tensor, "row query key"]
Pattern = Float[Tensor, "row head query key"]
Labels = Int[Tensor, "row head query"]  # places in BEHAVIOURS


@dataclass(frozen=True)
class Rule:
    """When a row does something: this much of its attention goes there; how far back "a few previous tokens" are.

    Raises `DataError` for a threshold of half or less, by which a row could do two things, and for an empty window.
    """

    threshold: float = 0.95
    window: int = 3
    include_current: bool = False

    def __post_init__(self) -> None:
        if not 0.5 < self.threshold <= 1:
            raise DataError(f"threshold is {self.threshold:g}; a row does what has above 0.5, and at most 1, of it")
        if self.window < 1:
            raise DataError(f"window is {self.window}; at least the previous token is one of a few")

    def __str__(self) -> str:
        current = ", the current one too" if self.include_current else ""
        return f"{100 * self.threshold:g}% of a row; previous: the last {self.window} tokens{current}"


def key_sets(tokens: Tokens, kinds: Kinds, rule: Rule) -> dict[str, Keys]:
    """The sources that each behaviour attends to, for each destination."""
    return _key_sets(tokens, tokens, kinds, rule, (0 if rule.include_current else 1, rule.window))


def chance_sets(tokens: Tokens, kinds: Kinds, rule: Rule, *, seed: int = 0) -> dict[str, Keys]:
    """Sources that are like those of each behaviour, but for what it claims: what it shows by chance.

    As many tokens just before the window, in place of the previous ones; the followers of the token at another place of
    the row, drawn at random, but for that place's own; smaller indents in place of bigger ones.
    """
    generator = torch.Generator().manual_seed(seed)
    elsewhere = torch.rand(tokens.shape, generator=generator).argsort(1).to(tokens.device)
    others = tokens.gather(1, elsewhere)
    others = others.where(others != tokens, -2)  # the same token would be no chance
    width = rule.window + int(rule.include_current)
    sets = _key_sets(tokens, others, kinds, rule, (rule.window + 1, rule.window + width), smaller=True)
    positions = torch.arange(tokens.shape[1], device=tokens.device)
    sets[INDUCTION] = sets[INDUCTION] & (positions != elsewhere[:, :, None] + 1)
    return sets


def _key_sets(
    tokens: Tokens, wanted: Tokens, kinds: Kinds, rule: Rule, offsets: tuple[int, int], *, smaller: bool = False
) -> dict[str, Keys]:
    special, indent = kinds.special.to(tokens.device)[tokens], kinds.indent.to(tokens.device)[tokens]
    positions = torch.arange(tokens.shape[1], device=tokens.device)
    distance = positions[:, None] - positions
    seen = (distance >= 0) & ~special[:, None, :]
    before = tokens.roll(1, dims=1).index_fill(1, positions[:1], -1)  # the first token follows none
    query, key = indent[:, :, None], indent[:, None, :]
    further = (key < query) if smaller else (key > query)
    first, last = offsets
    return {
        INACTIVE: special[:, None, :] & (distance >= 0),
        PREVIOUS: seen & (distance >= first) & (distance <= last),
        INDUCTION: seen & (before[:, None, :] == wanted[:, :, None]),
        BIGGER: seen & (query >= 0) & (key >= 0) & further,
    }


def classified(pattern: Pattern, sets: Mapping[str, Keys], rule: Rule) -> Labels:
    """What each row of the patterns does, as a place in `BEHAVIOURS`.

    >>> tokens, kinds = torch.tensor([[0, 1, 2, 3]]), Kinds.of(["<s>", "a", "b", "c"], [0])
    >>> sets = key_sets(tokens, kinds, Rule())
    >>> pattern = torch.tensor([[[[1.0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0.5, 0, 0, 0.5]]]])
    >>> [BEHAVIOURS[i] for i in classified(pattern, sets, Rule())[0, 0]]
    ['inactive', 'inactive', 'previous', 'unknown']
    """
    found = torch.full(pattern.shape[:3], BEHAVIOURS.index(UNKNOWN), device=pattern.device)
    for name in reversed(BEHAVIOURS[:-1]):
        keys = sets[PREVIOUS] | sets[INDUCTION] if name == MIXED else sets[name]
        attended = torch.einsum("bhqk,bqk->bhq", pattern, keys.to(pattern))
        found = found.masked_fill(attended >= rule.threshold - 1e-6, BEHAVIOURS.index(name))  # softmax's rounding
    return found


@dataclass(frozen=True, eq=False)
class Counts:
    """How many rows do what, by layer and head and destination token, over all that was counted."""

    destinations: tuple[str, ...]
    rows: Int[Tensor, "layer head destination behaviour"]

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.destinations, self.rows + other.rows)

    def of_head(self, layer: int, head: int) -> Iterator[dict[str, Any]]:
        """The rows of the table `behaviours`: of each destination, the share of each behaviour."""
        for destination, counts in zip(self.destinations, self.rows[layer, head], strict=True):
            total = int(counts.sum())
            for behaviour, rows in zip(BEHAVIOURS, counts.tolist(), strict=True):
                share = rows / total if total else None
                yield {"destination": destination, "behaviour": behaviour, "rows": rows, "share": share}


def counted(layers: list[Labels], tokens: Tokens, destinations: Mapping[str, Bool[Tensor, " d_vocab"]]) -> Counts:
    """Count the rows of each destination, but for a text's first, which can attend to itself alone."""
    chosen = {name: marked.to(tokens.device)[tokens] for name, marked in destinations.items()}
    labels = torch.stack(layers)[..., 1:].movedim(1, 2)  # [layer, head, row, query]
    rows = [
        torch.stack([(labels[:, :, at[:, 1:]] == place).sum(-1) for place in range(len(BEHAVIOURS))], -1)
        for at in chosen.values()
    ]
    return Counts(tuple(chosen), torch.stack(rows, 2).cpu())
