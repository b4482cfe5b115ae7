"""A graph against the model that its weights came from: the same logits, or where they begin to differ."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from scrubbing.errors import ModelError
from scrubbing.graph import Graph
from scrubbing.lens.blocks import transformer
from scrubbing.lens.weights import Transformer

ROWS, POSITIONS = 2, 16
# Of the largest logit: both may round in the type of the weights, one after another through all layers.
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}


@torch.no_grad()
def check_against(model: Any, loaded: Transformer, tokens: Tensor | None = None) -> None:
    """Compare the logits of a model of transformers, or of a bridge, with those of its graph.

    `tokens` `[row, position]` are random without any. Raises `ModelError` with the largest difference, and with the
    first layer whose input differs, if the model tells its hidden states.
    """
    config = loaded.config
    if tokens is None:
        shape = ROWS, min(POSITIONS, config.n_ctx)
        tokens = torch.randint(0, config.d_vocab, shape, generator=torch.Generator().manual_seed(0))
    W_E = loaded.weights["embed.W_E"]
    tokens, G = tokens.to(W_E.device), transformer(loaded)
    theirs, states = _run(model, tokens)
    ours = G.activations({"tokens": tokens}, "logits")[0].all()
    differs = (ours - theirs.to(ours)).abs().max().item()
    if differs <= TOLERANCE[W_E.dtype] * max(1.0, theirs.abs().max().item()):
        return
    layers = [layer for layer, ok in enumerate(_inputs_agree(G, tokens, states, config.n_layers)) if not ok]
    where = f", first at the input of layer {layers[0]}" if layers else ""
    raise ModelError(
        f"the graph's logits differ by up to {differs:.3g} from those of the {type(model).__name__}{where}: the model "
        f"computes something that its configuration does not say here; from_module takes any module apart"
    )


def _run(model: Any, tokens: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A model's logits, and the streams before its layers if it tells."""
    if hasattr(model, "cfg"):
        return model(tokens), ()
    output = model(tokens, output_hidden_states=True)
    return output.logits, tuple(output.hidden_states or ())


def _inputs_agree(G: Graph, tokens: Tensor, states: tuple[Tensor, ...], layers: int) -> Iterator[bool]:
    for layer, state in enumerate(states[:layers]):
        head: Any = G[f"a{layer}_h0"]
        ours = head.fn.q.reader.stream(*G.activations({"tokens": tokens}, *head.inputs))
        yield (ours - state.to(ours)).abs().max().item() <= TOLERANCE[ours.dtype] * max(1.0, state.abs().max().item())
