"""What is written to and read from the residual stream, which is a sum of terms."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.expressions import Call, Caller, Expression
from scrubbing.lens.components.norm import Norm
from scrubbing.lens.components.positions import At, Restrictable, restricted

RESID_POSITION_AXIS = 1

Resid = Float[Tensor, "batch position d_model"]
PerHead = Float[Tensor, "batch position head d_head"]


@dataclass(frozen=True, eq=False)
class Summing(Component):
    """A function of the sum of its inputs."""

    def terms(self, inputs: int) -> slice:
        """All of its inputs."""
        return slice(inputs)


@dataclass(frozen=True, eq=False)
class Sum(Summing):
    """The sum of its inputs."""

    def __call__(self, *terms: Tensor) -> Tensor:
        return reduce(torch.add, terms)


@dataclass(frozen=True, eq=False)
class Difference(Component):
    """The first input less the second: the error of a guess."""

    def __call__(self, value: Tensor, guess: Tensor) -> Tensor:
        return value - guess


@dataclass(frozen=True, eq=False)
class Combination(Component):
    """The sum of its inputs, each as often as its coefficient says."""

    coefficients: tuple[int, ...]

    def __call__(self, *terms: Tensor) -> Tensor:
        first, *others = (x if c == 1 else c * x for c, x in zip(self.coefficients, terms, strict=True))
        return reduce(torch.add, others, first)


@dataclass(frozen=True, eq=False)
class OutputProjection(Restrictable):
    """What heads add to the stream: each head's `z` through its output matrix, summed over heads."""

    W_O: Float[Tensor, "head d_head d_model"]

    def __call__(self, z: PerHead) -> Resid:
        return rearrange(z, "b s h e -> b s (h e)") @ self.matrix

    @property
    def width(self) -> int:
        """The numbers that are written from each position."""
        return self.W_O.shape[0] * self.W_O.shape[1]

    @property
    def matrix(self) -> Float[Tensor, "written d_model"]:
        """All heads' output matrices as one."""
        return rearrange(self.W_O, "h e d -> (h e) d")

    def restricted(self, arguments: tuple[Expression, ...], at: At, call: Caller) -> Expression:
        """The same of `z` at the positions needed."""
        return call(self, (restricted(arguments[0], at, call),))


@dataclass(frozen=True, eq=False)
class Embedding(Component):
    """Token embeddings, and where the model has a table of them, position embeddings added."""

    W_E: Float[Tensor, "d_vocab d_model"]
    W_pos: Float[Tensor, "n_ctx d_model"] | None = None

    def __call__(self, tokens: Int[Tensor, "batch position"]) -> Resid:
        embedded = self.W_E[tokens]
        return embedded if self.W_pos is None else embedded + self.W_pos[: tokens.shape[1]]


@dataclass(frozen=True, eq=False)
class ResidualReader(Summing):
    """How a component reads the stream: the sum of its terms and of the biases written so far, normalised.

    The biases are constants; they belong to the readers, so that no claim about a head is one about its layer's bias.
    """

    norm: Norm
    bias: Float[Tensor, " d_model"] | None = None

    def __call__(self, *terms: Resid) -> Resid:
        return self.norm(self.stream(*terms))

    def stream(self, *terms: Resid) -> Resid:
        """The sum before the norm."""
        total = reduce(torch.add, terms)
        return total if self.bias is None else total + self.bias

    def lower(self, arguments: tuple[Expression, ...], call: Caller) -> Expression | None:
        """Terms that cancel are left out, and what one matrix writes is added up before it is written.

        The rest is added term by term, the oldest first: readers of one stream share the sums that they begin with.
        """
        terms = written(terms_of(arguments), call)
        if not terms:
            return None
        total = reduce(lambda sum_, term: call(Sum(), (sum_, term)), terms)
        return call(self, (total,)) if (total,) != arguments else None


# A stream told apart: how often each term is added, with the matrix that wrote it if it is a `z`.
Terms = Counter[tuple[OutputProjection | None, Expression]]


def terms_of(arguments: Iterable[Expression]) -> Terms:
    """The terms of a sum, those of the sums and differences that it is made of included."""
    terms: Terms = Counter()
    waiting = [(argument, 1) for argument in arguments]
    while waiting:
        argument, times = waiting.pop()
        match argument:
            case Call(Sum(), parts):
                waiting += [(part, times) for part in parts]
            case Call(Difference(), (value, guess)):
                waiting += [(value, times), (guess, -times)]
            case Call(OutputProjection() as write, (z,)):
                terms[write, z] += times
            case _:
                terms[None, argument] += times
    return Counter({term: times for term, times in terms.items() if times})


def difference(terms: Terms, others: Terms) -> Terms:
    """What is left of a sum when another is subtracted: equal terms cancel."""
    left = Counter(terms)
    left.subtract(others)
    return Counter({term: times for term, times in left.items() if times})


def by_matrix(terms: Terms, call: Caller) -> dict[OutputProjection | None, Expression]:
    """What each matrix writes, and under None what no matrix did: sums of the terms as often as they count."""
    groups: dict[OutputProjection | None, list[tuple[Expression, int]]] = {}
    for (write, value), times in terms.items():
        groups.setdefault(write, []).append((value, times))
    return {write: _combined(members, call) for write, members in groups.items()}


def written(terms: Terms, call: Caller) -> tuple[Expression, ...]:
    """The terms as few values to be added."""
    groups = by_matrix(terms, call)
    values = [call(write, (z,)) if write else z for write, z in groups.items()]
    return tuple(sorted(values, key=_order))


def _combined(members: list[tuple[Expression, int]], call: Caller) -> Expression:
    members = sorted(members, key=lambda member: (-member[1], _order(member[0])))
    values, times = zip(*members, strict=True)
    return values[0] if times == (1,) else call(Combination(times), values)


def _order(value: Expression) -> int:
    """An order of values that is the same in every run."""
    return value.number if isinstance(value, Call) else -1
