"""One row of one head's pattern overridden: there the head attends to the first token alone; all below is recomputed.

Source: "Polysemantic attention head in a 4-layer transformer" (2023), section 2, BOS ablation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hypotheses.heads import Head, head_name
from hypotheses.polysemantic.prompts import Family
from scrubbing import Graph, Node
from scrubbing.engine.component import Component
from scrubbing.lens import Transformer, transformer
from scrubbing.lens.components.attention import PATTERN_QUERY_AXIS
from scrubbing.lens.components.readout import Logits
from scrubbing.rewrite import split_qkv

ROWS = "overridden_rows"  # [row, position]: where the pattern is overridden
AT_ONCE = 2**15  # tokens


def around(model: Transformer, head: Head) -> Graph:
    """The network with that head as a node, and all others of a layer as one."""
    layers = range(model.config.n_layers)
    numbers = range(model.config.n_heads)
    others = {layer: [head_name((layer, n)) for n in numbers if (layer, n) != head] for layer in layers}
    groups: dict[str, Any] = {f"others{layer}": " ".join(names) for layer, names in others.items() if names}
    return transformer(model, **groups)


@dataclass(frozen=True, eq=False)
class ToFirst(Component):
    """A pattern whose marked rows attend to the first token alone."""

    def __call__(
        self, pattern: Float[Tensor, "row head query key"], where: Bool[Tensor, "row query"]
    ) -> Float[Tensor, "row head query key"]:
        first = torch.zeros_like(pattern[:1, :1, :1])
        first[..., 0] = 1
        return torch.where(where[:, None, :, None], first, pattern)


def overridden(G: Graph, head: Head) -> Graph:
    """The network in which rows of a head's pattern, marked in the column `overridden_rows`, attend to the first token.

    The head's pattern stays `{head}_pattern`; what moves its values is `{head}_overridden`.
    """
    name = head_name(head)
    G = split_qkv(G, name)
    pattern, v = G[name].inputs
    new = Node(ToFirst(), (pattern, ROWS), PATTERN_QUERY_AXIS)
    return G | {f"{name}_overridden": new, name: replace(G[name], inputs=(f"{name}_overridden", v))}


@dataclass(frozen=True, eq=False)
class Readings:
    """Of each prompt, the probability of the right token at the last position, and whether it is the most likely."""

    probability: Float[Tensor, " prompt"]
    top1: Bool[Tensor, " prompt"]


@dataclass(frozen=True, eq=False)
class Overriding:
    """A family of prompts, with all that overriding a row of a head leaves as it was computed once."""

    below: Graph  # what depends on the pattern's rows, up to the logits
    known: Mapping[str, Tensor]  # the values that it reads, on the prompts
    answers: Int[Tensor, " prompt"]
    positions: int

    @classmethod
    def of(
        cls, G: Graph, head: Head, tokens: Int[Tensor, "prompt position"], answers: Int[Tensor, " prompt"]
    ) -> "Overriding":
        """Run the network on the prompts."""
        whole, start = overridden(G, head), f"{head_name(head)}_overridden"
        logits = whole[whole.output].inputs[0]
        after = [name for name in whole.upstream(logits) if start in whole.upstream(name)]
        below = Graph({name: whole[name] for name in after})
        names = [name for name in below.columns if name != ROWS]
        known = dict(zip(names, whole.activations({"tokens": tokens}, *names), strict=True))
        return cls(below, known, answers, tokens.shape[1])

    def readings(self, where: Bool[Tensor, "prompt position"]) -> Readings:
        """With the marked rows overridden."""
        return self._readings(torch.arange(len(self.answers), device=where.device), where)

    def clean(self) -> Readings:
        """With no row overridden."""
        shape = len(self.answers), self.positions
        return self.readings(torch.zeros(shape, dtype=torch.bool, device=self.answers.device))

    def sweep(self, some: int | None = None) -> Float[Tensor, "prompt position"]:
        """The probability of the right token with the row of each position overridden, one at a time.

        Of all prompts, or of the first so many.
        """
        prompts, positions = some or len(self.answers), self.positions
        prompt = torch.arange(prompts, device=self.answers.device).repeat_interleave(positions)
        where = torch.eye(positions, dtype=torch.bool, device=prompt.device).repeat(prompts, 1)
        pairs = zip(prompt.split(self._chunk), where.split(self._chunk), strict=True)
        return torch.cat([self._readings(*pair).probability for pair in pairs]).view(prompts, positions)

    @property
    def _chunk(self) -> int:
        return max(1, AT_ONCE // self.positions)

    def _readings(self, prompt: Int[Tensor, " run"], where: Bool[Tensor, "run position"]) -> Readings:
        data = {name: value[prompt] for name, value in self.known.items()} | {ROWS: where}
        (logits,) = self.below.activations(data, self.below.output)
        last = Logits(logits.resid[:, -1:], logits.readout).all()[:, 0]
        answers = self.answers[prompt]
        probability = last.softmax(-1).gather(1, answers[:, None])[:, 0]
        return Readings(probability, last.argmax(-1) == answers)


def of_family(G: Graph, head: Head, family: Family, device: torch.device) -> Overriding:
    """The prompts of a family, run once."""
    return Overriding.of(G, head, family.tokens.to(device), family.answers.to(device))
