"""How many tokens are more probable than the label."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from scrubbing.lens.components.readings.reading import ROUNDING, Output, ReadingOfTiles, Values


@dataclass(frozen=True)
class Rank(ReadingOfTiles):
    """The number of tokens more probable than the label: 0 where it is the most probable."""

    def in_tile(self, logits: Tensor, at: Mapping[str, Values]) -> Tensor:
        label = at["labels"][..., None]
        rounding = ROUNDING * torch.finfo(label.dtype).eps * (1 + label.abs())
        return (logits > label + rounding).sum(dim=-1)

    def of(self, output: Output) -> Values:
        return output.in_tiles[self].to(output.lse)
