"""Where heads attend: on random tokens that repeat, and between the names of prompts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hypotheses.heads import by_layer
from hypotheses.ioi.data import Rows
from scrubbing.errors import DataError
from scrubbing.lens import Transformer, TransformerConfig

LENGTH, ROWS = 50, 50  # tokens before they repeat, and rows, in the published scores
CHUNK = 10  # rows at a time

PerHead = Float[Tensor, "layer head"]


@torch.no_grad()
def patterns(
    model: Transformer, tokens: Int[Tensor, "row position"], *, chunk: int = CHUNK
) -> Iterator[tuple[slice, Float[Tensor, "layer row head query key"]]]:
    """The attention of all heads, some rows at a time."""
    G, config = by_layer(model), model.config
    names = [f"layer{layer}_pattern" for layer in range(config.n_layers)]
    for start in range(0, len(tokens), chunk):
        rows = slice(start, min(start + chunk, len(tokens)))
        yield rows, torch.stack(G.activations({"tokens": tokens[rows]}, *names))


def repeated_tokens(config: TransformerConfig, *, length: int, rows: int, seed: int) -> Int[Tensor, "row twice"]:
    """Random tokens, then the same again: `[row, 2 * length]`."""
    draw = np.random.default_rng([seed, 2])
    return torch.from_numpy(draw.integers(0, config.d_vocab, (rows, length))).repeat(1, 2)


@dataclass(frozen=True, eq=False)
class HeadScores:
    """The attention of each head on repeated tokens.

    From a token's second copy to its first (`duplicate`), to the token after that (`induction`); and from tokens of the
    first copy to the one before (`previous`).
    """

    duplicate: PerHead
    previous: PerHead
    induction: PerHead

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each head."""
        return [
            {"layer": layer, "head": head, **{name: getattr(self, name)[layer, head].item() for name in KINDS}}
            for layer in range(self.duplicate.shape[0])
            for head in range(self.duplicate.shape[1])
        ]


KINDS = ("duplicate", "previous", "induction")


def head_scores(model: Transformer, *, length: int = LENGTH, rows: int = ROWS, seed: int = 0) -> HeadScores:
    """Measure all heads on random tokens that repeat once, the first copy as long as the context allows.

    Raises `DataError` for a context that holds no four tokens.
    """
    length = min(length, model.config.n_ctx // 2)
    if length < 2:
        raise DataError(f"the model's context is {model.config.n_ctx}; repeated tokens need at least 4")
    tokens = repeated_tokens(model.config, length=length, rows=rows, seed=seed)
    first = torch.arange(length)
    places = {
        "duplicate": (length + first, first),
        "previous": (first[:-1] + 1, first[:-1]),
        "induction": (length + first, first + 1),
    }
    tokens = tokens.to(model.weights["embed.W_E"].device)
    sums: dict[str, Tensor] = dict.fromkeys(
        KINDS, torch.zeros(model.config.n_layers, model.config.n_heads, dtype=torch.float64)
    )
    for _, pattern in patterns(model, tokens):
        for name, (query, key) in places.items():
            sums[name] = sums[name] + pattern[..., query, key].double().mean(-1).sum(1).cpu()
    return HeadScores(**{name: total / rows for name, total in sums.items()})


# From where to where the heads of the circuit attend.
LOOKS = {
    "END to IO": ("END", "IO"),
    "END to S1": ("END", "S1"),
    "END to S2": ("END", "S2"),
    "S2 to S1": ("S2", "S1"),
    "S2 to S1_next": ("S2", "S1_next"),
    "S1_next to S1": ("S1_next", "S1"),
}


def looks(model: Transformer, rows: Rows) -> Mapping[str, PerHead]:
    """The mean attention of each head between the names of prompts."""
    found = {name: torch.zeros(model.config.n_layers, model.config.n_heads, dtype=torch.float64) for name in LOOKS}
    tokens = rows.tokens[:, :-1].to(model.weights["embed.W_E"].device)
    for some, pattern in patterns(model, tokens):
        for name, (query, key) in LOOKS.items():
            at_query, at_key = rows.roles[query][some], rows.roles[key][some]
            row = torch.arange(len(at_query))
            found[name] += pattern[:, row, :, at_query, at_key].double().sum(0).cpu()
    return {name: total / len(rows) for name, total in found.items()}
