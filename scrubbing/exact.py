"""The exact law of the scrubbed loss: laws of values, propagated node by node instead of sampled donor by donor.

What a visited node passes on depends on its own datum only through what it reads of it, and its inputs are independent
given that. So each node needs one law for each distinguishable datum, and no combination of donors is enumerated
beyond the inputs of one node.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from scrubbing.correspondence import Hypothesis
from scrubbing.errors import DataError, HypothesisError
from scrubbing.evaluate import FIRST_CHUNK, LIVE_BYTES, Evaluator, Live
from scrubbing.expressions import Expressions
from scrubbing.plan import Planner, Policy
from scrubbing.sampling.agreement import Classes, PositionClasses
from scrubbing.sampling.laws import Donors, Laws, Links, first_rows, joint, mixture, product, product_sizes, ragged
from scrubbing.sampling.streams import Fixed, Sample
from scrubbing.sampling.values import concatenated, distinct, one_per_row, take

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


def exact_losses(
    hypothesis: Hypothesis,
    columns: Mapping[str, Tensor],
    references: Int[np.ndarray, " reference"],
    policy: Policy,
    *,
    cap: int = 2_000_000,
) -> ExactLosses:
    """The law of the scrubbed loss of the references in the given rows, over all draws of donors.

    Raises `HypothesisError`, before the work, where more than `cap` combinations of values would meet at one node.
    """
    rows = len(next(iter(columns.values())))
    _refuse_beyond(cap, rows, f"go through {rows:,} rows of data")
    _refuse_nested_positions(hypothesis)
    distinct_rows, place = np.unique(references, return_inverse=True)
    contexts = _contexts(hypothesis, columns, distinct_rows, policy, cap)
    return _Propagation(hypothesis, columns, policy, cap, contexts).losses(distinct_rows, place)


def _refuse_beyond(cap: int, count: float, what: str) -> None:
    if count > cap:
        raise HypothesisError(
            f"exact mode would have to {what}, and its cap is {cap:,}; estimate the loss by sampling instead, "
            f"score fewer references, leave less to chance (reads(...) of whole columns), or raise the cap"
        )


def _shown(count: float) -> str:
    if count < 1e15:
        return f"{count:,.0f}"
    return f"about 10^{np.log10(count):.0f}" if np.isfinite(count) else "more than 10^308"


def _refuse_nested_positions(h: Hypothesis) -> None:
    below: dict[str, set[str]] = {}
    for name in h.I.order:
        below[name] = set().union(*({m} | below[m] for m in h.claimed_inputs(name).values()))
        nested = sorted(m for m in below[name] if h.I[m].per_position)
        if h.I[name].per_position and nested:
            raise HypothesisError(
                f"{nested[0]!r} is claimed per position below another claim per position; claim it whole"
            )


# -- what all of a hypothesis has in common


@dataclass(frozen=True, eq=False)
class _Contexts:
    """What is drawn or given once for a whole run: the donor u of every unclaimed input, and fixed donors."""

    row: Int[np.ndarray, " context"]  # the reference whose fixed donors these are
    other: Int[np.ndarray, " context"] | None  # u, if it is one for the whole hypothesis
    links: Links  # from the distinct references to the contexts

    def __len__(self) -> int:
        return len(self.row)


def _contexts(
    h: Hypothesis, columns: Mapping[str, Tensor], references: Int[np.ndarray, " distinct"], policy: Policy, cap: int
) -> _Contexts:
    n = len(references)
    by_reference = isinstance(policy.others, Fixed) or any(name in h.I for name in policy.donors)
    row = references if by_reference else references[:1]
    if policy.others != "reference":
        links = Links(np.arange(n), np.arange(n) if by_reference else np.zeros(n, dtype=np.int64), np.ones(n))
        return _Contexts(row, policy.others.rows[row] if isinstance(policy.others, Fixed) else None, links)
    rows = len(next(iter(columns.values())))
    open_columns = {c for name in h.I for inputs in _open_inputs(h, name) for c in _open_columns(h, name, inputs)}
    everything = Donors(_everything(rows), _alike(columns, open_columns, rows), policy.exclude_self)
    drawn = everything.links(references)
    _refuse_beyond(
        cap, len(drawn.to), f'follow {len(drawn.to):,} pairs of a reference and an other (others="reference")'
    )
    others, number = np.unique(drawn.to, return_inverse=True)
    to = number + (len(others) * drawn.case if by_reference else 0)
    links = Links(drawn.case, to, drawn.probability)
    return _Contexts(np.repeat(row, len(others)), np.tile(others, len(row)), links)


def _everything(rows: int) -> Classes:
    return Classes(np.zeros(rows, dtype=np.int64))


def _numbers(columns: Mapping[str, Tensor], names: Any, rows: int) -> Int[np.ndarray, " row"]:
    """Equal numbers for rows that are equal in the named columns."""
    return joint([distinct(columns[name], rows)[1] for name in sorted(names)], rows)


def _alike(columns: Mapping[str, Tensor], names: Any, rows: int) -> Int[np.ndarray, " row"]:
    return _representatives(_numbers(columns, names, rows))


def _representatives(numbers: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """For each place the first one with the same number."""
    return first_rows(numbers)[numbers]


def _varies(h: Hypothesis, p: str) -> bool:
    """Whether a node of G depends on the data at all."""
    return bool(h.G.upstream_columns[p])


def _open_inputs(h: Hypothesis, name: str, *, apart: bool = False) -> list[tuple[str, ...]]:
    """The inputs that I's node does not claim, in groups that share one u."""
    known = {*h.claimed_inputs(name), *h.read_columns(name)}
    inputs = tuple(p for p in h.G[h.image(name)].inputs if p not in known and _varies(h, p))
    return [(p,) for p in inputs] if apart else [inputs] if inputs else []


def _upstream(h: Hypothesis, inputs: tuple[str, ...]) -> frozenset[str]:
    return frozenset().union(*(h.G.upstream_columns[p] for p in inputs))


def _open_columns(h: Hypothesis, name: str, inputs: tuple[str, ...]) -> frozenset[str]:
    return _upstream(h, inputs) - h.passed_columns(name)


# -- one visited node


@dataclass(frozen=True, eq=False)
class _Draw:
    """One donor that a visited node of I takes, and what it decides.

    It is drawn (`donors`), or given for each context (`fixed`), or else the node's own datum.
    """

    inputs: tuple[str, ...]  # of the image, which the donor decides
    child: str | None  # the node of I that runs on it; None: an ordinary forward pass
    position: int | None  # where only one position of the input is decided
    alike: Int[np.ndarray, " row"]  # one row for all that make no difference as the donor
    own_key: Int[np.ndarray, " row"]  # what matters of the node's own datum
    context_key: Int[np.ndarray, " context"]  # what matters of the context
    own_part: Int[np.ndarray, " row"]  # one row for all that pass on the same columns past the donor
    donors: Donors | None
    fixed: Int[np.ndarray, " context"] | None


@dataclass(frozen=True, eq=False)
class _Wired:
    """A draw in all conditions in which its node is visited: which cases of the draw they are, and where these lead."""

    draw: _Draw
    group: Int[np.ndarray, " condition"]
    links: Links


@dataclass(frozen=True, eq=False)
class _Known:
    """The laws of a node's value in all conditions in which it is visited."""

    laws: Laws
    values: Any


# -- all of them


@dataclass
class _Propagation:
    """One hypothesis. A condition of a node is its own datum and a context, as one number: row * contexts + context."""

    h: Hypothesis
    columns: Mapping[str, Tensor]
    policy: Policy
    cap: int
    contexts: _Contexts
    draws: dict[str, list[_Draw]] = field(default_factory=dict)
    own: dict[str, np.ndarray] = field(default_factory=dict)  # by node and row: the first row with the same laws
    context: dict[str, np.ndarray] = field(default_factory=dict)  # by node and context: the first that does the same
    conditions: dict[str, np.ndarray] = field(default_factory=dict)
    wired: dict[str, list[_Wired]] = field(default_factory=dict)
    known: dict[str, _Known] = field(default_factory=dict)

    @cached_property
    def rows(self) -> int:
        return len(next(iter(self.columns.values())))

    @cached_property
    def planner(self) -> Planner:
        return Planner(self.policy, Evaluator(self.columns, Sample(self.contexts.row[:1], self.rows)).classes)

    def losses(self, references: Int[np.ndarray, " distinct"], place: Int[np.ndarray, " reference"]) -> ExactLosses:
        """Upwards to see what matters to each node, downwards to see in which conditions, and upwards to compute."""
        root, links = self.h.I.output, self.contexts.links
        for name in self.h.I.order:
            self._describe(name)
        codes = self._condition(root, references[links.case], links.to)
        wanted = defaultdict(list, {root: [codes]})
        for name in reversed(self.h.I.order):
            if name in wanted:
                self._wire(name, wanted)
        for name in self.h.I.order:
            if name in wanted:
                self.known[name] = self._law(name)
        losses = self.known[root].values
        if not isinstance(losses, Tensor) or losses.ndim != 1:
            raise DataError("the output of G must be one loss per row, for example loss.mean(dim=-1)")
        to = Links(links.case, np.searchsorted(self.conditions[root], codes), links.probability)
        return ExactLosses(losses.cpu().double().numpy(), self.known[root].laws, to, place)

    def _condition(self, name: str, x: Int[np.ndarray, " n"], s: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        return self.own[name][x] * len(self.contexts) + self.context[name][s]

    # -- upwards: what matters

    def _describe(self, name: str) -> None:
        """Which donors a node takes, and what matters of its own datum and of the context."""
        draws = [*self._claimed(name), *self._unclaimed(name)]
        own = joint([*self._direct(name), *(draw.own_key for draw in draws)], self.rows)
        context = joint([draw.context_key for draw in draws], len(self.contexts))
        self.draws[name] = draws
        self.own[name], self.context[name] = _representatives(own), _representatives(context)

    def _direct(self, name: str) -> list[Int[np.ndarray, " row"]]:
        """The columns that the image takes from the node's own datum."""
        read = self.h.read_columns(name)
        return [_numbers(self.columns, [p], self.rows) for p in self.h.G[self.h.image(name)].inputs if p in read]

    def _claimed(self, name: str) -> Iterator[_Draw]:
        for p, child in self.h.claimed_inputs(name).items():
            if _varies(self.h, p):
                for position, source in self._sources(child):
                    yield self._draw((p,), source, self.own[child], child=child, position=position)

    def _sources(self, child: str) -> Iterator[tuple[int | None, Classes | np.ndarray | None]]:
        """By position, if it is claimed so: the classes that a donor is drawn from, or rows given, or neither."""
        node, given = self.h.I[child], self.policy.donors.get(child)
        if given is not None:
            rows = given.rows[self.contexts.row]
        elif node.is_reads and not node.per_position and not self.policy.exclude_self:
            yield None, None  # every agreeing donor passes on the same as the parent's own datum
            return
        else:
            rows = self.planner.classes(self.h, child)
        if isinstance(rows, Classes) or (isinstance(rows, np.ndarray) and rows.ndim == 1):
            yield None, rows
            return
        if not node.per_position:
            raise HypothesisError(
                f"donors gives {child!r} a row for each position, but {child!r} is not claimed per position"
            )
        if self.h.G[self.h.image(child)].position_axis is None:
            raise HypothesisError(
                f"{child!r} is claimed per position, but {self.h.image(child)!r} does not say which axis of its value "
                f"runs over positions: give its Node a position_axis"
            )
        yield from enumerate(rows.at if isinstance(rows, PositionClasses) else rows.T)

    def _unclaimed(self, name: str) -> Iterator[_Draw]:
        passed = self.h.passed_columns(name)
        source = _everything(self.rows) if self.contexts.other is None else self.contexts.other
        for inputs in _open_inputs(self.h, name, apart=self.policy.others == "input"):
            alike = _alike(self.columns, _open_columns(self.h, name, inputs), self.rows)
            yield self._draw(inputs, source, alike, passed=passed & _upstream(self.h, inputs))

    def _draw(
        self,
        inputs: tuple[str, ...],
        source: Classes | np.ndarray | None,
        alike: Int[np.ndarray, " row"],
        *,
        child: str | None = None,
        position: int | None = None,
        passed: frozenset[str] = frozenset(),
    ) -> _Draw:
        own, context = [_numbers(self.columns, passed, self.rows)], [self.context[child]] if child else []
        if isinstance(source, Classes):
            own += [source.ids, alike] if self.policy.exclude_self else [source.ids]
        elif source is None:
            own.append(alike)
        else:
            context.append(alike[source])
        return _Draw(
            inputs=inputs,
            child=child,
            position=position,
            alike=alike,
            own_key=joint(own, self.rows),
            context_key=joint(context, len(self.contexts)),
            own_part=_representatives(own[0]),
            donors=Donors(source, alike, self.policy.exclude_self) if isinstance(source, Classes) else None,
            fixed=source if isinstance(source, np.ndarray) else None,
        )

    # -- downwards: in which conditions

    def _wire(self, name: str, wanted: dict[str, list[np.ndarray]]) -> None:
        """Note in which conditions a node is visited, and ask for those of its children that these lead to."""
        self.conditions[name] = np.unique(np.concatenate(wanted[name]))
        x, s = np.divmod(self.conditions[name], len(self.contexts))
        self.wired[name] = [self._links(name, draw, x, s) for draw in self.draws[name]]
        for wired in self.wired[name]:
            if wired.draw.child:
                wanted[wired.draw.child].append(wired.links.to)

    def _links(self, name: str, draw: _Draw, x: Int[np.ndarray, " n"], s: Int[np.ndarray, " n"]) -> _Wired:
        group = joint([draw.own_key[x], draw.context_key[s]], len(x))
        first = first_rows(group)
        x, s = x[first], s[first]
        if draw.donors is None:
            donor = draw.alike[x if draw.fixed is None else draw.fixed[s]]
            links = Links(np.arange(len(x)), donor, np.ones(len(x)))
        else:
            count = draw.donors.count(x)
            _refuse_beyond(self.cap, count, f"follow {count:,} donors of {', '.join(draw.inputs)} at {name!r}")
            links = draw.donors.links(x)
        if draw.child:
            to = self._condition(draw.child, links.to, s[links.case])
        else:
            to = draw.own_part[x][links.case] * self.rows + links.to
        return _Wired(draw, group, Links(links.case, to, links.probability))

    # -- upwards: the laws

    def _law(self, name: str) -> _Known:
        """The laws of what a node passes on, from those of its inputs."""
        x, _ = np.divmod(self.conditions[name], len(self.contexts))
        inputs = [self._input(name, wired) for wired in self.wired[name]]
        factors = [(known.laws, wired.group) for known, wired in zip(inputs, self.wired[name], strict=True)]
        self._refuse_too_large(name, factors, len(x))
        case, atoms, probability = product(factors, len(x))
        number = joint([*(column[x[case]] for column in self._direct(name)), *atoms], len(case))
        first = first_rows(number)
        pieces = [(w.draw, k.values, a[first]) for w, k, a in zip(self.wired[name], inputs, atoms, strict=True)]
        values, equal = distinct(self._evaluated(name, pieces, x[case[first]]), len(first))
        return _Known(Laws(case, number, probability).renumbered(equal), values)

    def _refuse_too_large(self, name: str, factors: list[tuple[Laws, np.ndarray]], conditions: int) -> None:
        count = float(product_sizes(factors, conditions).sum())
        most = defaultdict(list)
        for (laws, _), wired in zip(factors, self.wired[name], strict=True):
            most[" and ".join(wired.draw.inputs)].append(int(laws.sizes.max()))
        each = ", ".join(
            f"{inputs} up to {max(sizes):,}" + (f" at each of {len(sizes)} positions" if len(sizes) > 1 else "")
            for inputs, sizes in most.items()
        )
        what = f"combine {_shown(count)} values of inputs at {name!r}, visited in {conditions:,} conditions ({each})"
        _refuse_beyond(self.cap, count, what)

    def _input(self, name: str, wired: _Wired) -> _Known:
        """The laws of what one draw passes on, in each of its cases."""
        draw, links = wired.draw, wired.links
        if draw.child:
            known, to = self.known[draw.child], np.searchsorted(self.conditions[draw.child], links.to)
            if draw.position is not None:
                known = self._at(known, draw.child, draw.position)
        else:
            codes, to = np.unique(links.to, return_inverse=True)
            values, number = distinct(self._forward(name, draw, codes), len(codes))
            known = _Known(Laws(np.arange(len(codes)), number, np.ones(len(codes))), values)
        return _Known(mixture(known.laws, Links(links.case, to, links.probability)), known.values)

    def _at(self, known: _Known, child: str, position: int) -> _Known:
        """The laws of one position of a value."""
        axis = self.h.G[self.h.image(child)].position_axis
        values, number = distinct(known.values.select(axis, position), len(known.values))
        return _Known(known.laws.renumbered(number), values)

    # -- the network, on many rows at once

    def _forward(self, name: str, draw: _Draw, codes: Int[np.ndarray, " n"]) -> Any:
        """The values of a draw's inputs by an ordinary forward pass, for pairs of a node's own datum and a donor."""
        own, donor = (Fixed(rows) for rows in np.divmod(codes, self.rows))
        passed, G, expressions = self.h.passed_columns(name), self.h.G, Expressions()
        streams = {c: own if c in passed else donor for c in G.columns}
        roots = [expressions.forward(G, p, {c: streams[c] for c in G.upstream_columns[p]}) for p in draw.inputs]
        evaluator = Evaluator(self.columns, Sample(np.arange(len(codes)), self.rows))
        return _in_chunks(name, len(codes), lambda *chunk: tuple(evaluator.chunk(roots, *chunk)))

    def _evaluated(
        self, name: str, pieces: list[tuple[_Draw, Any, Int[np.ndarray, " n"]]], x: Int[np.ndarray, " n"]
    ) -> Any:
        """The image of a node on combinations of values of its inputs; columns that it reads come from `x`."""
        image = self.h.G[self.h.image(name)]

        def chunk(start: int, stop: int, live: Live) -> Any:
            found: dict[str, Any] = {}
            assembled: dict[str, list[Any]] = defaultdict(list)
            for draw, values, atom in pieces:
                value = take(values, atom[start:stop])
                if draw.position is not None:
                    assembled[draw.inputs[0]].append(value)
                else:
                    found |= {draw.inputs[0]: value} if draw.child else dict(zip(draw.inputs, value, strict=True))
            for p, positions in assembled.items():
                axis = self.h.G[p].position_axis
                found[p] = torch.stack(positions, dim=axis if axis is not None else 1)
            for p in image.inputs:
                if p not in found:
                    found[p] = take(self.columns[p], x[start:stop]) if p not in self.h.G else self._constant(p)
            value = image.fn(*(found[p] for p in image.inputs))
            for part in (*found.values(), value):
                live.add(part)
            return value

        return _in_chunks(name, len(x), chunk)

    def _constant(self, p: str) -> Any:
        return self.h.G.activations({}, p)[0]


def _in_chunks(name: str, rows: int, evaluate: Callable[[int, int, Live], Any]) -> Any:
    """What is computed at a node for all rows, as many together as memory allows."""
    pieces, start, size = [], 0, FIRST_CHUNK
    while start < rows:
        stop, live = min(start + size, rows), Live()
        try:
            pieces.append(one_per_row(evaluate(start, stop, live), stop - start))
        except DataError as error:
            raise DataError(f"the value that {name!r} computes cannot be used in exact mode: {error}") from error
        size = max(1, int(LIVE_BYTES * (stop - start) / max(live.peak, 1)))
        start = stop
    return concatenated(pieces)
