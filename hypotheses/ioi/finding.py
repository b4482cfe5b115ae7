"""The parts that heads are measured to play on prompts, where nobody has named them.

The rules are those by which the published circuit was found, with thresholds: name movers add to the logit difference
and attend to the object; S-inhibition heads make their queries; what tells these that a name stood before comes first.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from hypotheses.heads import Head, all_heads
from hypotheses.ioi.backup import Backup
from hypotheses.ioi.data import grouped
from hypotheses.ioi.measuring import PerHead
from hypotheses.ioi.patching import Patch, changes
from hypotheses.ioi.roles import Roles
from scrubbing import Graph
from scrubbing.errors import HypothesisError, nearest
from scrubbing.lens import TransformerConfig

MOST = 12  # heads of a class


@dataclass(frozen=True)
class Thresholds:
    """Above what a head plays a part.

    `moves`, `against` and `backs_up` are shares of what the first name mover adds to the logit difference; `looks_at`
    is the attention of name movers to the object, and `looks_back` that of heads which know that a name stood before;
    `inhibits` and `tells` are shares of the logit difference that are lost by a path patch.
    """

    moves: float = 0.5
    against: float = 0.25
    backs_up: float = 0.1
    looks_at: float = 0.5
    looks_back: float = 0.3
    inhibits: float = 0.1
    tells: float = 0.03

    @classmethod
    def read(cls, text: str) -> "Thresholds":
        """Some of them by name, between commas: the others stay as they are.

        >>> Thresholds.read("moves=0.4, tells=0.05").moves
        0.4

        Raises `HypothesisError` for other names, and for what is no number from 0 to 1.
        """
        known = [field.name for field in fields(cls)]
        found: dict[str, float] = {}
        for part in filter(None, map(str.strip, text.split(","))):
            name, _, value = (side.strip() for side in part.partition("="))
            if name not in known:
                raise HypothesisError(
                    f"there is no threshold {name!r}{nearest(name, known)}; there are {', '.join(known)}"
                )
            if not re.fullmatch(r"0|1|[01]?\.\d{1,9}", value) or float(value) > 1:
                raise HypothesisError(f"the threshold {part!r} must be a number from 0 to 1, as in {name}=0.3")
            found[name] = float(value)
        return cls(**found)


DEFAULT = Thresholds()


@dataclass(frozen=True, eq=False)
class Measured:
    """What parts are told by: the network whose output is the logit difference, its prompts and their donors."""

    G: Graph
    config: TransformerConfig
    data: Mapping[str, Tensor]
    donors: Int[Tensor, " row"]
    references: int
    looks: Mapping[str, PerHead]
    effects: Float[np.ndarray, "layer head"]  # direct, on the logit difference

    def patched(self, heads: Sequence[Head], receivers: Sequence[Head], input: Any) -> dict[Head, float]:
        """The change of the logit difference by each head's path to some others."""
        patches = [Patch((head,), tuple(receivers), input) for head in heads]
        found = self._changes(patches) if receivers else [0.0] * len(heads)
        return dict(zip(heads, found, strict=True))

    def _changes(self, patches: Sequence[Patch]) -> list[float]:
        groups: dict[str, Any] = {**grouped(self.data["template"][: self.references])}
        return changes(self.G, patches, self.data, self.donors, self.references, **groups)


def movers(
    effects: Float[np.ndarray, "layer head"],
    looks: Mapping[str, PerHead],
    config: TransformerConfig,
    above: Thresholds = DEFAULT,
) -> tuple[Head, ...]:
    """The heads that attend to the object and add most, the first of them first.

    If none attends to it, the head that adds most.
    """
    heads = all_heads(config)
    look = looks["END to IO"]
    there = [head for head in heads if look[head] > max(above.looks_at, float(looks["END to S1"][head]))]
    best = max((head for head in there), key=lambda head: effects[head], default=None)
    if best is None or effects[best] <= 0:
        return (max(heads, key=lambda head: effects[head]),)
    return _best(there, {head: float(effects[head] / effects[best]) for head in there}, above.moves)


def find_roles(measured: Measured, backup: Backup, above: Thresholds = DEFAULT) -> Roles:
    """The parts of all heads; `backup` is without the first of the name movers."""
    look, chosen = measured.looks, movers(measured.effects, measured.looks, measured.config, above)
    free = [head for head in all_heads(measured.config) if head not in chosen]
    share = measured.effects / measured.effects[chosen[0]]
    negative = _best(free, {head: -share[head] for head in free}, above.against)
    queries = measured.patched([head for head in free if head not in negative], chosen, "q")
    inhibition = _best(queries, {head: -change for head, change in queries.items()}, above.inhibits)
    rise = (backup.ablated_effects - backup.clean_effects).mean(-1) / measured.effects[chosen[0]]
    free = [head for head in free if head not in (*negative, *inhibition)]
    backups = _best(free, {head: float(rise[head]) for head in free}, above.backs_up)
    free = [head for head in free if head not in backups]
    told = dict.fromkeys(free, 0.0)
    for input in ("k", "v"):
        for head, change in measured.patched(free, inhibition, input).items():
            told[head] = min(told[head], change)
    telling = [head for head in free if told[head] < -above.tells]
    duplicate = [head for head in telling if look["S2 to S1"][head] > above.looks_back]
    induction = [head for head in telling if look["S2 to S1_next"][head] > above.looks_back and head not in duplicate]
    before = [
        head for head in free if head not in (*duplicate, *induction) and look["S1_next to S1"][head] > above.looks_back
    ]
    keys = measured.patched(before, induction, "k")
    return Roles(
        name_mover=chosen,
        negative=negative,
        backup=backups,
        s_inhibition=inhibition,
        duplicate=_best(duplicate, {head: -told[head] for head in duplicate}, 0.0),
        induction=_best(induction, {head: -told[head] for head in induction}, 0.0),
        previous=_best(before, {head: -keys[head] for head in before}, above.tells),
    )


def _best(heads: Sequence[Head] | Mapping[Head, float], score: Mapping[Head, float], above: float) -> tuple[Head, ...]:
    """The heads above a threshold, the best first."""
    return tuple(sorted((h for h in heads if score[h] > above), key=lambda h: -score[h])[:MOST])
