"""(g) GPT-2 small's shape, MLPs and all: path patching of every head and MLP, groups of heads, and the graph itself.

One hypothesis per sender says that the logits at one position do not depend on what it writes, directly or through
later MLPs, which are computed again; heads on the way are frozen (`paths(..., through="m*")`). The comparison is what
one would write with hooks: donors' and own activations recorded once, then for each sender a pass in which heads keep
their own values and MLPs are computed.
"""

import importlib
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

import numpy as np
import torch
from hooked_passes import HookedModel, losses
from torch import Tensor

from scrubbing import Graph, Hypothesis, explain, kept, paths, reads, scrub
from scrubbing.lens import load_transformer, transformer

from .figures import Figure, in_turns, quotient

TARGET, ORDINARY, FLOOR, SECOND = 20.0, 1.3, 2.0, 1.0
TOLERANCE = 1e-3
KNOWS_NOTHING = Graph(loss=reads("labels", "weights"))
SMALL = {"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257}


@dataclass(frozen=True, eq=False)
class Shape:
    """A random model of transformers, rows of random tokens, and the donor of each row."""

    model: Any
    tokens: Tensor  # [row, position + 1]
    donors: Tensor  # [row]

    def on(self, device: str) -> "Shape":
        """The same on another device."""
        model = self.model if device == self.model.device.type else deepcopy(self.model).to(device)
        return Shape(model, self.tokens.to(device), self.donors.to(device))

    @cached_property
    def graph(self) -> Graph:
        return transformer(load_transformer(self.model, check=False))

    @cached_property
    def data(self) -> dict[str, Tensor]:
        """The columns; only the last position but one is evaluated."""
        weights = torch.zeros_like(self.tokens[:, 1:], dtype=torch.float32)
        weights[:, -2] = 1
        return {"tokens": self.tokens[:, :-1], "labels": self.tokens[:, 1:], "weights": weights}

    @cached_property
    def senders(self) -> list[str]:
        return [name for name in self.graph["logits"].inputs if name != "embed"]

    @cached_property
    def hypotheses(self) -> dict[str, Hypothesis]:
        return {name: paths(self.graph, name, "logits", through="m*") for name in self.senders}

    def scrubbed(self, **settings: Any) -> dict[str, np.ndarray]:
        """The loss of each row with each sender patched, by one call of scrub."""
        scores = scrub(self.hypotheses, self.data, baseline=KNOWS_NOTHING, others=self.donors, **settings)
        return {name: score.losses["scrubbed"].to_numpy() for name, score in scores.items()}

    @cached_property
    def hooked(self) -> HookedModel:
        return HookedModel(self.model, "gpt2", self.model.config.n_head)

    @cached_property
    def recorded(self) -> tuple[Any, Any]:
        """The heads' z and the MLPs' outputs, of the rows and of their donors."""
        own = self.hooked.record(self.data["tokens"])
        return own, tuple({n: value[self.donors] for n, value in part.items()} for part in own)

    def by_hooks(self, name: str) -> np.ndarray:
        """The same for one sender by a pass: all heads keep what they wrote, and MLPs are computed."""
        (z, _), (others_z, others_mlp) = self.recorded
        layer, _, head = name[1:].partition("_h")
        n = int(layer)
        given = dict(z)
        outputs: dict[Any, Any] = {}
        if head:
            at = self.hooked.of_head(given[n], int(head))
            given[n] = given[n].clone()
            given[n][..., at] = others_z[n][..., at]
        else:
            outputs[self.hooked.mlp(n)] = lambda _: others_mlp[n]
        inputs = {self.hooked.writer(k): (lambda _, value=value: value) for k, value in given.items()}
        return losses(self.hooked.run(self.data["tokens"], inputs, outputs), self.data).cpu().numpy()


def shape(*, rows: int, positions: int = 64, seed: int = 0, **size: int) -> Shape:
    """The model and the rows; `size` overrides GPT-2 small's."""
    transformers = importlib.import_module("transformers")
    torch.manual_seed(seed)
    settings = {**SMALL, **size, "n_positions": positions}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**settings)).eval()
    tokens = torch.randint(settings["vocab_size"], (rows, positions + 1))
    return Shape(model, tokens, (torch.arange(rows) + 1) % rows)


def measure(
    *,
    rows: int = 8,
    repeats: int = 3,
    positions: int = 64,
    heads: int | None = None,
    device: str = "cpu",
    settings: Mapping[str, Any] | None = None,
    **size: int,
) -> list[Figure]:
    """The figures. With `heads` the loop of hooked passes runs only so many senders, spread over the layers."""
    S, settings = shape(rows=rows, positions=positions, **size).on(device), dict(settings or {})
    return [_graph(S), _ordinary(S, repeats), _groups(S, repeats, settings), _patching(S, repeats, heads, settings)]


def _graph(S: Shape) -> Figure:
    start = time.perf_counter()
    nodes = len(S.graph)
    return Figure(
        "GPT-2", "making the graph", time.perf_counter() - start, unit=" s", at_most=SECOND, detail=f"{nodes} nodes"
    )


def _ordinary(S: Shape, repeats: int) -> Figure:
    """A pass of the graph against the model's own, logits and losses of all positions."""
    data = S.data | {"weights": torch.ones_like(S.data["weights"])}

    def own() -> None:
        with torch.no_grad():
            losses(S.model(input_ids=data["tokens"]).logits, data).cpu()

    everything = _everything(S.graph)

    def ours() -> None:
        scrub(everything, data, baseline=everything, check=False)

    own(), ours()
    seconds = in_turns(repeats, ours=ours, own=own)
    return quotient("GPT-2", "an ordinary pass / the model's own", seconds["ours"], seconds["own"], at_most=ORDINARY)


def _groups(S: Shape, repeats: int, settings: Mapping[str, Any]) -> Figure:
    """A hypothesis over groups of heads against what it counts, at the rate of the model's own pass."""
    layers = S.model.config.n_layer
    G = transformer(load_transformer(S.model, check=False), **{f"g{n}": f"a{n}.*" for n in range(layers)})
    h = paths(G, [f"g{n}" for n in range(0, layers, 2)], "logits", through="*")
    data = S.data | {"weights": torch.ones_like(S.data["weights"])}
    given = {"baseline": KNOWS_NOTHING, "others": S.donors, "check": False, **settings}
    counted = explain(h, data, baseline=KNOWS_NOTHING, others=S.donors).flops
    everything = _everything(S.graph)
    plain = explain(everything, data, baseline=everything).flops

    def own() -> None:
        with torch.no_grad():
            losses(S.model(input_ids=data["tokens"]).logits, data).cpu()

    own(), scrub(h, data, **given)
    seconds = in_turns(repeats, ours=lambda: scrub(h, data, **given), own=own)
    floor = [taken * counted / plain for taken in seconds["own"]]
    return quotient("GPT-2", "a hypothesis over groups / its floor", seconds["ours"], floor, at_most=FLOOR)


def _everything(G: Graph) -> Hypothesis:
    """The network itself: an ordinary pass."""
    return Hypothesis(G, Graph(loss=reads("logits", "labels", "weights")) | kept(G, "logits"))


def _patching(S: Shape, repeats: int, heads: int | None, settings: Mapping[str, Any]) -> Figure:
    _ = S.hypotheses, S.recorded  # made once, outside the times
    found = S.scrubbed(**settings)
    looped = S.senders if heads is None else S.senders[:: max(1, len(S.senders) // heads)][:heads]
    times: dict[str, list[float]] = {"scrub": [], "loop": []}
    for part in range(repeats):
        here = looped[part::repeats]
        start = time.perf_counter()
        by_hooks = {name: S.by_hooks(name) for name in here}
        times["loop"].append((time.perf_counter() - start) * len(S.senders) / len(here))
        start = time.perf_counter()
        S.scrubbed(**settings)
        times["scrub"].append(time.perf_counter() - start)
        for name, expected in by_hooks.items():
            check_equal(name, found[name], expected)
    own = losses(S.hooked.run(S.data["tokens"]), S.data).cpu().numpy()
    smallest = min(float(np.abs(values - own).max()) for values in found.values())
    if smallest == 0:
        raise AssertionError("a sender changes nothing, so that the comparison says nothing")
    return quotient(
        "GPT-2",
        f"{len(looped)} of {len(S.senders)} hooked passes, scaled / one call of scrub",
        times["loop"],
        times["scrub"],
        at_least=TARGET,
        detail=f"{len(S.tokens)} rows of {S.tokens.shape[1] - 1}, median {median(times['scrub']):.3g} s",
    )


def check_equal(name: str, ours: np.ndarray, hooked: np.ndarray) -> None:
    """Raise unless both ways give the same losses."""
    worst = float(np.abs(ours - hooked).max())
    if not worst < TOLERANCE:
        raise AssertionError(f"with {name} patched, scrub and the hooked pass differ by {worst:g}")
