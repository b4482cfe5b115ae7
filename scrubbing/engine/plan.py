"""From hypotheses to the distinct calls that they need: the paper's recursion, memoised by value.

Values are shared within a hypothesis and across all hypotheses planned together. Nothing is enumerated by path, except
where each path draws donors of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch

from scrubbing.engine.expressions import Expression, Expressions
from scrubbing.engine.policy import DonorSampler, Policy, mean
from scrubbing.engine.positions import draws_by_position, refuse_illegal_positions
from scrubbing.engine.sampling.agreement import Classes, PositionClasses, intersection
from scrubbing.engine.sampling.streams import Drawn, Fixed, References, Stream
from scrubbing.errors import HypothesisError
from scrubbing.graph import Graph, Reads
from scrubbing.graph.binning import Binning
from scrubbing.graph.hypothesis import Hypothesis

Path = tuple[str, ...]
Other = Callable[[Path, str, Stream], Stream]


@dataclass(frozen=True)
class Feature:
    """The value of a node of I on the dataset, on which rows agree or not."""

    name: str = field(compare=False)
    value: Expression
    per_position: bool
    binning: Binning | None = None


@runtime_checkable
class Dataset(Protocol):
    """What planning has to know of the data."""

    def classes(self, feature: Feature) -> Classes | PositionClasses:
        """Which rows agree on a feature."""
        ...

    def made(self, maker: DonorSampler, path: Path, parent: Stream, feature: Feature) -> Stream:
        """Donors made to agree with the parent's datums on a feature."""
        ...

    def is_floating(self, value: Expression) -> bool:
        """Whether a value is a tensor of floating-point numbers, of which means can be taken."""
        ...


@dataclass(frozen=True)
class Visit:
    """One node of I as the recursion met it: whose datum it followed, and whose it took."""

    path: str
    parent: Stream
    donor: Stream
    classes: Classes | PositionClasses


@dataclass(frozen=True)
class Scrubbed:
    """A hypothesis as an expression, with the nodes that it visited and the streams that they drew, by path.

    A node reached on the same datum by several paths, with nothing drawn at or below it, is visited once: what is below
    it stands under the path met first.
    """

    output: Expression
    visits: tuple[Visit, ...]
    streams: Mapping[str, Stream]
    leaves_open: bool  # whether anything is left to a donor u
    idle: tuple[str, ...]  # nodes of I whose claims change nothing: unclaimed, they would have the same streams


class Planner:
    """Turns hypotheses into expressions."""

    def __init__(self, policy: Policy, dataset: Dataset) -> None:
        self.policy = policy
        self.dataset = dataset
        self.expressions = Expressions()

    def plain(self, graph: Graph, stream: Stream) -> Expression:
        """The graph's output by an ordinary forward pass on one stream."""
        return self.expressions.plain(graph, stream)

    def scrubbed(self, hypothesis: Hypothesis) -> Scrubbed:
        """The output of G with every input replaced that the hypothesis calls replaceable.

        Raises `HypothesisError` where the paths with donors of their own are too many to follow.
        """
        refuse_illegal_positions(hypothesis, self.policy)
        walk = _Walk(self, hypothesis)
        walk.refuse_too_many_streams()
        output = hypothesis.I.output
        try:
            root = walk.visit(output, (output,), References())
        except RecursionError:
            raise HypothesisError(
                f"the claims of {len(hypothesis.I)} nodes are nested too deeply to be followed; "
                f"claim fewer of the nodes on the longest path"
            ) from None
        idle = tuple(name for name in hypothesis.I.order if name != output and name not in walk.effective)
        return Scrubbed(root, tuple(walk.visits), walk.streams, walk.leaves_open, idle)

    def feature(self, hypothesis: Hypothesis, name: str) -> Feature:
        """The value of a node of I, as a feature of the data."""
        I = hypothesis.I
        value = self.expressions.forward(I, name, dict.fromkeys(I.columns, References()))
        return Feature(name, value, I[name].per_position, I[name].binning)

    def classes(self, hypothesis: Hypothesis, name: str) -> Classes | PositionClasses:
        """Which rows agree on a node of I."""
        return self.dataset.classes(self.feature(hypothesis, name))

    def agreement(self, hypothesis: Hypothesis, name: str) -> Classes | PositionClasses:
        """Which rows may stand in: those that agree on the node, and on all nodes that share its donor."""
        I = hypothesis.I
        members = sorted(self.policy.group(name) & I.keys())
        if len(members) == 1:
            return self.classes(hypothesis, name)
        if len({I.readers(member) for member in members}) > 1 or any(I[member].per_position for member in members):
            raise HypothesisError(
                f"together names {', '.join(members)}, which must be whole claims read by the same node of I"
            )
        partitions = [self.classes(hypothesis, member) for member in members]
        return intersection([part for part in partitions if isinstance(part, Classes)])

    def unclaimed(self, h: Hypothesis, name: str, p: str, own: Stream, other: Callable[[], Stream]) -> Expression:
        """The input `p` that I's node does not claim, where `own` is the node's datum and `other` gives u.

        A donor's value, or what the policy puts in its place.
        """
        columns, instead = h.G.upstream_columns[p], self.policy.unclaimed
        if p in h.I[name].keeps:
            return self.expressions.forward(h.G, p, dict.fromkeys(columns, own))
        if p not in h.G:
            return self.expressions.leaf(p, own if p in h.read_columns(name) else other())
        passed = h.passed_columns(name) & columns
        donated = self.expressions.forward(h.G, p, {c: own if c in passed else other() for c in columns})
        if passed or instead == "resample" or not self.dataset.is_floating(donated):
            return donated
        if callable(instead) or instead == "zero":
            return self.expressions.call(instead if callable(instead) else torch.zeros_like, (donated,))
        by = instead.by if isinstance(instead, mean) else None
        grouping = self.expressions.leaf(by, References()) if by else self.expressions.call(Reads(), ())
        classes = self.dataset.classes(Feature(by or "everything", grouping, per_position=False))
        assert isinstance(classes, Classes)  # for the type checker: only claims per position have others
        unmixed = self.expressions.forward(h.G, p, dict.fromkeys(columns, References()))
        return self.expressions.averaged(unmixed, classes, own)


def other_path(path: Path, p: str, h: Hypothesis, policy: Policy) -> Path:
    """The path of the donor u that the node at `path` takes for its unclaimed input `p`; no node's path is like it."""
    role = "(other)" if "other" in h.I else "other"
    return (*path, p, role) if policy.others == "input" else (*path, role)


@dataclass
class _Walk:
    """The recursion through one hypothesis."""

    planner: Planner
    h: Hypothesis
    visits: list[Visit] = field(default_factory=list)
    streams: dict[str, Stream] = field(default_factory=dict)
    leaves_open: bool = False
    effective: set[str] = field(default_factory=set)
    _seen: dict[Any, Expression] = field(default_factory=dict)
    _branching: dict[str, int] = field(default_factory=dict)

    def visit(self, name: str, path: Path, x: Stream) -> Expression:
        """An activation of c(name), where `x` is the node's own datum: `run` of the paper's algorithm."""
        # Where nothing below draws by path, all paths that bring the same datum are one.
        key = (name, x, path if self.streams_below(name) else None)
        if key not in self._seen:
            image = self.h.G[self.h.image(name)]
            arguments = tuple(self._input(name, path, x, p) for p in image.inputs)
            self._seen[key] = self.planner.expressions.call(image.fn, arguments)
        return self._seen[key]

    def _input(self, name: str, path: Path, x: Stream, p: str) -> Expression:
        claimed = self.h.claimed_inputs(name).get(p)
        if claimed is None:
            return self._unclaimed(name, path, x, p, self._other)
        value = self._claimed(claimed, (*path, claimed), x)
        if claimed not in self.effective and value is not self._unclaimed(name, path, x, p, self._other_stream):
            self.effective.add(claimed)
        return value

    def _unclaimed(self, name: str, path: Path, x: Stream, p: str, other: Other) -> Expression:
        """An input that the node does not claim; `other` says which stream u is."""
        return self.planner.unclaimed(self.h, name, p, x, lambda: other(path, p, x))

    def _claimed(self, name: str, path: Path, parent: Stream) -> Expression:
        node = self.h.I[name]
        classes = self.planner.agreement(self.h, name)
        donor = self._chosen(name, "/".join(path), parent, self._donor(name, path, parent, classes))
        if node.swaps:
            self.visits.append(Visit("/".join(path), parent, donor, classes))
        self.streams["/".join(path)] = donor
        by_position = draws_by_position(self.h, self.planner.policy, name)
        positions = len(classes.at) if by_position and isinstance(classes, PositionClasses) else parent.positions
        if donor.positions != positions:
            raise HypothesisError(
                f"donors gives {name!r} a row for each of {donor.positions} positions, but there are {positions}"
            )
        value, axis = self.visit(name, path, donor), self.h.G[self.h.image(name)].position_axis
        if not by_position or axis is None or positions is None:  # the last two for the type checker
            return value
        return self.planner.expressions.assembled(value, axis, positions)

    def _donor(self, name: str, path: Path, parent: Stream, classes: Classes | PositionClasses) -> Stream:
        """The stream x' of a claimed node, given its parent's."""
        if not self.h.I[name].swaps:
            return parent
        given = self.planner.policy.donors.get(name)
        if isinstance(given, Fixed):
            return given.at_positions(parent.positions)
        if given is not None:
            return self.planner.dataset.made(given, path, parent, self.planner.feature(self.h, name))
        if self._passes_only_what_agrees(name):
            return parent
        positions = len(classes.at) if isinstance(classes, PositionClasses) else parent.positions
        # Nodes that share their donor share its key, so that they are one stream.
        key = (*path[:-1], "+".join(sorted(self.planner.policy.group(name))))
        return Drawn(key, parent, classes, positions)

    def _passes_only_what_agrees(self, name: str) -> bool:
        """Whether every agreeing donor passes on the same as the parent's own datum, which may then stand for itself.

        Agreement on `reads(...)` is agreement on every column and every child's feature, and those are all that the
        donor decides. (A `u` that must differ from the donor would be decided by it too.)
        """
        node = self.h.I[name]
        return not node.swaps or (node.claims_inputs_alone and not self.planner.policy.exclude_self)

    def _other(self, path: Path, p: str, x: Stream) -> Stream:
        """The stream u of what a node leaves unclaimed."""
        self.leaves_open = True
        other = self._other_stream(path, p, x)
        recorded = "/".join(other.key if isinstance(other, Drawn) else ("other",))
        self.streams[recorded] = self._chosen(path[-1], recorded, x, other)
        return self.streams[recorded]

    def _chosen(self, name: str, recorded: str, x: Stream, donor: Stream) -> Stream:
        """The stream that the policy takes in place of the one drawn for a node whose reader's datum is `x`."""
        choose = self.planner.policy.choose
        return donor if choose is None or donor is x else choose(name, recorded, x, donor)

    def _other_stream(self, path: Path, p: str, x: Stream) -> Stream:
        policy = self.planner.policy
        if isinstance(policy.others, Fixed):
            return policy.others
        if policy.others == "reference":
            return Drawn(("other",), References() if policy.exclude_self else None)
        key = other_path(path, p, self.h, policy)
        return Drawn(key, x if policy.exclude_self else None, positions=x.positions)

    # -- how many streams there are, without making them

    def streams_below(self, name: str) -> int:
        """The number of streams drawn by path at or below a node, if every path has its own."""
        if not self._branching:
            for n in self.h.I.order:
                own = self._unclaimed_streams(n) if self.planner.policy.others in ("node", "input") else 0
                children = self.h.claimed_inputs(n).values()
                drawn = sum(self._branching[m] + (not self._passes_only_what_agrees(m)) for m in children)
                self._branching[n] = own + drawn
        return self._branching[name]

    def _unclaimed_streams(self, name: str) -> int:
        """How many streams u a node draws."""
        claimed, read, passed = self.h.claimed_inputs(name), self.h.read_columns(name), self.h.passed_columns(name)
        keeps = self.h.I[name].keeps
        open_inputs = [
            p
            for p in self.h.G[self.h.image(name)].inputs
            if p not in claimed
            and p not in keeps
            and not (self.h.G.upstream_columns[p] <= (passed if p in self.h.G else set(read)))
        ]
        return len(open_inputs) if self.planner.policy.others == "input" else min(1, len(open_inputs))

    def refuse_too_many_streams(self) -> None:
        """Raise before the work, where the paths that draw donors of their own are too many to follow."""
        count, cap = self.streams_below(self.h.I.output), self.planner.policy.cap
        if count > cap:
            raise HypothesisError(
                f"this hypothesis has {count:,} distinct streams of donors, one per path, and the cap is {cap:,}; "
                f'score it with others="reference", or claim whole columns with reads(...), '
                f"so that paths share their streams"
            )
