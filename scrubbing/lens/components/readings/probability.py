"""How probable the label is."""

from dataclasses import dataclass

from scrubbing.lens.components.readings.reading import Output, Reading, Values


@dataclass(frozen=True)
class Probability(Reading):
    """The probability of the label."""

    def of(self, output: Output) -> Values:
        return (output.at["labels"] - output.lse).exp2()
