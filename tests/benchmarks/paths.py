"""(d) Path patching: every head's direct effect on the logits at one position, all heads scored together.

The network is a random attention-only model of GPT-2 small's attention shape. One hypothesis per head says that the
logits do not depend on the edge from that head; the head's other effects, through later heads, stay as they are. The
comparison is what one would write with transformer_lens: donors' activations cached once, then for each head a forward
pass in which a hook swaps what the head adds to the final residual stream.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from scrubbing import Graph, Hypothesis, reads, scrub
from scrubbing.lens import load_transformer, transformer

from .figures import Figure

TOLERANCE = 1e-4
TARGET = 30.0
GPT2_SMALL = {"n_layers": 12, "n_heads": 12, "d_model": 768, "d_head": 64, "d_vocab": 50257}

KNOWS_NOTHING = Graph(loss=reads("labels", "weights"))

Head = tuple[int, int]  # layer, head


@dataclass(frozen=True, eq=False)
class Patching:
    """A random transformer_lens model, rows of random tokens, and the donor of each row."""

    bridge: Any
    tokens: Tensor  # [row, position]
    labels: Tensor
    donors: Tensor  # [row]
    position: int  # whose logits are asked for

    @cached_property
    def heads(self) -> list[Head]:
        """Every head, as (layer, head)."""
        config = self.bridge.cfg
        return [(layer, head) for layer in range(config.n_layers) for head in range(config.n_heads)]

    @cached_property
    def hypotheses(self) -> dict[str, Hypothesis]:
        """For each head: nothing about it matters on its edge to the logits, and everything does elsewhere."""
        G = transformer(load_transformer(self.bridge))
        return {_node(head): Hypothesis(G, all_but_edge(_node(head))) for head in self.heads}

    @cached_property
    def data(self) -> dict[str, Tensor]:
        """The columns; only the one position is evaluated."""
        weights = torch.zeros(self.tokens.shape, dtype=torch.float32)
        weights[:, self.position] = 1
        return {"tokens": self.tokens, "labels": self.labels, "weights": weights}

    def scrubbed(self, **settings: Any) -> dict[Head, np.ndarray]:
        """The loss of each row at the position without each head's edge, by one call of scrub."""
        scores = scrub(self.hypotheses, self.data, baseline=KNOWS_NOTHING, others=self.donors, **settings)
        return {head: scores[_node(head)].losses["scrubbed"].to_numpy() for head in self.heads}

    @cached_property
    @torch.no_grad()
    def cached(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Each layer's z, of the rows and of their donors."""
        _, cache = self.bridge.run_with_cache(self.tokens, names_filter=lambda name: name.endswith("attn.hook_z"))
        z = {f"blocks.{layer}": cache[f"blocks.{layer}.attn.hook_z"] for layer in range(self.bridge.cfg.n_layers)}
        return z, {block: values[self.donors] for block, values in z.items()}

    @cached_property
    def output_weights(self) -> list[Tensor]:
        """Each layer's W_O."""
        parameters = self.bridge.tl_parameters()
        return [parameters[f"blocks.{layer}.attn.W_O"] for layer in range(self.bridge.cfg.n_layers)]

    @torch.no_grad()
    def hooked(self, head: Head, *, whole: bool = True) -> np.ndarray:
        """The same for one head by a hooked forward pass; with `whole=False` the position is cut out before the logits.

        The first is how such loops are written, the second the kindest reading of them.
        """
        layer, index = head
        own, others = (z[f"blocks.{layer}"][:, :, index] for z in self.cached)
        last = f"blocks.{self.bridge.cfg.n_layers - 1}.hook_resid_post"

        def swap(resid: Tensor, hook: Any) -> Tensor:
            swapped = resid + (others - own) @ self.output_weights[layer][index]
            return swapped if whole else swapped[:, self.position : self.position + 1]

        logits = self.bridge.run_with_hooks(self.tokens, fwd_hooks=[(last, swap)])
        at = logits[:, self.position if whole else 0]
        return F.cross_entropy(at, self.labels[:, self.position], reduction="none").numpy()


def _node(head: Head) -> str:
    return f"a{head[0]}_h{head[1]}"


def all_but_edge(head: str) -> Graph:
    """The claim that the logits depend on the tokens by every path but the edge from `head`."""
    return Graph(
        {
            "loss": reads("logits", "labels", "weights"),
            "logits": reads("tokens", head),
            head: reads(),
        }
    )


def patching(*, rows: int, positions: int = 64, seed: int = 0, **size: int) -> Patching:
    """The model and the rows; `size` overrides GPT-2 small's."""
    with transformer_lens_imported() as (config_of, boot):
        settings = {**GPT2_SMALL, **size, "n_ctx": positions}
        bridge = boot(config_of(**settings, attn_only=True, normalization_type="LN", seed=seed))
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(settings["d_vocab"], (rows, positions + 1), generator=generator)
    donors = (torch.arange(rows) + 1) % rows
    return Patching(bridge, tokens[:, :-1], tokens[:, 1:], donors, position=positions - 2)


@contextmanager
def transformer_lens_imported() -> Iterator[tuple[Callable[..., Any], Callable[..., Any]]]:
    """transformer_lens, which takes seconds to import and warns of what it imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformer_lens.config import TransformerBridgeConfig
        from transformer_lens.model_bridge import TransformerBridge

        yield TransformerBridgeConfig, TransformerBridge.boot_native


def measure(
    *,
    rows: int = 8,
    repeats: int = 3,
    positions: int = 64,
    heads: int | None = None,
    settings: Mapping[str, Any] | None = None,
    **size: int,
) -> list[Figure]:
    """The time of a loop of hooked passes over all heads, divided by that of one call of scrub.

    The loop is run once, in as many parts as there are repeats, with a call of scrub after each part; a part's time is
    scaled to all heads. With `heads` the loop runs only so many of them, spread over the layers.
    """
    settings = settings or {}
    P = patching(rows=rows, positions=positions, **size)
    started = time.perf_counter()
    _ = P.hypotheses  # made once, outside the times
    made = time.perf_counter() - started
    losses = P.scrubbed(**settings)
    check_heads_matter(losses)
    _ = P.cached, P.output_weights  # made once too
    kinds = {"logits at all positions": True, "logits at that position alone": False}
    times: dict[str, list[float]] = {kind: [] for kind in ("scrub", *kinds)}
    hooked: dict[Head, np.ndarray] = {}
    looped = P.heads if heads is None else P.heads[:: len(P.heads) // heads][:heads]
    for part in range(repeats):
        heads_here = looped[part::repeats]
        for kind, whole in kinds.items():
            start = time.perf_counter()
            for head in heads_here:
                hooked[head] = P.hooked(head, whole=whole)
            times[kind].append((time.perf_counter() - start) * len(P.heads) / len(heads_here))
            check_equal(losses, {head: hooked[head] for head in heads_here})
        start = time.perf_counter()
        P.scrubbed(**settings)
        times["scrub"].append(time.perf_counter() - start)
    about = f"{rows} rows of {positions}, {len(P.heads)} heads ({len(looped)} looped over); made in {made:.2g} s"
    figures = []
    for kind in kinds:
        ratios = [loop / scrubbed for loop, scrubbed in zip(times[kind], times["scrub"], strict=True)]
        detail = f"{median(times[kind]):.3g} s / {median(times['scrub']):.3g} s; {about}"
        target = TARGET if kind == "logits at all positions" else None
        what = f"loop of hooked passes ({kind}) / one call of scrub"
        figures.append(
            Figure("path patching", what, median(ratios), min(ratios), max(ratios), at_least=target, detail=detail)
        )
    return figures


def check_heads_matter(scrubbed: dict[Head, np.ndarray]) -> None:
    """Raise unless the losses depend on the patched head by far more than the tolerance of their equality."""
    spread = np.ptp(list(scrubbed.values()), axis=0).max()
    if not spread > 100 * TOLERANCE:
        raise AssertionError(f"the losses differ by {spread:.3g} at most between heads: patching changes too little")


def check_equal(scrubbed: dict[Head, np.ndarray], hooked: dict[Head, np.ndarray]) -> None:
    """Raise unless the losses are equal, row by row."""
    for head, losses in hooked.items():
        difference = np.abs(losses - scrubbed[head]).max()
        if not difference <= TOLERANCE:
            raise AssertionError(f"without {_node(head)}'s edge, scrub and the hooked pass differ by {difference:.3g}")
