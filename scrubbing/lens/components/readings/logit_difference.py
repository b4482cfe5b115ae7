"""How much more the label is favoured than another token."""

from dataclasses import dataclass

from scrubbing.lens.components.readings.reading import LN2, Output, Reading, Values


@dataclass(frozen=True)
class LogitDifference(Reading):
    """The label's logit less that of another token, which is asked about under the name `foil`."""

    foil: str = "foils"

    def of(self, output: Output) -> Values:
        return LN2 * (output.at["labels"] - output.at[self.foil])
