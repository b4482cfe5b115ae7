"""Induction networks written by hand, for which each score of the ladder is known before it is measured.

INDUCTION.md, "Known-answer models". The residual stream is made of blocks that hold a one-hot each. Rows are
BEGIN + s + s with s of distinct tokens. Head 0.0 copies each token into its successor's PREVIOUS block; heads 1.5 and
1.6 find the key whose PREVIOUS block holds the query's token, copy that key's token to OUTPUT, and fall back on BEGIN.
M0 is this and no more; M1, M2 and M3 each add one head to layer 0 and let the induction heads read it, so that known
claims become false.

>>> model = build("M1", norm=True)
>>> model.data["tokens"].shape, sorted(MUST_FAIL["M1"])
(torch.Size([64, 17]), [('naive', 'All'), ('naive', 'V')])
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import save as to_bytes
from torch import Tensor

from scrubbing.errors import ModelError, nearest
from scrubbing.store.files import write_whole, writing

Claim = tuple[str, str]
Weights = dict[str, Tensor]

BEGIN = 0
N_TOKENS = 20  # BEGIN and 19 words
N_WORDS = 8  # in s
N_CTX = 2 * N_WORDS
N_HEADS = 8

TOKEN, PREVIOUS, SPARE, OUTPUT = (slice(start, start + N_TOKENS) for start in range(0, 4 * N_TOKENS, N_TOKENS))
POSITION = slice(4 * N_TOKENS, 4 * N_TOKENS + N_CTX)  # filled by the position table alone: after the norm, in q and k
D_MODEL = POSITION.stop
D_HEAD = 2 * N_TOKENS + 1
CONSTANT = D_HEAD - 1  # the head dimension in which every query holds the same number

FULL_MATCH = 200.0  # attention scores: the softmax of a difference of 0.3 of this is 1 to within float64
BEGIN_SHARE = 0.7  # BEGIN's score as a share of the full match: above one match of two, above half a match
CONFIDENCE = 10.0  # the logit of the predicted token

EPS = 1e-5
ROLES = MappingProxyType({"induction": [[1, 5], [1, 6]], "previous": [[0, 0]], "self": [[0, 1], [0, 2], [0, 5]]})


@dataclass(frozen=True)
class Head:
    """The four matrices of one attention head, each written from the residual stream to the head."""

    W_Q: Float[Tensor, "d_model d_head"]
    W_K: Float[Tensor, "d_model d_head"]
    W_V: Float[Tensor, "d_model d_head"]
    to: Float[Tensor, "d_model d_head"]  # W_O transposed


@dataclass(frozen=True)
class Recipe:
    """How a model differs from M0: heads added to layer 0, and what the induction heads match and copy."""

    added: Mapping[int, Head]
    matches: tuple[tuple[slice, slice], ...]
    value: slice


@dataclass(frozen=True)
class HandMade:
    """A model and its data, in the form that `scrubbing score induction --model DIR` reads from a folder."""

    name: str
    config: dict[str, Any]
    weights: Weights
    roles: dict[str, list[list[int]]]
    data: dict[str, Tensor]


# What must fail is what the claim leaves out and the model needs; all other experiments recover exactly 100%.
MUST_FAIL: Mapping[str, frozenset[Claim]] = MappingProxyType(
    {
        "M0": frozenset(),
        "M1": frozenset({("naive", "V"), ("naive", "All")}),
        "M2": frozenset(
            {("naive", "Q"), ("naive", "K"), ("naive (whole head)", "K"), ("refined 1", "Q"), ("refined 1", "K")}
        ),
        "M3": frozenset((name, inputs) for name in ("naive", "refined 1", "refined 2") for inputs in ("Q", "All")),
    }
)
MAY_BE_ANYTHING: Mapping[str, frozenset[Claim]] = MappingProxyType(
    {
        "M0": frozenset(),
        "M1": frozenset(),
        "M2": frozenset({("naive", "All"), ("refined 1", "All")}),
        "M3": frozenset(),
    }
)


# ---------------------------------------------------------------- heads


def block(where: slice, *, first: int = 0) -> Float[Tensor, "d_model d_head"]:
    """The matrix that reads a block into the head's dimensions from `first` on."""
    matrix = torch.zeros(D_MODEL, D_HEAD, dtype=torch.float64)
    size = where.stop - where.start
    matrix[where, first : first + size] = torch.eye(size, dtype=torch.float64)
    return matrix


def positional(*, back: int, to: slice) -> Head:
    """Attends `back` positions back (to position 0 where there are fewer) and copies that token to a block."""
    wanted = torch.zeros(D_MODEL, D_HEAD, dtype=torch.float64)
    at = torch.arange(N_CTX)
    wanted[POSITION.start + at, (at - back).clamp(min=0)] = FULL_MATCH
    return Head(W_Q=wanted, W_K=block(POSITION), W_V=block(TOKEN), to=block(to))


def same_token(*, to: slice) -> Head:
    """Attends equally to every occurrence of the current token and copies that token to a block."""
    return Head(W_Q=FULL_MATCH * block(TOKEN), W_K=block(TOKEN), W_V=block(TOKEN), to=block(to))


def half_an_induction_head(matches: tuple[tuple[slice, slice], ...], value: slice) -> Head:
    """Matches blocks of query and key, prefers BEGIN to all but a full match, and copies half of `value` to OUTPUT."""
    W_Q, W_K = (torch.zeros(D_MODEL, D_HEAD, dtype=torch.float64) for _ in range(2))
    for i, (query_block, key_block) in enumerate(matches):
        W_Q += FULL_MATCH * block(query_block, first=i * N_TOKENS)
        W_K += block(key_block, first=i * N_TOKENS)
    W_Q[POSITION, CONSTANT] = BEGIN_SHARE * FULL_MATCH * len(matches)
    W_K[TOKEN.start + BEGIN, CONSTANT] = 1.0
    return Head(W_Q=W_Q, W_K=W_K, W_V=block(value), to=0.5 * block(OUTPUT))


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "M0": Recipe(
            added={},
            matches=((TOKEN, PREVIOUS),),
            value=TOKEN,
        ),
        "M1": Recipe(
            added={3: positional(back=0, to=SPARE)},
            matches=((TOKEN, PREVIOUS),),
            value=SPARE,
        ),
        "M2": Recipe(
            added={4: positional(back=2, to=SPARE)},
            matches=((TOKEN, PREVIOUS), (PREVIOUS, SPARE)),
            value=TOKEN,
        ),
        "M3": Recipe(
            added={2: same_token(to=SPARE)},
            matches=((SPARE, PREVIOUS),),
            value=TOKEN,
        ),
    }
)


# ---------------------------------------------------------------- the network


def attention(layer: int, heads: Mapping[int, Head]) -> Weights:
    """The attention weights of a layer in the old transformer_lens names; a head that is not given is zero."""
    nothing = torch.zeros(D_MODEL, D_HEAD, dtype=torch.float64)
    all_heads = [heads.get(i, Head(nothing, nothing, nothing, nothing)) for i in range(N_HEADS)]
    return {
        f"blocks.{layer}.attn.W_Q": torch.stack([head.W_Q * D_HEAD**0.5 for head in all_heads]),
        f"blocks.{layer}.attn.W_K": torch.stack([head.W_K for head in all_heads]),
        f"blocks.{layer}.attn.W_V": torch.stack([head.W_V for head in all_heads]),
        f"blocks.{layer}.attn.W_O": torch.stack([head.to.T for head in all_heads]),
    }


def undoing_norm(at: str, *, ones: int) -> Weights:
    """The scale and bias with which a layer norm returns a stream of so many one-hots unchanged.

    Hence a full match, and BEGIN's share of it, are the same after the norm as with norms off.
    """
    mean = ones / D_MODEL
    scale = (mean - mean**2 + EPS) ** 0.5
    return {
        f"{at}.w": torch.full((D_MODEL,), scale, dtype=torch.float64),
        f"{at}.b": torch.full((D_MODEL,), mean, dtype=torch.float64),
    }


def norms(recipe: Recipe) -> Weights:
    """Streams hold TOKEN before layer 0, PREVIOUS and what was added after it, and OUTPUT at the end."""
    written = 2 + len(recipe.added)
    return {
        **undoing_norm("blocks.0.ln1", ones=1),
        **undoing_norm("blocks.1.ln1", ones=written),
        **undoing_norm("ln_final", ones=written + 1),
    }


def network(recipe: Recipe, *, norm: bool) -> Weights:
    """All weights of a model, in the old transformer_lens names; there are no biases but those of the norms."""
    eye = torch.eye(D_MODEL, dtype=torch.float64)
    induction = half_an_induction_head(recipe.matches, recipe.value)
    return {
        "embed.W_E": eye[TOKEN],
        "pos_embed.W_pos": eye[POSITION],
        **attention(0, {0: positional(back=1, to=PREVIOUS), **recipe.added}),
        **attention(1, {5: induction, 6: induction}),
        "unembed.W_U": CONFIDENCE * eye[:, OUTPUT],
        **(norms(recipe) if norm else {}),
    }


def configuration(*, norm: bool) -> dict[str, Any]:
    """The configuration in transformer_lens field names."""
    return {
        "n_layers": 2,
        "n_heads": N_HEADS,
        "d_model": D_MODEL,
        "d_head": D_HEAD,
        "d_vocab": N_TOKENS,
        "n_ctx": N_CTX,
        "attn_only": True,
        "act_fn": None,
        "positional_embedding_type": "shortformer",
        "normalization_type": "LN" if norm else None,
        "eps": EPS,
    }


# ---------------------------------------------------------------- data


def make_tokens(rows: int, generator: torch.Generator) -> Int[Tensor, "row token"]:
    """Rows BEGIN + s + s, s of distinct words."""
    s = torch.rand(rows, N_TOKENS - 1, generator=generator).argsort(1)[:, :N_WORDS] + 1
    return torch.cat([torch.full((rows, 1), BEGIN), s, s], dim=1)


def where_induction_is_defined(rows: int) -> Float[Tensor, "row position"]:
    """One from the second word of the second copy on (M2 needs two words that were seen together), zero elsewhere."""
    return (torch.arange(N_CTX) >= N_WORDS + 2).double().expand(rows, -1).contiguous()


def make_data(rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    """The columns of `data.npz`; `other` is uniform and independent of the row, and so is each position's type."""
    atypical: Bool[Tensor, "row position"] = torch.rand(rows, N_CTX, generator=generator) < 0.4
    return {
        "tokens": make_tokens(rows, generator),
        "other": torch.randint(rows, (rows,), generator=generator),
        "weights": where_induction_is_defined(rows),
        "atypical": atypical,
    }


def build(name: str, *, norm: bool, rows: int = 64, seed: int = 0, dtype: torch.dtype = torch.float64) -> HandMade:
    """The known-answer model of this name (M0, M1, M2 or M3) with norms on or off, and data for it."""
    if name not in RECIPES:
        raise ModelError(f"no hand-made model {name!r}; there are {', '.join(RECIPES)}{nearest(name, RECIPES)}")
    return HandMade(
        name=name,
        config=configuration(norm=norm),
        weights={key: weight.to(dtype).contiguous() for key, weight in network(RECIPES[name], norm=norm).items()},
        roles=dict(ROLES),
        data=make_data(rows, torch.Generator().manual_seed(seed)),
    )


def save(model: HandMade, folder: Path) -> Path:
    """Write config.json, model.safetensors, roles.json and data.npz, for `scrubbing score induction --model FOLDER`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(json.dumps(model.config, indent=2), folder / "config.json")
    write_whole(json.dumps(model.roles), folder / "roles.json")
    write_whole(to_bytes(model.weights), folder / "model.safetensors")
    columns: dict[str, Any] = {column: values.numpy() for column, values in model.data.items()}
    with writing(folder / "data.npz") as file:
        np.savez(file, **columns)
    return folder
