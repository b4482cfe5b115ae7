"""What a reading is, and what it may ask of an output."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

LN2 = math.log(2)
ROUNDING = 64  # times the machine epsilon: how far apart the same logit may be, summed in another order

Values = Float[Tensor, "*hypothesis position"]


@dataclass(frozen=True)
class Reading:
    """A number for each position, made of the output there."""

    def of(self, output: "Output") -> Values:
        """The reading of an output."""
        raise NotImplementedError


@dataclass(frozen=True)
class ReadingOfTiles(Reading):
    """A reading that needs something added up over all logits, tile by tile; it is `in_tiles` of the output then."""

    def in_tile(self, logits: Float[Tensor, "*hypothesis position token"], at: Mapping[str, Values]) -> Tensor:
        """What some tokens' logits add to each position.

        These, and the logits `at` the tokens asked about, are in units of ln 2, less the network's largest.
        """
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Output:
    """What the network, or what each of several hypotheses, predicts at each position.

    Logits are in units of ln 2: `lse` is the binary logarithm of the sum of their powers of two, `top` the largest,
    `at` those of the tokens asked about, by name ("labels"; "top" is the token that is most probable by the network).
    `in_tiles` has what was added up over tiles, by reading.
    """

    lse: Values
    top: Values
    at: Mapping[str, Values]
    in_tiles: Mapping[Reading, Tensor]
    network: "Output | None"  # None for the network's own output
    mean_change: Callable[[], Values]  # of the logits from the network's, over the network's own distribution

    @property
    def own(self) -> "Output":
        """The network's own output."""
        return self.network or self
