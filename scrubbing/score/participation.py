"""Which rows took part in the draws of a run, as donors, in a form that a score can keep."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, field_validator

from scrubbing.score.population import unpacked
from scrubbing.score.statistics.columns import Column


class Participation(BaseModel):
    """The donors of each draw, and its loss, as packed numbers (`scrubbing.score.population.packed`).

    - `draws`: how many draws of each reference are listed
    - `losses`: their losses, `[reference * draw]`; None for a single draw, whose loss the score has
    - `donors`: for each stream of donors their rows, `[reference * draw]`; one for each position where
      these have donors of their own
    - `classes`: partitions, `[row]`: rows of one number agree; `which` has the place of each stream's
    - `parents`: for each stream the place of the stream that a donor agrees with; -1 for the references
    - `exact`: whether the score has expected losses, and these draws only say how much donors have to do with them
    - `uncounted`: nodes whose donors are not listed: they were made, or are by position and too many
    """

    model_config = ConfigDict(frozen=True)

    draws: int = 1
    losses: str | None = None
    donors: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    which: tuple[int, ...] = ()
    parents: tuple[int, ...] = ()
    exact: bool = False
    uncounted: tuple[str, ...] = ()

    @field_validator("losses", "donors", "classes")
    @classmethod
    def _readable(cls, found: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        for text in (found,) if isinstance(found, str) else found or ():
            unpacked(text)
        return found

    def column(
        self,
        values: Float[np.ndarray, " reference"],
        *,
        losses: bool = True,
        places: Int[np.ndarray, " some"] | None = None,
    ) -> Column:
        """The mean losses of references, or another reading, with the part that each donor has in them.

        The reading of single draws is known only where each reference had one. With `places`, of these alone.
        """
        if not losses and (self.exact or self.draws > 1):
            return Column(values if places is None else values[places])
        losses_of = self.losses if losses else None
        of_draws = values[:, None] if losses_of is None else unpacked(losses_of).reshape(len(values), self.draws)
        some = slice(None) if places is None else places
        values, of_draws = values[some], of_draws[some]
        return replace(self.column_of(of_draws, places), values=values, draws=self._draws(values, of_draws))

    def column_of(
        self, of_draws: Float[np.ndarray, "reference draw"], places: Int[np.ndarray, " some"] | None = None
    ) -> Column:
        """The means of values of single draws, with the part that each donor has in them."""
        n, draws = of_draws.shape
        if not self.donors:
            return Column(of_draws.mean(axis=1))
        some = slice(None) if places is None else places
        rows = np.stack([unpacked(text).reshape(-1, draws)[some] for text in self.donors], axis=1)
        classes = tuple(unpacked(text) for text in self.classes)
        weight = np.stack([_within_classes(of_draws, classes[t][rows[:, s]]) for s, t in enumerate(self.which)], axis=1)
        which = np.repeat(self.which, draws)
        return Column(of_draws.mean(axis=1), rows.reshape(n, -1), weight.reshape(n, -1) / draws, which, classes)

    def _draws(
        self, values: Float[np.ndarray, " reference"], losses: Float[np.ndarray, "reference draw"]
    ) -> Float[np.ndarray, "reference known"] | None:
        """The losses of draws; of expected losses two that are equal: they have no noise of donors."""
        if self.exact:
            return np.stack([values, values], axis=1)
        return losses if losses.shape[1] > 1 else None


def _within_classes(
    losses: Float[np.ndarray, "reference draw"], number: np.ndarray
) -> Float[np.ndarray, "reference draw"]:
    """How much each draw's loss differs from the mean of draws whose donors are of its class."""
    count = np.bincount(number.ravel())
    mean = np.bincount(number.ravel(), losses.ravel()) / np.maximum(count, 1)
    return losses - mean[number]
