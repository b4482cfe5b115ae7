"""How far an output is from the network's."""

from dataclasses import dataclass

from scrubbing.lens.components.readings.reading import LN2, Output, Reading, Values


@dataclass(frozen=True)
class Divergence(Reading):
    """The divergence KL(network || hypothesis) of the distribution from the network's, in nats."""

    def of(self, output: Output) -> Values:
        return LN2 * (output.lse - output.own.lse - output.mean_change())
