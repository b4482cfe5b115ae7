"""Distributions of values, propagated node by node.

A node's value depends on its own datum only through the columns that it reads, and given those its inputs are
independent. So each node needs one distribution for each distinct set of such columns, and donors are combined only
across the inputs of one node, never across the whole tree.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from scrubbing.engine.exact.draws import (
    Contexts,
    Data,
    Describer,
    Description,
    Draw,
    Places,
    contexts_of,
    refuse_beyond,
)
from scrubbing.engine.exact.losses import ExactLosses
from scrubbing.engine.features import Features
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.memory import allocations_of
from scrubbing.engine.planning import Planner
from scrubbing.engine.policy import Policy
from scrubbing.engine.positions import refuse_illegal_positions
from scrubbing.engine.sampling.distributions import (
    Distributions,
    Transitions,
    first_places,
    joint,
    mixture,
    product,
    product_sizes,
)
from scrubbing.engine.sampling.streams import Fixed, Sample
from scrubbing.engine.sampling.values import concatenated, distinct, one_per_row, take
from scrubbing.errors import DataError
from scrubbing.graph.data import Columns
from scrubbing.graph.hypothesis import Hypothesis

MEMORY = 2**29  # bytes that the values computed at a node may take together
FEW = 64  # rows, which are not worth measuring
CAP = 2_000_000  # the most combinations at one node


def exact_losses(
    hypothesis: Hypothesis,
    columns: Columns,
    references: Int[np.ndarray, " reference"],
    policy: Policy,
    *,
    cap: int = CAP,
) -> ExactLosses:
    """The distribution of the scrubbed loss of the references in the given rows, over all draws of donors.

    Raises `HypothesisError`, before the work, where more than `cap` combinations of values would meet at one node.
    """
    rows, place = np.unique(references, return_inverse=True)
    refuse_illegal_positions(hypothesis, policy)
    refuse_too_many_rows(len(next(iter(columns.values()))), len(rows), cap=cap)
    data = Data(columns)
    contexts = contexts_of(hypothesis, data, rows, policy, cap)
    describer = Describer(hypothesis, data, policy, contexts)
    nodes = {name: describer.describe(name) for name in hypothesis.I.order}
    found = Propagation(hypothesis, data, policy, contexts, nodes, rows, cap)
    found.wire()
    losses, distributions, to = found.root()
    links = contexts.transitions
    return ExactLosses(losses, distributions, Transitions(links.case, to, links.probability), place)


def refuse_too_many_rows(rows: int, references: int, *, cap: int = CAP) -> None:
    """Raise if the number of rows or of references alone exceeds the cap."""
    refuse_beyond(cap, rows, f"go through {rows:,} rows of data")
    refuse_beyond(cap, references, f"answer for {references:,} references")


@dataclass(frozen=True, eq=False)
class _Wired:
    """A draw in all conditions of its node: which case of the draw each is, and where the cases lead."""

    draw: Draw
    group: Int[np.ndarray, " condition"]
    transitions: Transitions


@dataclass(frozen=True, eq=False)
class _Known:
    """The distributions of a value, and the values that their atoms stand for."""

    distributions: Distributions
    values: Any


@dataclass(frozen=True, eq=False)
class Propagation:
    """One hypothesis. A condition of a node is its own datum and a context, as one number: row * contexts + context."""

    h: Hypothesis
    data: Data
    policy: Policy
    contexts: Contexts
    nodes: Mapping[str, Description]
    references: Places
    cap: int
    conditions: dict[str, np.ndarray] = field(default_factory=dict)
    wired: dict[str, list[_Wired]] = field(default_factory=dict)
    known: dict[str, _Known] = field(default_factory=dict)

    def root(self) -> tuple[np.ndarray, Distributions, Places]:
        """All losses, their distributions in each condition of the output, and the condition of each transition."""
        root = self.h.I.output
        for name in self.h.I.order:
            if name in self.wired:
                self.known[name] = self._distribution(name)
        losses = self.known[root].values
        if not isinstance(losses, Tensor) or losses.ndim != 1:
            raise DataError("the output of G must be one loss per row, for example loss.mean(dim=-1)")
        to = np.searchsorted(self.conditions[root], self._root_conditions())
        return losses.cpu().double().numpy(), self.known[root].distributions, to

    def _root_conditions(self) -> Places:
        transitions = self.contexts.transitions
        return self._condition(self.h.I.output, self.references[transitions.case], transitions.to)

    def _cases(self, child: str, codes: Places) -> Places:
        """The place among a child's conditions of each donor and context."""
        condition = self._condition(child, *np.divmod(codes, len(self.contexts)))
        return np.searchsorted(self.conditions[child], condition)

    def _condition(self, name: str, x: Places, s: Places) -> Places:
        return self.nodes[name].own[x] * len(self.contexts) + self.nodes[name].context[s]

    # -- downwards: in which conditions is a node visited?

    def wire(self) -> None:
        """Follow all draws, from the output down."""
        wanted = defaultdict(list, {self.h.I.output: [self._root_conditions()]})
        for name in reversed(self.h.I.order):
            if name in wanted:
                self._wire(name, wanted)

    def _wire(self, name: str, wanted: dict[str, list[np.ndarray]]) -> None:
        """Follow the draws of a node to the conditions in which they visit its children."""
        self.conditions[name] = np.unique(np.concatenate(wanted[name]))
        self.wired[name] = [self._follow(name, draw) for draw in self.nodes[name].draws]
        for wired in self.wired[name]:
            for child in wired.draw.children:
                wanted[child].append(self._condition(child, *np.divmod(wired.transitions.to, len(self.contexts))))

    def _follow(self, name: str, draw: Draw) -> _Wired:
        x, s = np.divmod(self.conditions[name], len(self.contexts))
        group = joint([draw.own_key[x], draw.context_key[s]], len(x))
        first = first_places(group)
        x, s = x[first], s[first]
        if draw.donors is None:
            donor = draw.alike[x if draw.fixed is None else draw.fixed[s]]
            transitions = Transitions(np.arange(len(x)), donor, np.ones(len(x)))
        else:
            count = draw.donors.count(x)
            refuse_beyond(self.cap, count, f"follow {count:,} donors of {', '.join(draw.inputs)} at {name!r}")
            transitions = draw.donors.transitions(x)
        if draw.children:
            to = transitions.to * len(self.contexts) + s[transitions.case]
        else:
            to = draw.own_part[x][transitions.case] * self.data.rows + transitions.to
        return _Wired(draw, group, Transitions(transitions.case, to, transitions.probability))

    # -- upwards: what is the distribution of its value?

    def _distribution(self, name: str) -> _Known:
        """The distributions of a node's value, from those of its inputs."""
        x = self.conditions[name] // len(self.contexts)
        inputs = [self._input(name, wired) for wired in self.wired[name]]
        factors = [(known.distributions, wired.group) for known, wired in zip(inputs, self.wired[name], strict=True)]
        self._refuse_too_large(name, factors, [" and ".join(w.draw.inputs) for w in self.wired[name]], len(x))
        case, atoms, probability = product(factors, len(x))
        read = set(self.h.read_columns(name)) & set(self.h.G[self.h.image(name)].inputs)
        number = joint([self.data.numbers(read)[x[case]], *atoms], len(case))
        first = first_places(number)
        drawn = [(w.draw, k.values, a[first]) for w, k, a in zip(self.wired[name], inputs, atoms, strict=True)]
        values, equal = distinct(self._evaluated(name, drawn, x[case[first]]), len(first))
        return _Known(Distributions(case, number, probability).renumbered(equal), values)

    def _input(self, name: str, wired: _Wired) -> _Known:
        """The distributions of the inputs that one draw decides, in each of its cases."""
        codes, to = np.unique(wired.transitions.to, return_inverse=True)
        if wired.draw.children:
            known = self._run(name, wired.draw, codes)
        else:
            values, number = distinct(self._forward(name, wired.draw, codes), len(codes))
            known = _Known(Distributions(np.arange(len(codes)), number, np.ones(len(codes))), values)
        return _Known(
            mixture(known.distributions, Transitions(wired.transitions.case, to, wired.transitions.probability)),
            known.values,
        )

    def _run(self, name: str, draw: Draw, codes: Places) -> _Known:
        """The distributions of the children's values for each donor and context: independent, given these."""
        known = [self.known[child] if draw.position is None else self._at(draw) for child in draw.children]
        cases = [self._cases(child, codes) for child in draw.children]
        factors = [(k.distributions, case) for k, case in zip(known, cases, strict=True)]
        self._refuse_too_large(name, factors, draw.inputs, len(codes))
        case, atoms, probability = product(factors, len(codes))
        number = joint(atoms, len(case))
        first = first_places(number)
        values = tuple(take(k.values, atom[first]) for k, atom in zip(known, atoms, strict=True))
        return _Known(Distributions(case, number, probability).renumbered(np.arange(len(first))), values)

    def _at(self, draw: Draw) -> _Known:
        """The distributions of the one position of a child's value that the draw decides."""
        known = self.known[draw.children[0]]
        here = known.values.select(self._position_axis(draw.inputs[0]), draw.position)
        values, number = distinct(here, len(here))
        return _Known(known.distributions.renumbered(number), values)

    def _refuse_too_large(
        self, name: str, factors: list[tuple[Distributions, Places]], inputs: Sequence[str], conditions: int
    ) -> None:
        support = defaultdict(list)
        for (distributions, _), names in zip(factors, inputs, strict=True):
            support[names].append(int(distributions.sizes.max()))
        each = ", ".join(f"{names} {_support(sizes)}" for names, sizes in support.items())
        count = float(product_sizes(factors, conditions).sum())
        what = f"combine {_shown(count)} values of inputs at {name!r}, visited in {conditions:,} conditions ({each})"
        refuse_beyond(self.cap, count, what)

    # -- the network, on many rows at once

    def _forward(self, name: str, draw: Draw, codes: Places) -> Any:
        """The values of a draw's unclaimed inputs, for pairs of an own datum and a donor."""
        own, donor = (Fixed(rows) for rows in np.divmod(codes, self.data.rows))
        interpreter = Interpreter(dict(self.data.columns), Sample(np.arange(len(codes)), self.data.rows))
        planner = Planner(self.policy, Features(interpreter))
        roots = [planner.unclaimed(self.h.G, open_, own, lambda: donor) for open_ in draw.open]
        roots = roots or [planner.on(own, self.h.G, p) for p in draw.inputs]
        return _in_chunks(name, len(codes), lambda *chunk: tuple(interpreter.values(roots, slice(*chunk))))

    def _evaluated(self, name: str, drawn: list[tuple[Draw, Any, Places]], x: Places) -> Any:
        """The image of a node on combinations of what was drawn; the columns that it reads come from `x`."""
        image = self.h.G[self.h.image(name)]

        def chunk(start: int, stop: int) -> Any:
            found = self._arguments((draw, take(values, atom[start:stop])) for draw, values, atom in drawn)
            for p in image.inputs:
                if p not in found:
                    found[p] = self._undrawn(p, x[start:stop])
            return image.fn(*(found[p] for p in image.inputs))

        return _in_chunks(name, len(x), chunk)

    def _arguments(self, drawn: Iterable[tuple[Draw, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        by_position: dict[str, list[Any]] = defaultdict(list)
        for draw, value in drawn:
            if draw.position is not None:
                by_position[draw.inputs[0]].append(value[0])
            else:
                found |= zip(draw.inputs, value, strict=True)
        return found | {p: torch.stack(values, dim=self._position_axis(p)) for p, values in by_position.items()}

    def _undrawn(self, p: str, x: Places) -> Any:
        """An input that nothing is drawn for: a column of the own datum, or a value that no column reaches."""
        return take(self.data.columns[p], x) if p not in self.h.G else self.h.G.activations({}, p)[0]

    def _position_axis(self, p: str) -> int:
        axis = self.h.G[p].position_axis
        return 1 if axis is None else axis  # a claim per position on a node without one was refused


def _in_chunks(name: str, rows: int, evaluate: Callable[[int, int], Any]) -> Any:
    """What is computed at a node for all rows, as many together as memory allows."""
    try:
        size = MEMORY // max(1, allocations_of(partial(evaluate, 0, 1)).peak) if rows > FEW else FEW
        chunks = [(start, min(start + size, rows)) for start in range(0, rows, max(1, size))]
        return concatenated([one_per_row(evaluate(start, stop), stop - start) for start, stop in chunks])
    except DataError as error:
        raise DataError(f"a value computed at {name!r} cannot be used in exact mode: {error}") from error


def _support(sizes: list[int]) -> str:
    return f"up to {max(sizes):,}" + (f" at each of {len(sizes)} positions" if len(sizes) > 1 else "")


def _shown(count: float) -> str:
    if count < 1e15:
        return f"{count:,.0f}"
    return f"about 10^{np.log10(count):.0f}" if np.isfinite(count) else "more than 10^308"
