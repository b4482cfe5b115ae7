"""Values that are read at some positions only are computed at these, unless they are computed at all of them anyway."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from scrubbing.engine.expressions import Call, Expression, evaluation_order
from scrubbing.lens.components.positions import At, Linear, Restrictable, Take


def narrowed(roots: Sequence[Expression]) -> list[Expression]:
    """Expressions of the same values, where `Take` is taken of values that someone needs as a whole, and of no others.

    Whoever reads a value comes after it, so a walk from the end knows of each value who needs it when it gets there.
    """
    written = {(step.fn, step.arguments): step for step in evaluation_order(roots) if _is_kept(step)}
    narrowing = _Narrowing(written, set(roots))
    order = evaluation_order(roots, narrowing.read)
    narrowing.old.update(order)
    for step in reversed(order):
        narrowing.visit(step)
    for step in order:
        narrowing.rebuild(step)
    return [narrowing.new[root] for root in roots]


@dataclass
class _Narrowing:
    """What is known of each value: whether it is needed whole, and where it is read otherwise."""

    linear: Mapping[tuple[Any, tuple[Expression, ...]], Expression]  # calls of linear functions that are dear
    whole: set[Expression]
    old: set[Expression] = field(default_factory=set)
    read_at: dict[Expression, dict[At, Expression]] = field(default_factory=dict)  # with the value in narrower calls
    new: dict[Expression, Expression] = field(default_factory=dict)
    made: dict[Any, Expression] = field(default_factory=dict)

    def read(self, step: Expression) -> Sequence[Expression]:
        """What a value is made of."""
        taken = self._taken(step)
        return step.arguments if taken is None else (taken[0], taken[1].index)

    def visit(self, step: Expression) -> None:
        """Decide how a value is computed, knowing all its readers; and tell its arguments."""
        if step not in self.whole and step in self.read_at:
            if isinstance(step, Call) and isinstance(step.fn, Restrictable):
                for at in self.read_at[step]:
                    self.read_at[step][at] = step.fn.restricted(step.arguments, at, self._call_near(step))
                    self._tell_arguments(self.read_at[step][at])
            else:
                self.whole.add(step)
        if step in self.whole:
            self._tell_arguments(step)

    def rebuild(self, step: Expression) -> None:
        """The value in new calls: as a whole, or wherever it is read."""
        if step in self.whole:
            self.new[step] = self._with_new_arguments(step)
        elif step in self.read_at:
            self.read_at[step] = {at: self._with_new_arguments(value) for at, value in self.read_at[step].items()}

    def _tell_arguments(self, reader: Expression) -> None:
        """Tell what a call reads who needs it; a call that was just made speaks for all that was made with it."""
        for argument in reader.arguments:
            taken = self._taken(argument)
            if taken is not None:
                value, at = taken
                self.whole |= {at.index, at.weights}
                if value not in self.whole:
                    self.read_at.setdefault(value, {})[at] = value
            elif argument in self.old:
                self.whole.add(argument)
            else:
                self._tell_arguments(argument)

    def _with_new_arguments(self, step: Expression) -> Expression:
        if not isinstance(step, Call):
            return step
        arguments = tuple(self._argument(argument) for argument in step.arguments)
        return step if arguments == step.arguments else self._call_near(step)(step.fn, arguments)

    def _argument(self, step: Expression) -> Expression:
        taken = self._taken(step)
        if taken is None:
            return self.new[step] if step in self.new else self._with_new_arguments(step)
        value, at = taken
        if value not in self.whole:
            return self.read_at[value][at]
        return self._call_near(value)(at.take, (self.new[value], self.new[at.index]))

    def _taken(self, step: Expression) -> tuple[Expression, At] | None:
        """The value that is read at some positions, and where; None for what is read as it is.

        What a linear function makes of a value there is what it makes of the whole, if somebody asks for that.
        """
        found = _taken(step)
        if found is None and _is_kept(step) and (inner := _taken(step.arguments[0])) is not None:
            whole = self.linear.get((step.fn, (inner[0],)))
            return None if whole is None else (whole, inner[1])
        return found

    def _call_near(self, near: Expression) -> Callable[[Callable[..., Any], tuple[Expression, ...]], Expression]:
        """Makes calls, each once, in the place of another."""
        number, name = (near.number, near.name) if isinstance(near, Call) else (0, "")

        def call(fn: Callable[..., Any], arguments: tuple[Expression, ...]) -> Expression:
            return self.made.setdefault((fn, *map(id, arguments)), Call(fn, arguments, number, name))

        return call


def _taken(step: Expression) -> tuple[Expression, At] | None:
    """The value that is read at some positions, and where; None for what is no `Take` with known weights."""
    if isinstance(step, Call) and isinstance(step.fn, Take) and step.fn.weights is not None:
        return step.arguments[0], At(step.arguments[1], step.fn)
    return None


def _is_kept(step: Expression) -> TypeGuard[Call]:
    return isinstance(step, Call) and isinstance(step.fn, Linear) and not step.fn.is_cheap
