"""Whether the decision is the network's."""

from dataclasses import dataclass

import torch

from scrubbing.lens.components.readings.reading import ROUNDING, Output, Reading, Values


@dataclass(frozen=True)
class Agreement(Reading):
    """Whether the most probable token is the network's: 1 or 0."""

    def of(self, output: Output) -> Values:
        rounding = ROUNDING * torch.finfo(output.top.dtype).eps * (1 + output.top.abs() + output.own.top.abs())
        return (output.top - output.at["top"] <= rounding).to(output.lse)
