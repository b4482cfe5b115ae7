"""Attention patterns of the network's own run and of the scrubbed one, as small pictures for a page."""

import base64
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scrubbing.errors import HypothesisError
from scrubbing.experiments.activations import scrubbed_activations
from scrubbing.experiments.scoring import Case
from scrubbing.graph import Graph
from scrubbing.graph.data import as_columns
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.lens.components.attention import Attention, Pattern
from scrubbing.report.passages import drawn_alike

WINDOW = 128  # positions that are shown, the first
AVERAGED = 8  # rows that an average is taken over
LEVELS = 255

Patterns = Float[Tensor, "row head query key"]


def own_patterns(G: Graph, data: Any, rows: Sequence[int]) -> dict[str, Patterns]:
    """The patterns of all heads of the network, by node, on some rows."""
    columns = as_columns(data)
    chosen = {name: column[torch.as_tensor(list(rows))] for name, column in columns.items()}
    heads = {name: node for name, node in G.items() if isinstance(node.fn, Pattern | Attention)}
    read = {name: node.inputs if isinstance(node.fn, Attention) else (name,) for name, node in heads.items()}
    names = list(dict.fromkeys(i for inputs in read.values() for i in inputs))
    values = dict(zip(names, G.activations(chosen, *names), strict=True))
    found = {
        name: node.fn.pattern(*(values[i] for i in node.inputs)) if isinstance(node.fn, Attention) else values[name]
        for name, node in heads.items()
    }
    return {name: value[..., :WINDOW, :WINDOW].float().cpu() for name, value in found.items()}


def scrubbed_patterns(case: Case, seed: int, rows: Sequence[int]) -> dict[str, Patterns]:
    """The patterns of the heads that the scrubbed run visits, by node of G, on the donors of some references."""
    h, found = case.hypothesis, {}
    for name in (name for name in h.I if isinstance(h.G[h.image(name)].fn, Pattern)):
        try:
            value = scrubbed_activations(h, case.data, name, **drawn_alike(case, seed, rows))[name]
        except HypothesisError:  # reached by several paths, or not at all
            continue
        found[h.image(name)] = value[..., :WINDOW, :WINDOW].float().cpu()
    return found


def pattern_nodes(h: Hypothesis) -> bool:
    """Whether the network has patterns at all."""
    return any(isinstance(node.fn, Pattern | Attention) for node in h.G.values())


def shown(run: str, patterns: dict[str, Patterns], rows: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Each head's pattern on the first of the rows, and averaged over the others, as entries of a page."""
    for node, value in _once(patterns).items():
        for head in range(value.shape[1]):
            whole = {"run": run, "node": node, "head": head}
            if len(rows) > 1:
                averaged = as_image(value[1:, head].mean(0).numpy())
                yield {**whole, "row": None, "rows": len(rows) - 1, "image": averaged}
            yield {**whole, "row": rows[0], "image": as_image(value[0, head].numpy())}


def _once(patterns: dict[str, Patterns]) -> dict[str, Patterns]:
    """Without those that are equal to an earlier one, as copies of a node are."""
    kept: dict[str, Patterns] = {}
    for node, value in patterns.items():
        if not any(torch.equal(value, other) for other in kept.values()):
            kept[node] = value
    return kept


def as_image(pattern: Float[np.ndarray, "query key"]) -> str:
    """A pattern as the address of a PNG that holds it: a grey of 0 to 255 for each query (down) and key."""
    from PIL import Image

    file = io.BytesIO()
    grey = np.clip(np.round(LEVELS * pattern), 0, LEVELS).astype(np.uint8)
    Image.fromarray(grey).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
