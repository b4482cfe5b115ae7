"""Finite distributions over numbered values, one for each of many cases, and how they mix and multiply."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from scrubbing.engine.sampling.agreement import Classes

Numbers = Int[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Distributions:
    """A distribution for each case; the atoms of one case stand together, in order of the cases."""

    case: Int[np.ndarray, " atom"]
    atom: Int[np.ndarray, " atom"]  # a value, by its number
    probability: Float[np.ndarray, " atom"]

    @cached_property
    def sizes(self) -> Int[np.ndarray, " case"]:
        """The number of atoms of each case."""
        return np.bincount(self.case)

    @cached_property
    def starts(self) -> Int[np.ndarray, " case"]:
        """The place of each case's first atom."""
        return np.cumsum(self.sizes) - self.sizes

    def renumbered(self, number: Int[np.ndarray, " value"]) -> "Distributions":
        """The distributions of a function of the values: value i becomes `number[i]`; equal values of a case merge."""
        atom = number[self.atom]
        merged = joint([self.case, atom], len(atom))
        kept = first_places(merged)
        return Distributions(self.case[kept], atom[kept], np.bincount(merged, self.probability))


@dataclass(frozen=True, eq=False)
class Transitions:
    """For each case, the cases that it may turn into, with their probabilities."""

    case: Int[np.ndarray, " transition"]
    to: Int[np.ndarray, " transition"]
    probability: Float[np.ndarray, " transition"]


def joint(parts: Sequence[Numbers], n: int) -> Numbers:
    """Numbers, in lexicographic order, of the distinct tuples that n-fold sequences of numbers from 0 make.

    >>> joint([np.array([0, 7, 7]), np.array([5, 5, 2])], 3)
    array([0, 2, 1])
    """
    code, count = np.zeros(n, dtype=np.int64), 1
    for part in parts:
        size = int(part.max(initial=0)) + 1
        if count * size > 2**62:
            code = np.unique(code, return_inverse=True)[1]
            count = n
        code, count = code * size + part, count * size
    if count > 8 * n:
        return np.unique(code, return_inverse=True)[1]
    present = np.zeros(count, dtype=bool)
    present[code] = True
    return (np.cumsum(present) - 1)[code]


def first_places(numbers: Numbers) -> Int[np.ndarray, " distinct"]:
    """The first place at which each number stands, of numbers that leave none out."""
    first = np.empty(int(numbers.max(initial=-1)) + 1, dtype=np.int64)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]
    return first


def representatives(numbers: Numbers) -> Numbers:
    """For each place the first one that has the same number.

    >>> representatives(np.array([1, 0, 1]))
    array([0, 1, 0])
    """
    return first_places(numbers)[numbers]


def ragged(sizes: Numbers) -> tuple[Int[np.ndarray, " total"], Int[np.ndarray, " total"]]:
    """Sequences of the given sizes, one after the other: of each entry its sequence and its place there."""
    sequence = np.repeat(np.arange(len(sizes)), sizes)
    return sequence, np.arange(len(sequence)) - (np.cumsum(sizes) - sizes)[sequence]


@dataclass(frozen=True, eq=False)
class Donors:
    """Who may stand in for whom: a row's donors are the rows of its class, alike ones counted together.

    `alike` names one row for all those that make no difference to what is passed on.
    """

    classes: Classes
    alike: Int[np.ndarray, " row"]
    exclude_self: bool

    @cached_property
    def _pairs(self) -> Distributions:
        """The members of each class, as a distribution over rows with counts for probabilities."""
        ids = self.classes.ids
        return Distributions(ids, self.alike, np.ones(len(ids))).renumbered(np.arange(len(ids)))

    def count(self, rows: Numbers) -> int:
        """How many transitions there would be."""
        return int(self._pairs.sizes[self.classes.ids[rows]].sum())

    def transitions(self, rows: Numbers) -> Transitions:
        """From each of `rows`, by its place, to the rows that stand for its donors."""
        ids, pairs = self.classes.ids[rows], self._pairs
        case, place = ragged(pairs.sizes[ids])
        at = pairs.starts[ids][case] + place
        donor, weight, size = pairs.atom[at], pairs.probability[at], self.classes.sizes[ids].astype(np.float64)[case]
        if self.exclude_self:
            crowd = size > 1  # a singleton keeps its one member
            weight = weight - (crowd & (donor == self.alike[rows][case]))
            size = size - crowd
        possible = weight > 0
        return Transitions(case[possible], donor[possible], (weight / size)[possible])


def mixture(distributions: Distributions, transitions: Transitions) -> Distributions:
    """The mixture, for each case of the transitions, of the distributions of the cases that it may turn into."""
    transition, place = ragged(distributions.sizes[transitions.to])
    at = distributions.starts[transitions.to][transition] + place
    weighted = Distributions(
        transitions.case[transition],
        distributions.atom[at],
        transitions.probability[transition] * distributions.probability[at],
    )
    return weighted.renumbered(np.arange(int(distributions.atom.max(initial=-1)) + 1))


def product_sizes(factors: Sequence[tuple[Distributions, Numbers]], cases: int) -> Float[np.ndarray, " case"]:
    """The number of atoms that the product would have in each case; a float, for it may be beyond all integers."""
    with np.errstate(over="ignore"):
        return np.prod([np.ones(cases), *(distributions.sizes[group] for distributions, group in factors)], axis=0)


def product(
    factors: Sequence[tuple[Distributions, Numbers]], cases: int
) -> tuple[Int[np.ndarray, " atom"], list[Int[np.ndarray, " atom"]], Float[np.ndarray, " atom"]]:
    """Independent values together: for each atom its case, the atom of each factor, and the probability.

    A factor is distributions and, for each case, which of these it takes.
    """
    case, place = ragged(product_sizes(factors, cases).astype(np.int64))
    probability, atoms = np.ones(len(case)), []
    for distributions, group in factors:
        own = group[case]
        at = distributions.starts[own] + place % distributions.sizes[own]
        place = place // distributions.sizes[own]
        atoms.append(distributions.atom[at])
        probability *= distributions.probability[at]
    return case, atoms, probability
