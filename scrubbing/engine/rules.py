"""The rules of scrubbing: where a visited node of I takes each input of its image from. One table, read by all.

The planner, exact mode, attribution and the random controls all read this table, so a new policy is one edit here.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

from scrubbing.engine.policy import Policy, mean
from scrubbing.engine.sampling.streams import Fixed
from scrubbing.graph import Graph
from scrubbing.graph.hypothesis import Hypothesis


@dataclass(frozen=True)
class ClaimedInput:
    """An input of the image that is run by a node of I, `child`, on a datum of its own.

    `donor` says where that datum comes from: "own" is the reader's datum itself, "drawn" a row that agrees with it,
    "given" the user's rows, "made" a row that the user's function makes. `group` names the children that are drawn
    together.
    """

    input: str
    child: str
    donor: Literal["own", "drawn", "given", "made"]
    group: tuple[str, ...]
    by_position: bool


@dataclass(frozen=True)
class OwnInput:
    """An input that runs on the node's own datum alone: I claims all its columns, or keeps it."""

    input: str


@dataclass(frozen=True)
class OpenInput:
    """An unclaimed input: `donated` columns come from the donor u, and `own` ones from the node's own datum.

    With neither it is a constant. `averaged` says whether the policy may replace its value (by a mean, or zero).
    """

    input: str
    own: frozenset[str]
    donated: frozenset[str]
    averaged: bool


@dataclass(frozen=True)
class Rules:
    """Where one node of I takes each input of its image from, in the order of the inputs."""

    inputs: tuple[ClaimedInput | OwnInput | OpenInput, ...]

    @cached_property
    def claimed(self) -> tuple[ClaimedInput, ...]:
        """The inputs that are run by nodes of I."""
        return tuple(i for i in self.inputs if isinstance(i, ClaimedInput))

    @cached_property
    def own(self) -> tuple[str, ...]:
        """The names of the inputs on the node's own datum."""
        return tuple(i.input for i in self.inputs if isinstance(i, OwnInput))

    @cached_property
    def donated(self) -> tuple[OpenInput, ...]:
        """The inputs with columns that come from a donor u."""
        return tuple(i for i in self.inputs if isinstance(i, OpenInput) and i.donated)

    @cached_property
    def is_plain(self) -> bool:
        """Whether the node is an ordinary forward pass on its own datum."""
        return all(isinstance(i, OwnInput) for i in self.inputs)

    def sharing_u(self, *, by_input: bool) -> tuple[tuple[OpenInput, ...], ...]:
        """The inputs that run on u, in groups that share one u."""
        if by_input:
            return tuple((i,) for i in self.donated)
        return (self.donated,) if self.donated else ()


def rules(h: Hypothesis, policy: Policy, name: str) -> Rules:
    """The rules for one node of I under a policy."""
    children, read, inputs = h.claimed_inputs(name), frozenset(h.read_columns(name)), h.G[h.image(name)].inputs
    passed = h.passed_columns(name)
    if not children and h.G.upstream_columns[h.image(name)] <= passed:
        return Rules(tuple(map(_own, inputs)))  # a shortcut for nodes with many inputs
    keeps = h.I[name].keeps

    def taken(p: str) -> ClaimedInput | OwnInput | OpenInput:
        if p in children:
            return _claimed(h, policy, p, children[p])
        return _own(p) if p in keeps else _unclaimed(h, policy, p, read, passed)

    return Rules(tuple(map(taken, inputs)))


# Made once for each name: a node may read all heads below it.
_own = cache(OwnInput)


def _unclaimed(
    h: Hypothesis, policy: Policy, p: str, read: frozenset[str], passed: frozenset[str]
) -> OwnInput | OpenInput:
    upstream = upstream_columns(h.G, p)
    own = upstream & (passed if p in h.G else read)
    if own and own == upstream:
        return _own(p)
    return OpenInput(p, own, upstream - own, averaged=policy.unclaimed != "resample" and p in h.G and not own)


def upstream_columns(G: Graph, p: str) -> frozenset[str]:
    """The columns that an input depends on; of a column, itself."""
    return G.upstream_columns[p] if p in G else frozenset([p])


def _claimed(h: Hypothesis, policy: Policy, p: str, child: str) -> ClaimedInput:
    given = policy.donors.get(child)
    if not h.I[child].swaps:
        donor = "own"
    elif isinstance(given, Fixed):
        donor = "given"
    elif given is not None:
        donor = "made"
    else:
        donor = "own" if may_stay(h, policy, child) else "drawn"
    group = tuple(sorted(policy.group(child) & h.I.keys()))
    return ClaimedInput(p, child, donor, group, draws_by_position(h, policy, child))


def may_stay(h: Hypothesis, policy: Policy, name: str) -> bool:
    """Whether a claim may skip its draw and stay on its reader's datum, because every donor would give the same.

    Rows that agree on `reads(...)` agree on every column and every child's feature. But they may differ in the row that
    must not be drawn (`exclude_self`), in the group of a mean (`mean(by=)`), and in donors that the user makes.
    """
    if not h.I[name].claims_inputs_alone or policy.exclude_self:
        return False
    if any(callable(policy.donors.get(child)) for child in h.claimed_inputs(name).values()):
        return False
    by = policy.unclaimed.by if isinstance(policy.unclaimed, mean) else None
    return by is None or by in h.read_columns(name) or not any(i.averaged for i in rules(h, policy, name).donated)


def draws_by_position(h: Hypothesis, policy: Policy, name: str) -> bool:
    """Whether I's node draws a donor for each position: a claim per position without whole donors given or made."""
    return h.I[name].per_position and h.I[name].swaps and (name not in policy.donors or gives_by_position(policy, name))


def gives_by_position(policy: Policy, name: str) -> bool:
    """Whether the donors given for I's node are a row for each position."""
    given = policy.donors.get(name)
    return isinstance(given, Fixed) and given.positions is not None
