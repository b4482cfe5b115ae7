"""(g) Large graphs: a 12 x 12-head model as a node per head, and claims by the thousand."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from reference_transformer import random_data, random_transformer

from scrubbing import Graph, Hypothesis, Node, reads
from scrubbing.engine.evaluate import Evaluator
from scrubbing.engine.expressions import Expressions
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.sampling.streams import References, Sample
from scrubbing.lens import Transformer, transformer
from scrubbing.lens.components.stacking import stacked
from scrubbing.rewrite import offset, split_mask, split_qkv

from .figures import Figure, in_turns, quotient

LAYERS, HEADS = 12, 12
ROWS, POSITIONS = 8, 63
WIDE = 10_000
DEEP = 1_000


def measure(*, repeats: int = 3) -> list[Figure]:
    """Seconds that graphs and claims take to make, and the time of a forward pass by heads over one by layers."""
    G = transformer(_model(d_model=16, d_head=4))
    heads = tuple(name for name in G if name.startswith("a"))
    split = split_qkv(G, *heads)
    claims = Graph(_leaves(heads) | {"logits": reads(*heads), "loss": reads("logits", "labels", "weights")})

    def hypotheses() -> None:
        for left_out in heads:
            Hypothesis(G, claims | {"logits": reads(*(name for name in heads if name != left_out))})

    def masks() -> None:
        graph = split
        for name in heads:
            parts: dict[str, Any] = {f"{name}_at": offset(1)}
            graph = split_mask(graph, name, **parts)

    seconds = {
        "split_qkv of 144 heads": (lambda: split_qkv(G, *heads), 1.0),
        "split_mask of 144 heads, one by one": (masks, None),
        "144 hypotheses about all heads but one": (hypotheses, 2.0),
        f"a chain of {DEEP:,} claims": (lambda: _claimed(_chain(DEEP)), None),
        f"{WIDE:,} claims side by side": (lambda: _claimed(_side_by_side(WIDE)), None),
    }
    return [*(_seconds(what, run, at_most, repeats) for what, (run, at_most) in seconds.items()), forward(repeats)]


def forward(repeats: int) -> Figure:
    """An ordinary forward pass with a node per head over one with a node per layer, as the engine runs them."""
    model = _model(d_model=768, d_head=64)
    groups = {f"a{layer}": " ".join(f"a{layer}_h{head}" for head in range(HEADS)) for layer in range(LAYERS)}
    data = random_data(model.config, rows=ROWS) | {"weights": torch.ones(ROWS, POSITIONS)}
    runs = {"heads": _pass(transformer(model), data), "layers": _pass(transformer(model, **groups), data)}
    for run in runs.values():
        run()
    seconds = in_turns(repeats, **runs)
    what = "a forward pass with a node per head / with a node per layer"
    about = f"{ROWS} x {POSITIONS} tokens, width 768"
    return quotient("graphs", what, seconds["heads"], seconds["layers"], at_most=1.3, detail=about)


def _model(*, d_model: int, d_head: int) -> Transformer:
    shape = {"n_layers": LAYERS, "n_heads": HEADS, "d_model": d_model, "d_head": d_head}
    model = random_transformer(**shape, n_ctx=POSITIONS, d_vocab=1000)
    return Transformer(model.config, {name: 0.05 * weight.float() for name, weight in model.weights.items()})


def _pass(G: Graph, data: Mapping[str, Any]) -> Callable[[], Any]:
    interpreter = Interpreter(dict(data), Sample(np.arange(ROWS), ROWS))
    work = Evaluator(interpreter, stacked).arranged(
        [Expressions().forward(G, G.output, dict.fromkeys(G.columns, References()))]
    )
    return lambda: interpreter.values(work.roots, slice(0, ROWS))


def _leaves(names: tuple[str, ...]) -> dict[str, Node]:
    return dict.fromkeys(names, reads("tokens"))


def _first(*values: Any) -> Any:
    return values[0]


def _chain(length: int) -> Graph:
    nodes = {f"n{i}": Node(_first, (f"n{i - 1}" if i else "x",)) for i in range(length)}
    return Graph(nodes | {"loss": Node(_first, (f"n{length - 1}", "y"))})


def _side_by_side(width: int) -> Graph:
    nodes = {f"n{i}": Node(_first, ("x",)) for i in range(width)}
    return Graph(nodes | {"loss": Node(_first, (*nodes, "y"))})


def _claimed(graph: Graph) -> Hypothesis:
    return Hypothesis(graph, Graph({name: reads(*node.inputs) for name, node in graph.items()}))


def _seconds(what: str, run: Callable[[], Any], at_most: float | None, repeats: int) -> Figure:
    taken = sorted(in_turns(repeats, it=run)["it"])
    return Figure("graphs", what, taken[len(taken) // 2], taken[0], taken[-1], unit=" s", at_most=at_most)
