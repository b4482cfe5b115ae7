"""The distribution of the scrubbed loss: its mean, variance and extremes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from scrubbing.engine.sampling.distributions import Distributions, Transitions, ragged

BLOCK = 2**20  # atoms at a time


@dataclass(frozen=True, eq=False)
class ExactLosses:
    """The distribution of each reference's scrubbed loss, over all draws of donors."""

    losses: Float[np.ndarray, " value"]
    distributions: Distributions  # of the loss, in each condition of the output
    transitions: Transitions  # from each distinct reference to the conditions
    place: Int[np.ndarray, " reference"]  # of each reference among the distinct ones

    @property
    def mean(self) -> Float[np.ndarray, " reference"]:
        """The expectation of each reference's scrubbed loss."""
        return self._moments[0][self.place]

    @property
    def variance(self) -> Float[np.ndarray, " reference"]:
        """The variance of one draw of each reference's scrubbed loss."""
        return self._moments[1][self.place]

    @property
    def largest(self) -> Float[np.ndarray, " reference"]:
        """The largest loss of each reference that any draw of donors leaves."""
        of_distributions = np.maximum.reduceat(self.losses[self.distributions.atom], self.distributions.starts)
        largest = np.full(int(self.place.max()) + 1, -np.inf)
        np.maximum.at(largest, self.transitions.case, of_distributions[self.transitions.to])
        return largest[self.place]

    def mean_absolute_change(self, original: Float[np.ndarray, " reference"]) -> Float[np.ndarray, " reference"]:
        """The expected distance of each reference's scrubbed loss from its loss in the network itself."""
        before = np.empty(int(self.place.max()) + 1)
        before[self.place] = original
        transitions, change = self.transitions, np.zeros(len(before))
        pieces = self.distributions.sizes[transitions.to].sum() // BLOCK + 1
        for some in np.array_split(np.arange(len(transitions.to)), pieces):
            at, transition = self._atoms(some)
            case = transitions.case[transition]
            distance = np.abs(self.losses[self.distributions.atom[at]] - before[case])
            change += np.bincount(
                case, transitions.probability[transition] * self.distributions.probability[at] * distance, len(before)
            )
        return change[self.place]

    def _atoms(
        self, transitions: Int[np.ndarray, " some"]
    ) -> tuple[Int[np.ndarray, " atom"], Int[np.ndarray, " atom"]]:
        which, place = ragged(self.distributions.sizes[self.transitions.to[transitions]])
        return self.distributions.starts[self.transitions.to[transitions]][which] + place, transitions[which]

    @cached_property
    def _moments(self) -> tuple[Float[np.ndarray, " distinct"], Float[np.ndarray, " distinct"]]:
        distributions, transitions = self.distributions, self.transitions
        loss = self.losses[distributions.atom]
        mean = np.bincount(distributions.case, distributions.probability * loss)
        variance = np.bincount(distributions.case, distributions.probability * (loss - mean[distributions.case]) ** 2)
        overall = np.bincount(transitions.case, transitions.probability * mean[transitions.to])
        spread = variance[transitions.to] + (mean[transitions.to] - overall[transitions.case]) ** 2
        return overall, np.bincount(transitions.case, transitions.probability * spread)


def exact_two_level_variance(losses: ExactLosses) -> tuple[float, float]:
    """The variance between references, and the mean variance within one, for references drawn uniformly from these.

    The mean over n such references of R draws each has variance between/n + within/(nR).
    """
    return float(np.var(losses.mean)), float(losses.variance.mean())
