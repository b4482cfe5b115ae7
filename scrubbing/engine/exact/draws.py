"""What each node of a hypothesis draws, and what its value depends on in its own datum."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Int

from scrubbing.engine.features import Features
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.planning import Planner
from scrubbing.engine.policy import Policy, mean
from scrubbing.engine.rules import ClaimedInput, OpenInput, Rules, rules, upstream_columns
from scrubbing.engine.sampling.agreement import Classes, PositionClasses
from scrubbing.engine.sampling.distributions import Donors, Transitions, joint, representatives
from scrubbing.engine.sampling.streams import Fixed, Sample
from scrubbing.engine.sampling.values import distinct
from scrubbing.errors import HypothesisError
from scrubbing.graph.data import Columns
from scrubbing.graph.hypothesis import Hypothesis

Places = Int[np.ndarray, " n"]  # row numbers, or places in a list of anything else


def refuse_beyond(cap: int, count: int | float, what: str) -> None:
    """Raise if there is more to compute than the cap allows."""
    if count > cap:
        raise HypothesisError(
            f"exact mode would have to {what}, and its cap is {cap:,}; estimate the loss by sampling instead, score "
            f"fewer references, or leave less to chance (reads(...) of whole columns)"
        )


@dataclass(frozen=True, eq=False)
class Data:
    """The dataset, with a number for each distinct row of some columns."""

    columns: Columns
    _numbers: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @cached_property
    def rows(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values())))

    @property
    def everything(self) -> Classes:
        """The partition in which all rows agree."""
        return Classes(np.zeros(self.rows, dtype=np.int64))

    def numbers(self, names: Collection[str]) -> Int[np.ndarray, " row"]:
        """Equal numbers for rows that are equal in the named columns."""
        for name in names:
            if name not in self._numbers:
                self._numbers[name] = distinct(self.columns[name], self.rows)[1]
        return joint([self._numbers[name] for name in sorted(names)], self.rows)


# -- what is drawn or given once for a whole run


@dataclass(frozen=True, eq=False)
class Contexts:
    """The given donors of a reference, and the donor u if the whole hypothesis has one."""

    row: Int[np.ndarray, " context"]  # the reference whose fixed donors these are
    other: Int[np.ndarray, " context"] | None  # u
    transitions: Transitions  # from each reference to its contexts

    def __len__(self) -> int:
        return len(self.row)


def contexts_of(h: Hypothesis, data: Data, references: Places, policy: Policy, cap: int) -> Contexts:
    """The contexts in which the given references are scrubbed."""
    n, others = len(references), policy.others
    by_reference = isinstance(others, Fixed) or any(name in h.I for name in policy.donors)
    row = references if by_reference else references[:1]
    if others != "reference":
        transitions = Transitions(
            np.arange(n), np.arange(n) if by_reference else np.zeros(n, dtype=np.int64), np.ones(n)
        )
        return Contexts(row, others.rows[row] if isinstance(others, Fixed) else None, transitions)
    columns = {column for name in h.I for open_ in rules(h, policy, name).donated for column in open_.donated}
    donors = Donors(data.everything, representatives(data.numbers(columns)), policy.exclude_self)
    count = donors.count(references)
    refuse_beyond(cap, count, f'follow {count:,} pairs of a reference and its donor (others="reference")')
    drawn = donors.transitions(references)
    distinct_others, number = np.unique(drawn.to, return_inverse=True)
    to = number + (len(distinct_others) * drawn.case if by_reference else 0)
    transitions = Transitions(drawn.case, to, drawn.probability)
    return Contexts(np.repeat(row, len(distinct_others)), np.tile(distinct_others, len(row)), transitions)


# -- what is drawn at each node


@dataclass(frozen=True, eq=False)
class Draw:
    """One donor that a visited node of I takes, and what it decides.

    It is drawn (`donors`), or given for each context (`fixed`), or else the node's own datum.
    """

    inputs: tuple[str, ...]  # of the image, which the donor decides
    open: tuple[OpenInput, ...]  # those of them that are unclaimed; none: the donor is the node's own datum
    children: tuple[str, ...]  # the nodes of I that run on it, one for each input; none: an ordinary forward pass
    position: int | None  # where only one position of the input is decided
    alike: Int[np.ndarray, " row"]  # one row for all that make no difference as the donor
    own_part: Int[np.ndarray, " row"]  # one row for all own datums that pass on the same columns beside the donor
    own_key: Int[np.ndarray, " row"]  # what matters of the own datum, as a number
    context_key: Int[np.ndarray, " context"]  # what matters of the context
    donors: Donors | None
    fixed: Int[np.ndarray, " context"] | None


@dataclass(frozen=True, eq=False)
class Description:
    """What a node of I draws, and what the distribution of its value depends on."""

    draws: tuple[Draw, ...]
    own: Int[np.ndarray, " row"]  # for each row the first with the same distribution
    context: Int[np.ndarray, " context"]  # for each context the first with the same distribution


@dataclass(frozen=True, eq=False)
class Describer:
    """Describes the nodes of one hypothesis, children first."""

    h: Hypothesis
    data: Data
    policy: Policy
    contexts: Contexts
    known: dict[str, Description] = field(default_factory=dict)

    @cached_property
    def planner(self) -> Planner:
        """The planner, which knows the rows that agree."""
        sample = Sample(np.arange(1), self.data.rows)
        return Planner(self.policy, Features(Interpreter(dict(self.data.columns), sample)))

    def describe(self, name: str) -> Description:
        """A node whose children were described before."""
        read, found = set(self.h.read_columns(name)), rules(self.h, self.policy, name)
        direct = {p for p in self.h.G[self.h.image(name)].inputs if p in read}
        claimed = tuple(self._claimed(found))
        draws = (*claimed, *self._unclaimed(found), *self._own(found, direct))
        own = joint([self.data.numbers(direct), *(draw.own_key for draw in draws)], self.data.rows)
        context = joint([draw.context_key for draw in draws], len(self.contexts))
        self.known[name] = Description(draws, representatives(own), representatives(context))
        return self.known[name]

    def _claimed(self, found: Rules) -> Iterator[Draw]:
        sharing: dict[tuple[str, ...], list[ClaimedInput]] = {}
        for claimed in found.claimed:
            if self.h.G.upstream_columns[claimed.input]:
                group = claimed.group if claimed.donor == "drawn" else (claimed.child,)
                sharing.setdefault(group, []).append(claimed)
        for members in sharing.values():
            children = tuple(claimed.child for claimed in members)
            alike = representatives(joint([self.known[child].own for child in children], self.data.rows))
            for position, source in self._sources(members[0]):
                inputs = tuple(claimed.input for claimed in members)
                yield self._draw(inputs, source, alike, children=children, position=position)

    def _unclaimed(self, found: Rules) -> Iterator[Draw]:
        grouping = self.policy.unclaimed.by if isinstance(self.policy.unclaimed, mean) else None
        for open_ in found.sharing_u(by_input=self.policy.others == "input"):
            donated = frozenset().union(*(i.donated for i in open_))
            passed = frozenset().union(*(i.own for i in open_), {grouping} if grouping else ())
            alike = representatives(self.data.numbers(donated))
            inputs = tuple(i.input for i in open_)
            source = (
                self.data.everything if self.contexts.other is None else self.contexts.other
            )  # each u is a last one
            yield self._draw(inputs, source, alike, open_=open_, passed=passed)

    def _own(self, found: Rules, direct: set[str]) -> Iterator[Draw]:
        inputs = tuple(p for p in found.own if p not in direct)
        if inputs:
            columns = frozenset().union(*(upstream_columns(self.h.G, p) for p in inputs))
            yield self._draw(inputs, None, representatives(self.data.numbers(columns)), passed=columns)

    def _sources(self, claimed: ClaimedInput) -> list[tuple[int | None, Classes | Places | None]]:
        """Where a child's donor comes from, by position if it is claimed so: classes, given rows, or neither."""
        child, given = claimed.child, self.policy.donors.get(claimed.child)
        if claimed.donor == "made":
            raise HypothesisError(
                f"donors gives {child!r} a function that makes donors, and exact mode needs rows of the data; "
                f"estimate the loss by sampling instead"
            )
        if claimed.donor == "own":
            return [(None, None)]
        if isinstance(given, Fixed) and claimed.donor == "given":
            source = given.rows[self.contexts.row]
        else:
            source = self.planner.shared_classes(self.h, claimed.group)
        if isinstance(source, PositionClasses):
            return list(enumerate(source.at))
        if isinstance(source, Classes) or source.ndim == 1:
            return [(None, source)]
        if not claimed.by_position:
            raise HypothesisError(
                f"exact mode cannot follow donors of {child!r} by position, below a claim per position; "
                f"estimate the loss by sampling instead"
            )
        return list(enumerate(source.T))

    def _draw(
        self,
        inputs: tuple[str, ...],
        source: Classes | Places | None,
        alike: Int[np.ndarray, " row"],
        *,
        open_: tuple[OpenInput, ...] = (),
        children: tuple[str, ...] = (),
        position: int | None = None,
        passed: frozenset[str] = frozenset(),
    ) -> Draw:
        beside = self.data.numbers(passed)
        own, context = [beside], [self.known[child].context for child in children]
        if isinstance(source, Classes):
            own += [source.ids, alike] if self.policy.exclude_self else [source.ids]
        elif source is None:
            own.append(alike)
        else:
            context.append(alike[source])
        return Draw(
            inputs,
            open_,
            children,
            position,
            alike,
            own_part=representatives(beside),
            own_key=joint(own, self.data.rows),
            context_key=joint(context, len(self.contexts)),
            donors=Donors(source, alike, self.policy.exclude_self) if isinstance(source, Classes) else None,
            fixed=source if isinstance(source, np.ndarray) else None,
        )
