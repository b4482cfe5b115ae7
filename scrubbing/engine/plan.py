"""From hypotheses to the distinct calls that they need: the paper's recursion, memoised by value.

Values are shared within a hypothesis and across all hypotheses planned together. Paths are followed one by one only
where each draws its own donors.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from scrubbing.engine.expressions import Expression
from scrubbing.engine.planning import Planner
from scrubbing.engine.policy import Policy, mean
from scrubbing.engine.positions import refuse_illegal_positions
from scrubbing.engine.rules import (
    ClaimedInput,
    OpenInput,
    OwnInput,
    Rules,
    may_stay,
    rules,
    upstream_columns,
)
from scrubbing.engine.sampling.agreement import Classes, PositionClasses, alike
from scrubbing.engine.sampling.streams import Drawn, Fixed, References, Stream
from scrubbing.errors import HypothesisError
from scrubbing.graph.hypothesis import Hypothesis

Path = tuple[str, ...]


@dataclass(frozen=True)
class Visit:
    """One visit of the recursion to a node of I: the datum of its reader, and its own.

    Rows in one class of `alike` give the same value as the donor; None where the node runs on its reader's datum.
    """

    path: str
    parent: Stream
    donor: Stream
    classes: Classes | PositionClasses
    alike: Classes | None


@dataclass(frozen=True)
class Scrubbed:
    """A hypothesis as an expression, with the nodes that it visited and the streams that they drew, by path.

    `values` has the value of each visited node, by path too. If several paths reach a node on the same datum, and
    nothing is drawn at or below it, it is visited once, under the first path.
    """

    output: Expression
    visits: tuple[Visit, ...]
    streams: Mapping[str, Stream]
    values: Mapping[str, Expression]
    leaves_open: bool  # whether any unclaimed input runs on a donor u
    idle: tuple[str, ...]  # nodes of I whose claims change nothing: the streams would be the same without them
    arguments: tuple[Expression, ...]  # of the output
    resampled: tuple[str, ...]  # inputs that the policy would average, resampled since a claim passes columns of theirs


def scrubbed(planner: Planner, hypothesis: Hypothesis) -> Scrubbed:
    """The output of G with every input replaced that the hypothesis calls replaceable.

    Raises `HypothesisError` where the paths with donors of their own are too many to follow.
    """
    refuse_illegal_positions(hypothesis, planner.policy)
    walk = _Walk(planner, hypothesis)
    walk.refuse_too_many_streams()
    return walk.walked()


# A step of the recursion: it yields the steps that it waits for, and returns an expression. Run by `_completed`, it
# takes no more of Python's stack for a deep hypothesis than for a shallow one.
Step = Generator["Step", Expression, Expression]


def _completed(step: Step) -> Expression:
    waiting, value = [step], None
    while waiting:
        try:
            waiting.append(waiting[-1].send(value))  # type: ignore[arg-type]  # a generator starts with None
            value = None
        except StopIteration as finished:
            waiting.pop()
            value = finished.value
    assert value is not None  # for the type checker
    return value


@dataclass
class _Walk:
    """The recursion through one hypothesis: `run` of the paper's algorithm."""

    planner: Planner
    h: Hypothesis
    visits: list[Visit] = field(default_factory=list)
    streams: dict[str, Stream] = field(default_factory=dict)
    values: dict[str, Expression] = field(default_factory=dict)
    leaves_open: bool = False
    effective: set[str] = field(default_factory=set)
    arguments: tuple[Expression, ...] = ()
    resampled: dict[str, None] = field(default_factory=dict)
    _seen: dict[Any, Expression] = field(default_factory=dict)
    _rules: dict[str, Rules] = field(default_factory=dict)
    _branching: dict[str, int] = field(default_factory=dict)
    _known_alike: dict[tuple[str, int], Classes] = field(default_factory=dict)

    @property
    def policy(self) -> Policy:
        return self.planner.policy

    def walked(self) -> Scrubbed:
        """The whole hypothesis, from the output."""
        output = self.h.I.output
        root = _completed(self.visit(output, (output,), References()))
        idle = tuple(name for name in self.h.I.order if name != output and name not in self.effective)
        return Scrubbed(
            root,
            tuple(self.visits),
            self.streams,
            self.values,
            self.leaves_open,
            idle,
            self.arguments,
            tuple(self.resampled),
        )

    def rules(self, name: str) -> Rules:
        """Where a node takes each input from."""
        if name not in self._rules:
            self._rules[name] = rules(self.h, self.policy, name)
        return self._rules[name]

    def visit(self, name: str, path: Path, x: Stream) -> Step:
        """An activation of c(name), where `x` is the node's own datum."""
        # Where nothing below draws by path, all paths that bring the same datum are one.
        key = (name, x, path if self.streams_below(name) else None)
        if key not in self._seen:
            self._seen[key] = yield self._computed(name, path, x)
            self.values["/".join(path)] = self._seen[key]
        return self._seen[key]

    def _computed(self, name: str, path: Path, x: Stream) -> Step:
        image, found = self.h.image(name), self.rules(name)
        if found.is_plain and name != self.h.I.output:
            return self.planner.on(x, self.h.G, image)
        arguments, plain = list[Expression](), self.planner.all_on(x, self.h.G)
        for taken in found.inputs:
            match taken:
                case OwnInput(p):
                    arguments.append(plain[p])
                case OpenInput():
                    arguments.append(self._unclaimed(name, taken, path, x))
                case ClaimedInput():
                    arguments.append((yield self._claimed(name, taken, path, x)))
        self.arguments = tuple(arguments)  # at last, those of the output
        return self.planner.expressions.call(self.h.G[image].fn, self.arguments, image)

    def _unclaimed(self, name: str, open_: OpenInput, path: Path, x: Stream) -> Expression:
        if self.policy.unclaimed != "resample" and open_.own:
            self.resampled[f"{name}'s {open_.input}"] = None
        return self.planner.unclaimed(self.h.G, open_, x, lambda: self._other(path, open_.input, x))

    def _claimed(self, reader: str, claimed: ClaimedInput, above: Path, parent: Stream) -> Step:
        name = claimed.child
        path = (*above, name)
        recorded = "/".join(path)
        classes = self.planner.shared_classes(self.h, claimed.group)
        donor = self._chosen(name, recorded, parent, self._donor(claimed, path, parent, classes))
        if self.h.I[name].swaps:
            alike = None if donor == parent else self._alike(name)
            self.visits.append(Visit(recorded, parent, donor, classes, alike))
        self.streams[recorded] = donor
        positions = parent.positions
        if claimed.by_position and isinstance(classes, PositionClasses):
            positions = len(classes.at)
        if donor.positions != positions:
            raise HypothesisError(
                f"donors gives {name!r} a row for each of {donor.positions} positions, but there are {positions}"
            )
        value, axis = (yield self.visit(name, path, donor)), self.h.G[claimed.input].position_axis
        if claimed.by_position and axis is not None and positions is not None:  # the last two for the type checker
            value = self.planner.expressions.assembled(value, axis, positions)
            self.values[recorded] = value
        if name not in self.effective and self._has_effect(reader, claimed, above, parent, value):
            self.effective.add(name)
        return value

    def _alike(self, name: str) -> Classes:
        """The rows that pass on the same as a node's donor: the same columns, and the same to its children."""
        known = name, self.planner.dataset.rows  # rows may be made on the way
        if known not in self._known_alike:
            found = self.rules(name)
            columns = {c for p in found.own for c in upstream_columns(self.h.G, p)}
            columns |= {c for open_ in found.inputs if isinstance(open_, OpenInput) for c in open_.own}
            by = self.policy.unclaimed.by if isinstance(self.policy.unclaimed, mean) else None
            columns |= {by} if by and any(open_.averaged for open_ in found.donated) else set()
            children = [claimed.child for claimed in found.claimed if claimed.donor != "given"]
            made = any(claimed.donor == "made" for claimed in found.claimed)
            everything = made or (self.policy.exclude_self and bool(children or found.donated))
            parts = [self.planner.classes(self.h, child) for child in children]
            parts += [self.planner.column_classes(column) for column in sorted(columns)]
            self._known_alike[known] = alike(parts, self.planner.dataset.rows, apart=everything)
        return self._known_alike[known]

    def _has_effect(self, reader: str, claimed: ClaimedInput, path: Path, x: Stream, value: Expression) -> bool:
        """Whether the claim of an input changes where its value comes from."""
        p = claimed.input
        upstream = self.h.G.upstream_columns[p]
        passed = upstream & self.h.passed_columns(reader)
        averaged = self.policy.unclaimed != "resample" and not passed
        if upstream - passed and self.policy.others in ("node", "input"):
            return True  # unclaimed, it would run on a donor u of its own
        open_ = OpenInput(p, passed, upstream - passed, averaged)
        return value is not self.planner.unclaimed(self.h.G, open_, x, lambda: self._other_stream(path, p, x))

    def _donor(self, claimed: ClaimedInput, path: Path, parent: Stream, classes: Classes | PositionClasses) -> Stream:
        """The stream x' of a claimed node, given its parent's."""
        given = self.policy.donors.get(claimed.child)
        if claimed.donor == "given" and isinstance(given, Fixed):
            return given.at_positions(parent.positions)
        if claimed.donor == "made" and callable(given):
            feature = self.planner.feature(self.h, claimed.child)
            return self.planner.dataset.made(given, path, parent, feature)
        if claimed.donor == "own":
            return parent
        positions = len(classes.at) if isinstance(classes, PositionClasses) else parent.positions
        # Nodes that share their donor share its key, so that they are one stream.
        key = (*path[:-1], "+".join(sorted(self.policy.group(claimed.child))))
        return Drawn(key, parent, classes, positions)

    def _other(self, path: Path, p: str, x: Stream) -> Stream:
        """The stream u of what a node leaves unclaimed."""
        self.leaves_open = True
        other = self._other_stream(path, p, x)
        recorded = "/".join(other.key if isinstance(other, Drawn) else ("other",))
        self.streams[recorded] = self._chosen(path[-1], recorded, x, other)
        return self.streams[recorded]

    def _chosen(self, name: str, recorded: str, x: Stream, donor: Stream) -> Stream:
        """The stream that the policy takes in place of the one drawn for a node whose reader's datum is `x`."""
        choose = self.policy.choose
        return donor if choose is None or donor is x else choose(name, recorded, x, donor)

    def _other_stream(self, path: Path, p: str, x: Stream) -> Stream:
        policy = self.policy
        if isinstance(policy.others, Fixed):
            return policy.others
        if policy.others == "reference":
            return Drawn(("other",), References() if policy.exclude_self else None)
        role = "(other)" if "other" in self.h.I else "other"  # which is no node's path
        key = (*path, p, role) if policy.others == "input" else (*path, role)
        return Drawn(key, x if policy.exclude_self else None, positions=x.positions)

    # -- how many streams there are, without making them

    def streams_below(self, name: str) -> int:
        """The number of streams drawn by path at or below a node, if every path has its own."""
        if not self._branching:
            by_path, by_input = self.policy.others in ("node", "input"), self.policy.others == "input"
            for n in self.h.I.order:
                found = self.rules(n)
                drawn = sum(self._branching[i.child] + self._is_drawn(i) for i in found.claimed)
                self._branching[n] = drawn + (len(found.sharing_u(by_input=by_input)) if by_path else 0)
        return self._branching[name]

    def _is_drawn(self, claimed: ClaimedInput) -> bool:
        """Whether each path draws its own donor here; given donors count."""
        return self.h.I[claimed.child].swaps and not may_stay(self.h, self.policy, claimed.child)

    def refuse_too_many_streams(self) -> None:
        """Raise, before anything is computed, if too many paths draw their own donors."""
        count, cap = self.streams_below(self.h.I.output), self.policy.cap
        if count <= cap:
            return
        advice = "claim whole columns with reads(...), so that paths share their streams, or raise cap="
        if self.policy.others != "reference":
            advice = f'score it with others="reference", or {advice}'
        raise HypothesisError(
            f"this hypothesis has {count:,} distinct streams of donors, one per path, and the cap is {cap:,}; {advice}"
        )
