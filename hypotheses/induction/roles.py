"""Which heads play which part: found by measuring attention on data, and stored beside the model as `roles.json`."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError, model_validator
from torch import Tensor

from scrubbing.errors import ModelError
from scrubbing.store.files import write_whole

Head = tuple[StrictInt, StrictInt]  # layer, head

INDUCTION_ABOVE = 1 / 3
PREVIOUS_ABOVE = 1 / 2
SELF_ABOVE = 1 / 2


@dataclass(frozen=True, eq=False)
class HeadScores:
    """The mean attention that each head of one layer pays; 0 where there was no position to measure at.

    `previous`, `current` and `begin` are means over all positions but the first of a row and those that hold BEGIN;
    `induction`, `same` and `copies` over those of them whose token stood earlier in the row (`repeats`).
    """

    previous: Float[Tensor, " head"]  # to the position before
    current: Float[Tensor, " head"]  # to the position itself
    begin: Float[Tensor, " head"]  # to position 0
    induction: Float[Tensor, " head"]  # to tokens that followed an earlier occurrence of the current token
    same: Float[Tensor, " head"]  # to the current token, here and earlier
    copies: Float[Tensor, " head"]  # to the current token, earlier
    positions: int
    repeats: int

    def __str__(self) -> str:
        """One line per head."""
        lines = [" ".join(["head", *(f"{name:>9}" for name in _SCORES)])]
        for head in range(len(self.previous)):
            lines.append(" ".join([f"{head:>4}", *(f"{getattr(self, name)[head]:9.3f}" for name in _SCORES)]))
        return "\n".join([*lines, f"{self.positions} positions, {self.repeats} of them with a token seen before"])


# Each score, and the positions that it is a mean over.
_SCORES = {
    "previous": "positions",
    "current": "positions",
    "begin": "positions",
    "induction": "repeats",
    "same": "repeats",
    "copies": "repeats",
}


def head_scores(
    pattern: Float[Tensor, "row head query key"], tokens: Int[Tensor, "row position"], begin: int | None
) -> HeadScores:
    """Measure the heads of one layer on a chunk of rows; `pooled` joins chunks.

    `begin` is the token that opens rows (None if there is none); neither it nor its recurrence counts as text.
    """
    if pattern.ndim != 4 or pattern.shape[0] != tokens.shape[0] or pattern.shape[2:] != 2 * tokens.shape[1:]:
        raise ModelError(
            f"a pattern of shape {list(pattern.shape)} does not belong to tokens of shape {list(tokens.shape)}; "
            "give [row, head, position, position] and [row, position]"
        )
    keys = _keys(tokens)
    at = _positions(tokens, keys["copies"], begin)
    chosen = torch.stack([(keys[name] & at[over][:, :, None]).flatten(1) for name, over in _SCORES.items()], dim=1)
    totals = (pattern.flatten(2) @ chosen.to(pattern.dtype).mT).double().sum(0)
    counts = {over: int(positions.sum()) for over, positions in at.items()}
    means = {name: totals[:, i] / max(counts[over], 1) for i, (name, over) in enumerate(_SCORES.items())}
    return HeadScores(**means, positions=counts["positions"], repeats=counts["repeats"])


def _keys(tokens: Int[Tensor, "row position"]) -> dict[str, Bool[Tensor, "#row query key"]]:
    """For each score, the keys that a query may look at for its attention to count."""
    position = torch.arange(tokens.shape[1], device=tokens.device)
    back = (position[:, None] - position)[None]
    same = (tokens[:, :, None] == tokens[:, None, :]) & (back >= 0)
    copies = same & (back > 0)
    followers = torch.zeros_like(copies)
    followers[:, :, 1:] = copies[:, :, :-1]
    return {
        "previous": back == 1,
        "current": back == 0,
        "begin": (position == 0).expand(1, len(position), -1),
        "induction": followers,
        "same": same,
        "copies": copies,
    }


def _positions(
    tokens: Int[Tensor, "row position"], copies: Bool[Tensor, "row query key"], begin: int | None
) -> dict[str, Bool[Tensor, "row position"]]:
    """The queries that are measured, and those of them whose token stood earlier in the row."""
    ordinary = torch.ones_like(tokens, dtype=torch.bool) if begin is None else tokens != begin
    ordinary[:, 0] = False
    return {"positions": ordinary, "repeats": ordinary & copies.any(-1)}


def pooled(chunks: Iterable[HeadScores]) -> HeadScores:
    """The scores over all chunks together: means weighted by the positions behind them."""
    chunks = iter(chunks)
    first = next(chunks, None)
    if first is None:
        raise ModelError("no heads were measured: there are no rows; give at least one")
    return reduce(_pool, chunks, first)


def _pool(a: HeadScores, b: HeadScores) -> HeadScores:
    counts = {name: getattr(a, name) + getattr(b, name) for name in ("positions", "repeats")}
    means = {
        name: (getattr(a, name) * getattr(a, over) + getattr(b, name) * getattr(b, over)) / max(counts[over], 1)
        for name, over in _SCORES.items()
    }
    return HeadScores(**means, positions=counts["positions"], repeats=counts["repeats"])


class Roles(BaseModel):
    """The named groups of heads, each head as (layer, head); in `roles.json` the third is called "self"."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    induction: tuple[Head, ...]
    previous: tuple[Head, ...]
    self_: tuple[Head, ...] = Field(default=(), alias="self")

    @model_validator(mode="after")
    def _consistent(self) -> "Roles":
        _raise(_contradictions(self))
        return self


def _groups(roles: Roles) -> dict[str, tuple[Head, ...]]:
    return {"induction": roles.induction, "previous": roles.previous, "self": roles.self_}


_LAYER = {"induction": 1, "previous": 0, "self": 0}


def _contradictions(roles: Roles) -> Iterator[str]:
    """What is wrong with the groups in any model."""
    groups = _groups(roles)
    for name in ("induction", "previous"):
        if not groups[name]:
            yield f"{name!r} names no head; name at least one of layer {_LAYER[name]}"
    for name, heads in groups.items():
        for layer, head in heads:
            if layer != _LAYER[name]:
                yield f"{name!r} names head {layer}.{head}; its heads are of layer {_LAYER[name]}: name one of those"
        for layer, head in sorted({head for head in heads if heads.count(head) > 1}):
            yield f"{name!r} names head {layer}.{head} twice; name it once"
    for one, other in combinations(groups, 2):
        for layer, head in sorted(set(groups[one]) & set(groups[other])):
            yield f"head {layer}.{head} is in {one!r} and in {other!r}; a head has one role: leave it in one"


def check_roles(roles: Roles, *, n_layers: int, n_heads: int) -> None:
    """Raise a `ModelError` unless every head that the roles name exists in a model of that size."""
    _raise(_missing_heads(roles, n_layers, n_heads))


def _missing_heads(roles: Roles, n_layers: int, n_heads: int) -> Iterator[str]:
    for name, heads in _groups(roles).items():
        for layer, head in heads:
            if not (0 <= layer < n_layers and 0 <= head < n_heads):
                yield (
                    f"{name!r} names head {layer}.{head}, which the model does not have: "
                    f"its layers are 0 to {n_layers - 1} and its heads 0 to {n_heads - 1}"
                )


def _raise(problems: Iterable[str]) -> None:
    if found := list(problems):
        raise ModelError("roles: " + "; also, ".join(found))


def load_roles(path: Path, *, n_layers: int, n_heads: int) -> Roles:
    """Read `roles.json` for a model of that size; anything wrong with it is a `ModelError` of one line."""
    try:
        roles = Roles.model_validate_json(path.read_bytes())
        check_roles(roles, n_layers=n_layers, n_heads=n_heads)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); measure the heads and save their roles") from error
    except ValidationError as error:
        found = "; also, ".join(f"{_place(e['loc'])}{e['msg']}" for e in error.errors())
        raise ModelError(f"{path} does not hold roles: {found}; it should look like {_EXAMPLE}") from error
    except ModelError as error:
        raise ModelError(f"{path} does not hold usable {error}") from error
    return roles


_EXAMPLE = '{"induction": [[1, 5]], "previous": [[0, 0]], "self": [[0, 2]]}'


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) + ": " if location else ""


def save_roles(roles: Roles, path: Path) -> None:
    """Write `roles.json`; a reader finds the old file or the new one, never a part."""
    write_whole(json.dumps(roles.model_dump(mode="json", by_alias=True)), path)


def find_roles(layer0: HeadScores, layer1: HeadScores) -> Roles:
    """Group the heads of a two-layer model by what they were measured to do.

    - induction: the layer-1 heads whose induction score is over a third; in any case the best one.
    - previous: the layer-0 heads with over half of their attention on the position before; in any case the best one.
    - self: the other layer-0 heads with, where it stood before, over half of their attention on the current token and
      its copies: what refined hypothesis 4 stands in for with attention to the current position alone.
    """
    for layer, scores in enumerate((layer0, layer1)):
        _check_measured(scores, layer)
    previous = _over(layer0.previous, PREVIOUS_ABOVE, at_least=1)
    same = [head for head in _over(layer0.same, SELF_ABOVE, at_least=0) if head not in previous]
    return Roles(
        induction=tuple((1, head) for head in _over(layer1.induction, INDUCTION_ABOVE, at_least=1)),
        previous=tuple((0, head) for head in previous),
        self=tuple((0, head) for head in same),
    )


def _check_measured(scores: HeadScores, layer: int) -> None:
    if not scores.repeats:
        raise ModelError(
            f"heads of layer {layer} were measured on rows in which no token recurs, where induction cannot show; "
            "measure on rows of text"
        )
    if not all(getattr(scores, name).isfinite().all() for name in _SCORES):
        raise ModelError(f"attention of layer {layer} is not finite; the weights are damaged: load or train them again")


def _over(score: Float[Tensor, " head"], threshold: float, *, at_least: int) -> list[int]:
    """The heads over the threshold, or the best `at_least` if those are more, in order."""
    ranked = score.argsort(descending=True, stable=True).tolist()
    return sorted(ranked[: max(at_least, int((score > threshold).sum()))])
