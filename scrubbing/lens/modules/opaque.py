"""Modules that `torch.export` cannot trace, as one operation each: it stands for a call of the module."""

import contextlib
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from scrubbing.errors import ModelError
from scrubbing.graph.fingerprint import LITERALS

NAME = "scrubbing::call"


@functools.cache
def _operation() -> Any:
    """The operation, known to torch from its first use on: (number of the call, inputs) -> results."""
    torch.library.define(NAME, "(int which, Tensor[] inputs) -> Tensor[]")
    torch.library.register_fake(NAME, lambda which, inputs: _SHAPED[which].shaped(inputs))
    return torch.ops.scrubbing.call.default


def is_call(op: fx.Node) -> bool:
    """Whether an operation of a trace stands for a call of a module."""
    return isinstance(op.target, OpOverload) and op.target._schema.name == NAME


@dataclass(frozen=True, eq=False)
class Called:
    """A call of a module with some tensors, beside arguments that are fixed: all tensors that it returns.

    Nothing can be known of what it does but its values, so it equals itself alone.
    """

    module: nn.Module
    path: str
    arguments: tuple[Any, ...]  # leaves of positional and keyword arguments; `Tensor` where one stands
    places: tuple[int, ...]  # of the tensors among them
    spec: TreeSpec
    results: tuple[tuple[tuple[Any, ...], torch.dtype, torch.device], ...]  # sizes, or (input, axis) of the same size
    returned: tuple[Any, ...]  # the leaves of what it returns; `Tensor` where one stands
    returned_spec: TreeSpec

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        leaves = list(self.arguments)
        for place, value in zip(self.places, inputs, strict=True):
            leaves[place] = value
        args, kwargs = tree_unflatten(leaves, self.spec)
        return tuple(leaf for leaf in tree_flatten(self.module(*args, **kwargs))[0] if isinstance(leaf, Tensor))

    def shaped(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Results of the right shape and type, as a trace needs them."""
        made = []
        for sizes, dtype, device in self.results:
            shape = [inputs[s[0]].shape[s[1]] if isinstance(s, tuple) else s for s in sizes]
            made.append(inputs[0].new_empty(shape, dtype=dtype, device=device))
        return made


@dataclass
class Recorded:
    """A call of a submodule in an ordinary run of the whole: the leaves of what it gets and returns."""

    path: str
    given: list[Any]
    spec: TreeSpec
    returned: list[Any]
    returned_spec: TreeSpec


def recorded(whole: nn.Module, columns: Mapping[str, Tensor]) -> dict[nn.Module, list[Recorded]]:
    """The calls of each submodule, in order."""
    calls: dict[nn.Module, list[Recorded]] = {}

    def keep(path: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        call = Recorded(path, *tree_flatten((args, kwargs)), *tree_flatten(output))
        calls.setdefault(module, []).append(call)

    with contextlib.ExitStack() as stack, torch.no_grad():
        for path, module in whole.named_modules():
            if path:
                hook = functools.partial(keep, path.removeprefix("module").removeprefix("."))
                stack.enter_context(module.register_forward_hook(hook, with_kwargs=True))
        whole(dict(columns))
    return calls


def called(module: nn.Module, calls: Sequence[Recorded], fewer: Sequence[Recorded]) -> list[Called]:
    """Recorded calls as ones that can be made again; `fewer` are the same calls in a run on fewer rows.

    Raises `ModelError` for other numbers of calls, and for arguments and results that are neither tensors nor plain.
    """
    path = calls[0].path
    if len(calls) != len(fewer):
        raise ModelError(f"{path!r} cannot be exported, and is called {len(calls)} or {len(fewer)} times")
    return [_called(module, call, less) for call, less in zip(calls, fewer, strict=True)]


def _called(module: nn.Module, call: Recorded, fewer: Recorded) -> Called:
    path = call.path
    for leaf in (*call.given, *call.returned):
        if not isinstance(leaf, (Tensor, *LITERALS)):
            raise ModelError(
                f"{path!r} cannot be exported, and is called with, or returns, a {type(leaf).__name__}, which no node "
                f"can pass on; switch it off (bound=dict(use_cache=False))"
            )
    places = tuple(i for i, leaf in enumerate(call.given) if isinstance(leaf, Tensor))
    shapes = [(_shape(call.given[i]), _shape(fewer.given[i])) for i in places]
    results = tuple(
        (_sizes(_shape(now), _shape(then), shapes, path), now.dtype, now.device)
        for now, then in zip(call.returned, fewer.returned, strict=True)
        if isinstance(now, Tensor)
    )
    given, returned = _plain(call.given), _plain(call.returned)
    return Called(module, path, given, places, call.spec, results, returned, call.returned_spec)


def _plain(leaves: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(Tensor if isinstance(leaf, Tensor) else leaf for leaf in leaves)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _sizes(
    now: tuple[int, ...], then: tuple[int, ...], shapes: Sequence[tuple[Any, Any]], path: str
) -> tuple[Any, ...]:
    """The sizes of a result: fixed, or that of an input which changes with the number of rows as it does."""
    sizes: list[Any] = []
    for axis, size in enumerate(now):
        pair = size, then[axis] if len(then) == len(now) else None
        like = (
            (i, a)
            for i, (more, less) in enumerate(shapes)
            if len(more) == len(less)
            for a in range(len(more))
            if (more[a], less[a]) == pair
        )
        found = size if pair[0] == pair[1] else next(like, None)
        if found is None:
            raise ModelError(f"{path!r} cannot be exported, and the shape of what it returns depends on values")
        sizes.append(found)
    return tuple(sizes)


_SHAPED: dict[int, Called] = {}  # what a trace under way may ask for


@contextlib.contextmanager
def opaque(calls: Iterable[Sequence[Called]]) -> Iterator[dict[int, Called]]:
    """While a trace is made, calls of these modules are one operation each: by the number that stands in it.

    Each sequence has the calls of one module, in order.
    """
    numbered: dict[int, Called] = {}
    with contextlib.ExitStack() as stack:
        for group in calls:
            forward = functools.partial(_stand_in, itertools.cycle(group), numbered)
            stack.enter_context(patch.object(group[0].module, "forward", forward))
        try:
            yield numbered
        finally:
            for which in numbered:
                del _SHAPED[which]


def _stand_in(rest: Iterator[Called], numbered: dict[int, Called], *args: Any, **kwargs: Any) -> Any:
    call, which = next(rest), len(_SHAPED)
    _SHAPED[which] = numbered[which] = call
    results = iter(_operation()(which, [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]))
    leaves = [next(results) if leaf is Tensor else leaf for leaf in call.returned]
    return tree_unflatten(leaves, call.returned_spec)
