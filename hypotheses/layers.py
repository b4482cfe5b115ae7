"""Which layers of any language model matter: the attention and the MLP of each layer, that of another row in turn.

`scrubbing score layers --model FOLDER --data FILE.npz` takes any model that `load_transformer` reads, and token rows.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from hypotheses.induction.data import read_rows
from hypotheses.induction.places import SHIPPED, data_file, model_folder
from hypotheses.shipped import said_of
from scrubbing import Case, Graph, Hypothesis, paths, reads
from scrubbing.experiments.suites import Suite
from scrubbing.lens import TransformerConfig, load_transformer, transformer

LABELS_ALONE = Graph(loss=reads("labels", "weights"))


def suite(
    model: Path | None = None,
    data: Path | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    by: Annotated[
        Literal["layer", "head"], Field(description="leave out all heads of a layer together, or each alone")
    ] = "layer",
) -> Suite:
    """The claims that all matters but one layer's attention, or one layer's MLP: "attention/3", "MLP/3".

    What a claim leaves out takes its value from one other row, drawn uniformly, and what follows is computed again
    (activation patching). With `by="head"` each head is left out alone, too ("attention/3.1").

    Raises `ScrubbingError` for whatever is wrong with the model or the data.
    """
    folder = model_folder(model)
    loaded = load_transformer(folder).to(dtype, device)
    path = data_file(folder, data)
    rows = read_rows(path, loaded.config, dtype)
    columns = {name: column.to(device) for name, column in rows.columns().items()}
    settings = {"others": "reference" if rows.other is None else rows.other, "references": rows.references}
    layers = range(loaded.config.n_layers) if by == "layer" else ()
    groups: dict[str, Any] = {f"a{layer}_heads": f"a{layer}.*" for layer in layers}
    G = transformer(loaded, **groups)
    cases = tuple(
        Case(name, _all_but(G, left_out), columns, LABELS_ALONE, settings)
        for name, left_out in _left_out(G, loaded.config, by)
    )
    about: dict[str, Any] = {
        **said_of(folder, path, SHIPPED),
        "rows": f"{len(rows.tokens)} of {rows.tokens.shape[1]} tokens, {len(rows.references)} evaluated",
        "evaluated": rows.selection,
        "baseline": "labels alone: the logits of any row",
        "pairing": "one other row per row, drawn uniformly" if rows.other is None else "the file's",
        "normalisation": "mean over evaluated positions (nats)",
    }
    return Suite("layers", cases, about, network=transformer(loaded))


def _left_out(G: Graph, config: TransformerConfig, by: str) -> list[tuple[str, list[str]]]:
    """Each experiment's name, and the nodes that it leaves out."""
    found: list[tuple[str, list[str]]] = []
    for layer in range(config.n_layers):
        heads = [name for name in G if name.startswith(f"a{layer}_")]
        found.append((f"attention/{layer}", [f"a{layer}"] if f"a{layer}" in G else heads))  # the norm after it
        if by == "head":
            found += [(f"attention/{layer}.{number}", [head]) for number, head in enumerate(heads)]
        if f"m{layer}" in G:
            found.append((f"MLP/{layer}", [f"m{layer}"]))
    return found


def _all_but(G: Graph, left_out: list[str]) -> Hypothesis:
    return paths(G, left_out, "logits", through="*")
