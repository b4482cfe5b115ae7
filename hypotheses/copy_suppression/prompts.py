"""Prompts of indirect objects, by a few templates: "When John and Mary went to the store, John gave a book to"."""

import numpy as np
import torch
from torch import Tensor

from hypotheses.copy_suppression.places import Vocabulary
from hypotheses.shipped import encoded

NAMES = (
    "John Mary Tom Anna Paul Kate Mark Sarah David Emma James Laura Peter Alice Robert Julia Michael Susan Daniel Lisa "
    "George Amy Kevin Rachel"
).split()
PLACES = "store park school hospital office garden restaurant station".split()
THINGS = "book drink ring letter present bone kiss computer".split()
TEMPLATES = (
    "When{a} and{b} went to the {place},{s} gave a {thing} to",
    "After{a} and{b} went to the {place},{s} gave a {thing} to",
    "Then,{a} and{b} were at the {place}, and{s} decided to give a {thing} to",
    "While{a} and{b} were working at the {place},{s} gave a {thing} to",
)
SEQUENCES = 100
FEWEST_NAMES = 4


def ioi_prompts(vocabulary: Vocabulary, seed: int = 0, rows: int = SEQUENCES) -> dict[str, Tensor] | None:
    """Random prompts, padded at the right: `labels` hold the name that comes next where `weights` is 1, at the end.

    None where the tokenizer does not write names as one token each.
    """
    names = [name for name in NAMES if vocabulary.single(f" {name}") is not None]
    known = all(vocabulary.single(f" {word}") is not None for word in ("and", "gave", "the", "to"))
    if len(names) < FEWEST_NAMES or not known or vocabulary.tokenizer is None:
        return None
    rng = np.random.default_rng(seed)
    begin = vocabulary.tokenizer.token_to_id("<|endoftext|>")
    made: list[tuple[list[int], int]] = []
    for _ in range(rows):
        io, s = (names[i] for i in rng.choice(len(names), 2, replace=False))
        a, b = (io, s) if rng.random() < 0.5 else (s, io)
        text = TEMPLATES[rng.integers(len(TEMPLATES))].format(
            a=f" {a}", b=f" {b}", s=f" {s}", place=rng.choice(PLACES), thing=rng.choice(THINGS)
        )
        ids = encoded(vocabulary.tokenizer, text).ids
        made.append((ids if begin is None else [begin, *ids], vocabulary.single(f" {io}") or 0))
    tokens = torch.zeros(rows, max(len(ids) for ids, _ in made), dtype=torch.long)
    columns = {"tokens": tokens, "labels": tokens.clone(), "weights": torch.zeros(tokens.shape)}
    for row, (ids, io) in enumerate(made):
        columns["tokens"][row, : len(ids)] = torch.tensor(ids)
        columns["labels"][row, len(ids) - 1] = io
        columns["weights"][row, len(ids) - 1] = 1
    return columns
