"""The head's OV and QK circuits: whether a token lowers itself most, and is attended to most where it is predicted.

Source: McDougall et al. 2023, Copy Suppression, section 3.1. No matrix of all tokens by all tokens is ever held.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from hypotheses.copy_suppression.network import Head, Parts, head_name
from hypotheses.copy_suppression.words import semantic_sets
from scrubbing import circuit_ranks
from scrubbing.experiments.weight_circuits import BLOCK, MOST, HeadCircuits


def ranks(parts: Parts, head: Head, function_words: Bool[Tensor, " token"]) -> list[dict[str, Any]]:
    """For each circuit, how often the own token is first, and its median rank (0 is first).

    `tokens` says among which: all, or those that are no function words.
    """
    tokens = {"all": None, "content": (~function_words).nonzero()[:, 0]}
    return [
        {"circuit": row.pop("circuit"), "tokens": name, **row}
        for name, some in tokens.items()
        for row in circuit_ranks(parts.G, head_name(head), tokens=some).rows
    ]


def semantic_similarity(
    parts: Parts, head: Head, function_words: Bool[Tensor, " token"], vocabulary: Sequence[str]
) -> dict[str, Any]:
    """Of source tokens that lower themselves among 10 outputs but not most: how many lower a form of their word most.

    `cosine` is the mean similarity of the two unembeddings, where another token is lowered most.
    """
    circuits, sets = HeadCircuits.of(parts.G, head_name(head)), semantic_sets(vocabulary)
    unembedded, written = circuits.unembedded, circuits.written
    tokens = (~function_words).nonzero()[:, 0]
    tokens = tokens if len(tokens) <= MOST else tokens[:: len(tokens) // MOST + 1]
    directions = torch.nn.functional.normalize(unembedded, dim=-1)
    near: list[tuple[bool, float]] = []
    for some in tokens.split(max(1, BLOCK // len(unembedded))):
        effects = written[some] @ unembedded.T
        lowest = effects.topk(10, largest=False).indices
        for token, others in zip(some.tolist(), lowest.tolist(), strict=True):
            if others[0] != token and token in others:
                near.append((others[0] in sets[token], float(directions[token] @ directions[others[0]])))
    found = torch.tensor(near, dtype=torch.float64).reshape(-1, 2)
    return {
        "sources": len(tokens),
        "not_first_but_in_10": len(near) / len(tokens),
        "forms_of_one_word": found[:, 0].mean().item() if near else None,
        "cosine": found[:, 1].mean().item() if near else None,
    }
