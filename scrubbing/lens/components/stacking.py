"""Heads computed together: projections of one stream are one product, and so is what the same readers add up.

A graph with a node per head then takes little more than one with a node per layer.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, reduce
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.expressions import Call, Expression, evaluation_order
from scrubbing.lens.components.attention import FusedHeads, FusedHeadsAt
from scrubbing.lens.components.comparing import FinalStream
from scrubbing.lens.components.joining import by_storage, in_memory_order, joined
from scrubbing.lens.components.loss import LossAt
from scrubbing.lens.components.projection import Heads, ProjectionAt, ProjectionOfNormalised
from scrubbing.lens.components.residual import SUM, OutputProjection, PerHead, Resid, Sum

TERMS = 8  # that are added up in one call


@dataclass(frozen=True, eq=False)
class Projections(Component):
    """Several projections of one normalised stream: all their heads. Their matrices are put together as they are used.

    (Kept, they would be as many as there are sets of heads.)
    """

    parts: tuple[ProjectionOfNormalised, ...]

    def __call__(self, x: Resid, *at: Tensor) -> PerHead:
        W, b, of_position = (
            _joined([getattr(part, name) for part in self.parts], dim)
            for name, dim in (("W", 0), ("b", 0), ("of_position", 1))
        )
        merged = ProjectionOfNormalised(W, b, of_position, self.parts[0].rotary, self.parts[0].norm)
        return merged.at(x, *at) if at else merged(x)


def _joined(tensors: list[Tensor | None], dim: int) -> Any:
    return joined([t for t in tensors if t is not None], dim) if tensors[0] is not None else None


@dataclass(frozen=True, eq=False)
class OutputProjections(Component):
    """What several sets of heads add to the stream, in one product for each layer's."""

    parts: tuple[OutputProjection, ...]

    def __call__(self, *z: Float[Tensor, "batch position *_"]) -> Resid:
        parts = [heads.flatten(2) for heads in z]
        flat = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        matrices = [joined(some) for some in by_storage([part.matrix for part in self.parts])]
        pieces = flat.flatten(0, 1).split([len(matrix) for matrix in matrices], dim=-1)
        total = pieces[0] @ matrices[0]
        for piece, matrix in zip(pieces[1:], matrices[1:], strict=True):
            total.addmm_(piece, matrix)
        return total.unflatten(0, flat.shape[:2])


Group = list[Call]
Arguments = tuple[Expression, ...]
Divided = tuple[Arguments, Arguments, Arguments]


def stacked(roots: Sequence[Expression]) -> list[Expression]:
    """Expressions of the same values up to rounding, heads that can be computed together made so."""
    return in_few_calls(_Stacking.of(roots).replaced(roots))


def in_few_calls(roots: Sequence[Expression]) -> list[Expression]:
    """The roots, of equal values: sums that begin with what nobody else reads are one call, of a few terms."""
    order = evaluation_order(roots)
    readers = Counter(argument for step in order for argument in step.arguments)
    readers.update(roots)
    new: dict[Expression, Expression] = {}
    for step in order:
        new[step] = step
        if isinstance(step, Call):
            arguments = tuple(new[argument] for argument in step.arguments)
            if _is_sum(step) and readers[step.arguments[0]] == 1:
                arguments = _continued(arguments)
            if arguments != step.arguments:
                new[step] = Call(step.fn, arguments, step.number, step.name)
    return [new[root] for root in roots]


def _continued(arguments: Arguments) -> Arguments:
    """The terms of a sum, and of the one that it begins with if that is short: all are held until they are added."""
    first, *others = arguments
    return (*first.arguments, *others) if _is_sum(first) and len(first.arguments) < TERMS else arguments


@dataclass(frozen=True)
class _Stacking:
    """Which calls are made together, by call; and the replacements made so far."""

    order: list[Expression]
    divided: dict[Expression, Divided]  # calls, as `_divided` takes them apart
    groups: dict[Expression, Group]  # of projections, and of attended values
    places: dict[Expression, range]  # of a call's heads among those of its group
    written: dict[Expression, Group]  # of output projections
    totals: set[Expression]  # sums that are read by others than sums
    new: dict[Expression, Expression] = field(default_factory=dict)
    made: dict[Hashable, Expression] = field(default_factory=dict)

    @classmethod
    def of(cls, roots: Sequence[Expression]) -> "_Stacking":
        order = evaluation_order(roots)
        groups = _in_memory_order(_grouped(order, _projection_key), _matrix_of_projection)
        groups |= _grouped(order, lambda step: _attended_key(step, groups))
        totals = _totals(order, roots)
        divided = {step: _divided(step) for step in order if step in totals or not _is_sum(step)}
        written = _in_memory_order(_written_together(divided), lambda call: call.fn.W)
        return cls(order, divided, groups, _places(groups), written, totals)

    def replaced(self, roots: Sequence[Expression]) -> list[Expression]:
        """The roots, of equal values."""
        for step in self.order:
            self.new[step] = self._replaced(step) if isinstance(step, Call) else step
        return [self.new[root] for root in roots]

    def _replaced(self, step: Call) -> Expression:
        if step in self.groups:
            return self._call(_some(tuple(self.places[step])), (self._stack(self.groups[step]),), step.number)
        if _is_sum(step) and step not in self.totals:
            return step  # its terms stand in others
        before, terms, after = self.divided[step]
        units = self._units(terms)
        if _is_sum(step):
            return reduce(lambda total, unit: self._call(SUM, (total, unit), step.number), units)
        old = tuple(tuple(self.new[argument] for argument in part) for part in (before, after))
        arguments = (*old[0], *units, *old[1])
        return step if arguments == step.arguments else self._call(step.fn, arguments, step.number)

    def _units(self, terms: Sequence[Expression]) -> list[Expression]:
        """The terms of a sum, those that are always added up together as one."""
        units: list[Expression] = []
        for term in terms:
            group = self.written.get(term)
            if group is None:
                units.append(self.new[term])
            elif term is group[0]:
                units.append(self._write(group))
        return units

    def _write(self, group: Group) -> Expression:
        key = "write", id(group)
        if key not in self.made:
            z = [call.arguments[0] for call in group]
            stack = self.groups.get(z[0])
            whole = stack is not None and stack == z
            arguments = (self._stack(z),) if whole else tuple(self.new[value] for value in z)
            self.made[key] = Call(
                OutputProjections(tuple(call.fn for call in group if isinstance(call.fn, OutputProjection))),
                arguments,
                group[0].number,
            )
        return self.made[key]

    def _stack(self, group: Any) -> Expression:
        """The value that holds all heads of a group."""
        key = "stack", *map(id, group)
        if key not in self.made:
            self.made[key] = self._stacked(group)
        return self.made[key]

    def _stacked(self, group: Group) -> Expression:
        first = group[0]
        if isinstance(first.fn, ProjectionOfNormalised | ProjectionAt):
            parts = tuple(projection for call in group if (projection := _projection(call)))
            arguments = tuple(self.new[argument] for argument in first.arguments)
            return Call(Projections(parts), arguments, first.number)
        parts = tuple(self._selected([call.arguments[i] for call in group]) for i in range(3))
        rest = tuple(self.new[argument] for argument in first.arguments[3:])
        return Call(first.fn, (*parts, *rest), first.number)

    def _selected(self, members: list[Any]) -> Expression:
        """Members of a group as one value."""
        group = self.groups[members[0]]
        if group == members:
            return self._stack(group)
        heads = tuple(head for call in members for head in self.places[call])
        return self._call(_some(heads), (self._stack(group),), members[0].number)

    def _call(self, fn: Callable[..., Any], arguments: tuple[Expression, ...], number: int) -> Expression:
        return self.made.setdefault((fn, *map(id, arguments)), Call(fn, arguments, number))


@cache
def _some(heads: tuple[int, ...]) -> Heads:
    """One object for each choice of heads: its hash is made once."""
    return Heads(heads)


def _places(groups: Mapping[Expression, Group]) -> dict[Expression, range]:
    """Where the heads of each call are among those of its group."""
    places: dict[Expression, range] = {}
    for group in {id(group): group for group in groups.values()}.values():
        first = 0
        for call in group:
            places[call] = range(first, first := first + _heads(call))
    return places


def _heads(call: Any) -> int:
    projection = _projection(call)
    return _heads(call.arguments[0]) if projection is None else len(projection.W)  # as many as there are queries


def _projection(call: Call) -> ProjectionOfNormalised | None:
    match call.fn:
        case ProjectionOfNormalised() as fn:
            return fn
        case ProjectionAt(fn):
            return fn
    return None


def _grouped(order: Sequence[Expression], key_of: Callable[[Call], Hashable | None]) -> dict[Expression, Group]:
    """The calls of equal keys, where there are several."""
    by_key: dict[Hashable, Group] = {}
    for step in order:
        if isinstance(step, Call) and (key := key_of(step)) is not None:
            by_key.setdefault(key, []).append(step)
    return {step: group for group in by_key.values() if len(group) > 1 for step in group}


def _in_memory_order(groups: Mapping[Expression, Group], part: Callable[[Any], Tensor]) -> dict[Expression, Group]:
    """The groups, each in the order in which its matrices lie in memory."""
    distinct = {id(group): group for group in groups.values()}
    ordered = {number: in_memory_order(group, part) for number, group in distinct.items()}
    return {step: ordered[id(group)] for step, group in groups.items()}


def _matrix_of_projection(call: Any) -> Tensor:
    projection = _projection(call)
    assert projection is not None
    return projection.W


def _projection_key(step: Call) -> Hashable | None:
    fn = _projection(step)
    if fn is None or (fn.norm is not None and fn.norm.together):
        return None
    alike = fn.b is None, fn.of_position is None, fn.norm, fn.rotary, fn.W.shape[1:], fn.W.dtype, fn.W.device
    return type(step.fn), alike, step.arguments


def _attended_key(step: Call, groups: dict[Expression, Group]) -> Hashable | None:
    if not isinstance(step.fn, FusedHeads | FusedHeadsAt):
        return None
    parts = step.arguments[:3]
    if not all(part in groups for part in parts):
        return None
    return step.fn, *(id(groups[part]) for part in parts), *step.arguments[3:]


def _written_together(divided: Mapping[Expression, Divided]) -> dict[Expression, Group]:
    """The output projections that the same sums add up, and nobody else reads."""
    read_by: dict[Expression, list[int]] = {}
    otherwise: set[Expression] = set()
    for place, (before, terms, after) in enumerate(divided.values()):
        for term in terms:
            read_by.setdefault(term, []).append(place)
        otherwise |= {*before, *after}
    together: dict[tuple[int, ...], Group] = {}
    for term, places in read_by.items():
        once = len(set(places)) == len(places) and term not in otherwise
        if once and isinstance(term, Call) and isinstance(term.fn, OutputProjection) and term.fn.of_heads:
            together.setdefault(tuple(places), []).append(term)
    return {term: group for group in together.values() if len(group) > 1 for term in group}


def _totals(order: Sequence[Expression], roots: Sequence[Expression]) -> set[Expression]:
    """The sums that are read by others than sums."""
    read = {argument for step in order if not _is_sum(step) for argument in step.arguments}
    return {step for step in order if _is_sum(step) and (step in read or step in roots)}


def _is_sum(step: Expression) -> bool:
    return isinstance(step, Call) and isinstance(step.fn, Sum)


def _divided(step: Expression) -> Divided:
    """The arguments before the terms that a call adds up, these (with the terms of sums among them), and the rest."""
    match step:
        case Call(Sum()):
            return (), _flat(step.arguments), ()
        case Call(FinalStream(), terms):
            return (), terms, ()
        case Call(LossAt(), (at, labels, weights, *terms)):
            return (at, labels, weights), tuple(terms), ()
    return step.arguments, (), ()


def _flat(arguments: Arguments) -> Arguments:
    terms: list[Expression] = []
    waiting = [*reversed(arguments)]
    while waiting:
        argument = waiting.pop()
        if _is_sum(argument):
            waiting += reversed(argument.arguments)
        else:
            terms.append(argument)
    return tuple(terms)
