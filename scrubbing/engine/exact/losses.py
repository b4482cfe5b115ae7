"""The law of the scrubbed loss, and what follows from it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from scrubbing.engine.sampling.distributions import Laws, Links, ragged

BLOCK = 2**20  # atoms looked at together


@dataclass(frozen=True, eq=False)
class ExactLosses:
    """The law of each reference's scrubbed loss, over all draws of donors."""

    losses: Float[np.ndarray, " value"]
    laws: Laws  # of the loss, in each condition of the output
    links: Links  # from each distinct reference to the conditions
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
        of_laws = np.maximum.reduceat(self.losses[self.laws.atom], self.laws.starts)
        largest = np.full(int(self.place.max()) + 1, -np.inf)
        np.maximum.at(largest, self.links.case, of_laws[self.links.to])
        return largest[self.place]

    def mean_absolute_change(self, original: Float[np.ndarray, " reference"]) -> Float[np.ndarray, " reference"]:
        """The expected distance of each reference's scrubbed loss from its loss in the network itself."""
        before = np.empty(int(self.place.max()) + 1)
        before[self.place] = original
        links, change = self.links, np.zeros(len(before))
        pieces = self.laws.sizes[links.to].sum() // BLOCK + 1
        for some in np.array_split(np.arange(len(links.to)), pieces):
            at, link = self._atoms(some)
            case = links.case[link]
            distance = np.abs(self.losses[self.laws.atom[at]] - before[case])
            change += np.bincount(case, links.probability[link] * self.laws.probability[at] * distance, len(before))
        return change[self.place]

    def _atoms(self, links: Int[np.ndarray, " some"]) -> tuple[Int[np.ndarray, " atom"], Int[np.ndarray, " atom"]]:
        which, place = ragged(self.laws.sizes[self.links.to[links]])
        return self.laws.starts[self.links.to[links]][which] + place, links[which]

    @cached_property
    def _moments(self) -> tuple[Float[np.ndarray, " distinct"], Float[np.ndarray, " distinct"]]:
        laws, links = self.laws, self.links
        loss = self.losses[laws.atom]
        mean = np.bincount(laws.case, laws.probability * loss)
        variance = np.bincount(laws.case, laws.probability * (loss - mean[laws.case]) ** 2)
        overall = np.bincount(links.case, links.probability * mean[links.to])
        spread = variance[links.to] + (mean[links.to] - overall[links.case]) ** 2
        return overall, np.bincount(links.case, links.probability * spread)


def exact_two_level_variance(losses: ExactLosses) -> tuple[float, float]:
    """The variance between references, and the mean variance within one, for references drawn uniformly from these.

    The mean over n such references of R draws each has variance between/n + within/(nR).
    """
    return float(np.var(losses.mean)), float(losses.variance.mean())
