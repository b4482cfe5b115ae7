"""What each node of a hypothesis draws, and what matters to it of its own datum."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Int

from scrubbing.engine.evaluate import Evaluator
from scrubbing.engine.plan import Planner, other_path
from scrubbing.engine.policy import Policy, mean
from scrubbing.engine.positions import draws_by_position
from scrubbing.engine.sampling.agreement import Classes, PositionClasses
from scrubbing.engine.sampling.distributions import Donors, Transitions, joint, representatives
from scrubbing.engine.sampling.streams import Fixed, Sample, Stream
from scrubbing.engine.sampling.values import distinct
from scrubbing.errors import HypothesisError
from scrubbing.graph.data import Columns
from scrubbing.graph.hypothesis import Hypothesis

Rows = Int[np.ndarray, " n"]  # row numbers, or places in a list of anything else


class BeyondCapError(HypothesisError):
    """More would have to be done than the cap allows; `what` says what."""

    def __init__(self, what: str, cap: int, *, last_fits: bool = False) -> None:
        last = 'average over the last donor on each path and sample those above it (exact="last"), '
        super().__init__(
            f"exact mode would have to {what}, and its cap is {cap:,}; {last if last_fits else ''}"
            f"estimate the loss by sampling instead, score fewer references, or leave less to chance "
            f"(reads(...) of whole columns)"
        )
        self.what = what


def refuse_beyond(cap: int, count: int | float, what: str) -> None:
    """Raise where more would have to be done than the cap allows."""
    if count > cap:
        raise BeyondCapError(what, cap)


@dataclass(frozen=True, eq=False)
class Data:
    """The dataset, as numbers that tell its rows apart."""

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
class Above:
    """Donors that were sampled, for those above the last ones: by path, each draw of each reference in turn."""

    sample: Sample
    streams: Mapping[str, Stream]

    def rows(self, end: tuple[str, ...], *, by_position: bool = False) -> Int[np.ndarray, "context *position"]:
        """The donors of a node of I, or of what it leaves unclaimed, whose paths end like this."""
        found = {stream for path, stream in self.streams.items() if tuple(path.split("/")[-len(end) :]) == end}
        if len(found) > 1:
            raise HypothesisError(
                f'exact="last" samples one donor for {"/".join(end)!r}, but {len(found)} paths that lead there draw '
                f"donors of their own; give I a node for each path, with one image in c, or exact=False"
            )
        rows = self.sample.rows(found.pop())
        if rows.ndim > 1 and not by_position:
            raise HypothesisError(
                f'exact="last" cannot follow donors of {"/".join(end)!r} that are sampled for each position below a '
                f"claim per position; claim it whole, or exact=False"
            )
        return rows


@dataclass(frozen=True, eq=False)
class Contexts:
    """What is given, and the donor u of every unclaimed input if it is one for the whole hypothesis."""

    row: Int[np.ndarray, " context"]  # the reference whose fixed donors these are
    other: Int[np.ndarray, " context"] | None  # u
    transitions: Transitions  # from each reference to its contexts
    above: Above | None = None  # donors that were sampled for each context

    def __len__(self) -> int:
        return len(self.row)


def contexts_of(h: Hypothesis, data: Data, references: Rows, policy: Policy, cap: int) -> Contexts:
    """The contexts in which the given references are scrubbed."""
    n, others = len(references), policy.others
    by_reference = isinstance(others, Fixed) or any(name in h.I for name in policy.donors)
    row = references if by_reference else references[:1]
    if others != "reference":
        transitions = Transitions(
            np.arange(n), np.arange(n) if by_reference else np.zeros(n, dtype=np.int64), np.ones(n)
        )
        return Contexts(row, others.rows[row] if isinstance(others, Fixed) else None, transitions)
    columns = {c for name in h.I for inputs in open_inputs(h, name) for c in open_columns(h, name, inputs)}
    donors = Donors(data.everything, representatives(data.numbers(columns)), policy.exclude_self)
    count = donors.count(references)
    refuse_beyond(cap, count, f'follow {count:,} pairs of a reference and its donor (others="reference")')
    drawn = donors.transitions(references)
    distinct_others, number = np.unique(drawn.to, return_inverse=True)
    to = number + (len(distinct_others) * drawn.case if by_reference else 0)
    transitions = Transitions(drawn.case, to, drawn.probability)
    return Contexts(np.repeat(row, len(distinct_others)), np.tile(distinct_others, len(row)), transitions)


def open_inputs(h: Hypothesis, name: str, *, apart: bool = False) -> list[tuple[str, ...]]:
    """The inputs that I's node does not claim, in groups that share one donor u."""
    known = {*h.claimed_inputs(name), *h.read_columns(name), *h.I[name].keeps}
    inputs = tuple(p for p in h.G[h.image(name)].inputs if p not in known and h.G.upstream_columns[p])
    return [(p,) for p in inputs] if apart else [inputs] if inputs else []


def open_columns(h: Hypothesis, name: str, inputs: tuple[str, ...]) -> frozenset[str]:
    """The columns that unclaimed inputs of I's node take from the donor u."""
    return upstream_of(h, inputs) - h.passed_columns(name)


def upstream_of(h: Hypothesis, inputs: tuple[str, ...]) -> frozenset[str]:
    """The columns that any of the inputs depends on."""
    return frozenset().union(*(h.G.upstream_columns[p] for p in inputs))


# -- what is drawn at each node


@dataclass(frozen=True, eq=False)
class Draw:
    """One donor that a visited node of I takes, and what it decides.

    It is drawn (`donors`), or given for each context (`fixed`), or else the node's own datum.
    """

    inputs: tuple[str, ...]  # of the image, which the donor decides
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
    is_random: bool  # whether donors are drawn here or below, other than those that were sampled


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
        """It knows which rows agree."""
        return Planner(self.policy, Evaluator(dict(self.data.columns), Sample(np.arange(1), self.data.rows)))

    def describe(self, name: str) -> Description:
        """A node whose children were described before."""
        read = self.h.read_columns(name)
        direct = {p for p in self.h.G[self.h.image(name)].inputs if p in read}
        claimed = tuple(self._claimed(name))
        draws = (*claimed, *self._unclaimed(name, is_last=not any(map(self._is_random, claimed))))
        own = joint([self.data.numbers(direct), *(draw.own_key for draw in draws)], self.data.rows)
        context = joint([draw.context_key for draw in draws], len(self.contexts))
        is_random = any(map(self._is_random, draws))
        self.known[name] = Description(draws, representatives(own), representatives(context), is_random)
        return self.known[name]

    def _is_random(self, draw: Draw) -> bool:
        return draw.donors is not None or any(self.known[child].is_random for child in draw.children)

    def _claimed(self, name: str) -> Iterator[Draw]:
        sharing: dict[frozenset[str], list[tuple[str, str]]] = {}
        for p, child in self.h.claimed_inputs(name).items():
            if self.h.G.upstream_columns[p]:
                alone = child in self.policy.donors or self._passes_only_what_agrees(child)
                group = frozenset([child]) if alone else self.policy.group(child)
                sharing.setdefault(group, []).append((p, child))
        for members in sharing.values():
            inputs, children = zip(*members, strict=True)
            alike = representatives(joint([self.known[child].own for child in children], self.data.rows))
            is_last = not any(self.known[child].is_random for child in children)
            for position, source in self._sources(children[0], is_last=is_last):
                yield self._draw(inputs, source, alike, children=children, position=position)

    def _unclaimed(self, name: str, *, is_last: bool) -> Iterator[Draw]:
        grouping = self.policy.unclaimed.by if isinstance(self.policy.unclaimed, mean) else None
        for inputs in open_inputs(self.h, name, apart=self.policy.others == "input"):
            columns = open_columns(self.h, name, inputs)
            source = self._others(name, inputs[0], is_last=is_last) if columns else None
            passed = self.h.passed_columns(name) & upstream_of(self.h, inputs)
            passed |= {grouping} if grouping else set()
            yield self._draw(inputs, source, representatives(self.data.numbers(columns)), passed=passed)
        for p in sorted(self.h.I[name].keeps):
            columns = self.h.G.upstream_columns[p]
            yield self._draw((p,), None, representatives(self.data.numbers(columns)), passed=columns)

    def _others(self, name: str, p: str, *, is_last: bool) -> Classes | Rows:
        """Where the donor u of an unclaimed input comes from."""
        if self.contexts.other is not None:
            return self.contexts.other
        if self.contexts.above is None or is_last:
            return self.data.everything
        return self.contexts.above.rows(other_path((name,), p, self.h, self.policy))

    def _sources(self, child: str, *, is_last: bool) -> list[tuple[int | None, Classes | Rows | None]]:
        """Where a child's donor comes from, by position if it is claimed so: classes, given rows, or neither."""
        given = self.policy.donors.get(child) if self.h.I[child].swaps else None
        if given is not None and not isinstance(given, Fixed):
            raise HypothesisError(
                f"donors gives {child!r} a function that makes donors, and exact mode needs rows of the data; "
                f"estimate the loss by sampling instead"
            )
        if given is None and self._passes_only_what_agrees(child):
            return [(None, None)]
        if isinstance(given, Fixed):
            source = given.rows[self.contexts.row]
        elif self.contexts.above is not None and not is_last:
            by_position = draws_by_position(self.h, self.policy, child)
            source = self.contexts.above.rows((child,), by_position=by_position)
        else:
            source = self.planner.agreement(self.h, child)
        if isinstance(source, PositionClasses):
            return list(enumerate(source.at))
        if isinstance(source, Classes) or source.ndim == 1:
            return [(None, source)]
        if not draws_by_position(self.h, self.policy, child):
            raise HypothesisError(
                f"exact mode cannot follow donors of {child!r} by position, below a claim per position; "
                f"estimate the loss by sampling instead"
            )
        return list(enumerate(source.T))

    def _passes_only_what_agrees(self, child: str) -> bool:
        """Whether every agreeing donor passes on the same as the parent's own datum, which then stands for itself."""
        node = self.h.I[child]
        return not node.swaps or (node.claims_inputs_alone and not self.policy.exclude_self)

    def _draw(
        self,
        inputs: tuple[str, ...],
        source: Classes | Rows | None,
        alike: Int[np.ndarray, " row"],
        *,
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
            children,
            position,
            alike,
            own_part=representatives(beside),
            own_key=joint(own, self.data.rows),
            context_key=joint(context, len(self.contexts)),
            donors=Donors(source, alike, self.policy.exclude_self) if isinstance(source, Classes) else None,
            fixed=source if isinstance(source, np.ndarray) else None,
        )
