"""What the heads of a network do on a corpus: streamed over its rows, and ranked by how many things they do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from hypotheses.heads import Head, by_layer
from hypotheses.polysemantic.behaviours import (
    ACTIVE,
    BEHAVIOURS,
    BIGGER,
    INACTIVE,
    Counts,
    Labels,
    Rule,
    chance_sets,
    classified,
    counted,
    key_sets,
)
from hypotheses.polysemantic.tokens import Kinds
from scrubbing.errors import DataError
from scrubbing.experiments.progress import ShowProgress, showing_progress
from scrubbing.lens import Transformer

ALL, NEW_LINES = "all", "⏎ and any indent"
HAS = 0.05  # of rows, beyond chance: what a head does often enough to be said to do it
HELD = 2**25  # attention probabilities held at a time


@dataclass(frozen=True, eq=False)
class Measured:
    """How many rows of each head do what, and how many by chance alone: by key sets that are like those."""

    counts: Counts
    chance: Counts

    def excess(self, layer: int, head: int, destination: str = ALL) -> dict[str, float]:
        """The share of each behaviour beyond chance, among a destination's rows; of inactivity nothing is chance."""
        place = self.counts.destinations.index(destination)
        found, chance = (counts.rows[layer, head, place].double() for counts in (self.counts, self.chance))
        shares = (found - chance) / found.sum().clamp(min=1)
        inactive = BEHAVIOURS.index(INACTIVE)
        shares[inactive] = found[inactive] / found.sum().clamp(min=1)
        return dict(zip(BEHAVIOURS[:-1], shares.tolist(), strict=False))

    def of_head(self, layer: int, head: int) -> dict[str, float]:
        """Of all rows the share of each behaviour beyond chance; of bigger indents, of the rows of new lines."""
        return self.excess(layer, head) | {BIGGER: self.excess(layer, head, NEW_LINES)[BIGGER]}

    def ranked(self) -> list[tuple[Head, dict[str, float]]]:
        """The heads by how many behaviours they have, beyond chance; among equals by the second most frequent one."""
        layers, heads = self.counts.rows.shape[:2]
        found = [((layer, head), self.of_head(layer, head)) for layer in range(layers) for head in range(heads)]

        def worth(entry: tuple[Head, dict[str, float]]) -> tuple[float, ...]:
            shares = sorted((entry[1][name] for name in ACTIVE), reverse=True)
            return (-float(sum(share >= HAS for share in shares)), -shares[1], -shares[0])

        return sorted(found, key=worth)

    def heads(self) -> list[dict[str, Any]]:
        """The table `heads`: each head with its number of behaviours and the excess of each."""
        return [
            {
                "head": f"{layer}.{head}",
                "behaviours": sum(shares[name] >= HAS for name in ACTIVE),
                **{name.replace("+", " and "): share for name, share in shares.items()},
            }
            for (layer, head), shares in self.ranked()
        ]

    def beside_chance(self, head: Head) -> list[dict[str, Any]]:
        """The table `excess`: a behaviour's share of a destination's rows, that by chance, and the difference."""
        pairs = zip(self.counts.of_head(*head), self.chance.of_head(*head), strict=True)
        return [
            {
                "destination": found["destination"],
                "behaviour": found["behaviour"],
                "share": found["share"],
                "chance": chance["share"],
                "excess": found["share"] - chance["share"],
            }
            for found, chance in pairs
            if found["behaviour"] in ACTIVE and found["share"] is not None
        ]


def destinations(marked: Mapping[str, int], kinds: Kinds) -> dict[str, Bool[Tensor, " d_vocab"]]:
    """The tokens of each group of destinations: all, new lines with their indents, and single tokens."""
    size = len(kinds.special)
    groups = {ALL: torch.ones(size, dtype=torch.bool), NEW_LINES: kinds.indent >= 0}
    return groups | {name: torch.arange(size) == token for name, token in marked.items()}


def measured(
    model: Transformer,
    tokens: Int[Tensor, "row position"],
    kinds: Kinds,
    rule: Rule,
    groups: Mapping[str, Bool[Tensor, " d_vocab"]],
    *,
    progress: ShowProgress = None,
) -> Measured:
    """Classify every row of every head's pattern, a few rows of the corpus at a time.

    Raises `DataError` where there are no rows.
    """
    if not len(tokens):
        raise DataError("there are no rows to classify; give at least one")
    found: list[Measured] = []
    with showing_progress(progress, len(tokens), unit="rows") as advance:
        for done, (labels, by_chance, rows) in _classified(model, tokens, kinds, rule):
            found = [
                reduce(_merged, [*found, Measured(counted(labels, rows, groups), counted(by_chance, rows, groups))])
            ]
            advance(done)
    return found[0]


def _merged(a: Measured, b: Measured) -> Measured:
    return Measured(add(a.counts, b.counts), add(a.chance, b.chance))


def _classified(
    model: Transformer, tokens: Tensor, kinds: Kinds, rule: Rule
) -> Iterator[tuple[int, tuple[list[Labels], list[Labels], Tensor]]]:
    """Chunks of the corpus: how many rows are done, the labels of each layer, those by chance, and the tokens."""
    config = model.config
    G = by_layer(model)
    names = [f"layer{layer}_pattern" for layer in range(config.n_layers)]
    chunk, done = max(1, HELD // (config.n_layers * config.n_heads * tokens.shape[1] ** 2)), 0
    for rows in tokens.split(chunk):
        # A seed of each chunk: one for all would compare the same places of all rows.
        sets, chance = key_sets(rows, kinds, rule), chance_sets(rows, kinds, rule, seed=done)
        patterns = G.activations({"tokens": rows}, *names)
        done += len(rows)
        yield (
            done,
            ([classified(p, sets, rule) for p in patterns], [classified(p, chance, rule) for p in patterns], rows),
        )
