"""The loss."""

from dataclasses import dataclass

from scrubbing.lens.components.readings.reading import LN2, Output, Reading, Values


@dataclass(frozen=True)
class CrossEntropy(Reading):
    """The cross-entropy of the label, in nats."""

    def of(self, output: Output) -> Values:
        return LN2 * (output.lse - output.at["labels"])
