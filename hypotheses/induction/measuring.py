"""What the heads of a model attend to on its rows, and which roles that gives them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import RenderableType
from torch import Tensor

from hypotheses.heads import by_layer
from hypotheses.induction.data import Rows, read_rows
from hypotheses.induction.places import data_file, model_folder
from hypotheses.induction.roles import (
    INDUCTION_ABOVE,
    PREVIOUS_ABOVE,
    SELF_ABOVE,
    HeadScores,
    Roles,
    find_roles,
    head_scores,
    load_roles,
    pooled,
)
from scrubbing.lens import Transformer, load_transformer
from scrubbing.score.tables import titled

MEASURED_ROWS = 128
COLUMNS = {  # as they are printed, and as they are called
    "previous": "previous",
    "induction": "induction",
    "same token": "same",
    "itself": "current",
    "BEGIN": "begin",
}


def heads(
    model: Path | None = None, data: Path | None = None, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> RenderableType:
    """The attention of each head of both layers, in the means by which roles are found, as a table.

    Raises `ScrubbingError` for whatever is wrong with the model or the data.
    """
    folder = model_folder(model)
    loaded = load_transformer(folder).to(dtype, device)
    rows = read_rows(data_file(folder, data), loaded.config, dtype)
    layers = on_rows(loaded, rows)
    roles = find_roles(*layers)
    first = layers[0]
    notes = [
        f"means over {first.positions:,} positions of {min(MEASURED_ROWS, len(rows.tokens))} rows; of induction and "
        f"same token over the {first.repeats:,} whose token stood before",
        f"roles: previous above {PREVIOUS_ABOVE:.2f}, induction above {INDUCTION_ABOVE:.2f} (of each at least the best "
        f"head), self where same token is above {SELF_ABOVE:.2f} in another head of layer 0",
    ]
    if (folder / "roles.json").exists():
        said = load_roles(folder / "roles.json", n_layers=loaded.config.n_layers, n_heads=loaded.config.n_heads)
        same = "the same" if said == roles else in_words(said)
        notes.append(f"roles.json, which goes before what is measured, says {same}")
    table = [
        [f"{layer}.{head}", *(f"{getattr(scores, name)[head]:.3f}" for name in COLUMNS.values()), role]
        for layer, scores in enumerate(layers)
        for head, role in enumerate(_roles_of_heads(roles, layer, loaded.config.n_heads))
    ]
    return titled("induction: where each head attends to", ["head", *COLUMNS, "role"], table, notes, left=["role"])


def measured_roles(model: Transformer, rows: Rows) -> tuple[Roles, int]:
    """The roles that the heads are measured to have, and on how many rows."""
    return find_roles(*on_rows(model, rows)), min(MEASURED_ROWS, len(rows.tokens))


def on_rows(model: Transformer, rows: Rows) -> tuple[HeadScores, HeadScores]:
    """What the heads attend to on the first rows of a file."""
    first = rows.tokens[:, 0].unique()
    begin = int(first) if len(first) == 1 else None
    return measure_heads(model, rows.tokens[:MEASURED_ROWS, :-1].to(model.weights["embed.W_E"].device), begin)


def measure_heads(
    model: Transformer, tokens: Tensor, begin: int | None, *, chunk: int = 16
) -> tuple[HeadScores, HeadScores]:
    """What the heads of both layers attend to, on rows of tokens."""
    G = by_layer(model)

    def scores(layer: str) -> Iterator[HeadScores]:
        for rows in tokens.split(chunk):
            (pattern,) = G.activations({"tokens": rows}, f"{layer}_pattern")
            yield head_scores(pattern, rows, begin)

    return pooled(scores("layer0")), pooled(scores("layer1"))


def in_words(roles: Roles) -> str:
    """The groups of heads in a line."""
    groups: Mapping[str, Any] = roles.model_dump(by_alias=True)
    named = {name: " ".join(f"{layer}.{head}" for layer, head in heads) or "none" for name, heads in groups.items()}
    return ", ".join(f"{name} {heads}" for name, heads in named.items())


def _roles_of_heads(roles: Roles, layer: int, n_heads: int) -> list[str]:
    groups: Mapping[str, Any] = roles.model_dump(by_alias=True)
    return [next((name for name, of in groups.items() if (layer, head) in of), "") for head in range(n_heads)]
