"""What is written to and read from the residual stream, which is a sum of terms."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scrubbing.engine.component import Component
from scrubbing.engine.expressions import Call, Caller, Expression
from scrubbing.lens.components.norm import NO_NORM, Norm
from scrubbing.lens.components.positions import Linear, Restrictable

RESID_POSITION_AXIS = 1

Resid = Float[Tensor, "batch position d_model"]
PerHead = Float[Tensor, "batch position head d_head"]
SizeOfStream = Float[Tensor, "batch position 1"]  # what a norm multiplies the stream by
Real = Bool[Tensor, "batch position"] | Int[Tensor, "batch position"]  # 1 where there is a token, 0 for padding


@dataclass(frozen=True, eq=False)
class Summing(Component):
    """A function of the sum of its inputs."""

    def terms(self, inputs: int) -> slice:
        """All of its inputs."""
        return slice(inputs)


@dataclass(frozen=True, eq=False)
class Sum(Summing, Restrictable):
    """The sum of its inputs."""

    folds = True

    def __call__(self, *terms: Tensor) -> Tensor:
        return reduce(torch.add, terms)


SUM = Sum()  # one object: its hash is made once


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
class OutputProjection(Linear):
    """What heads or neurons add to the stream: each head's `z`, or the neurons, through the output matrix."""

    W: Float[Tensor, "*written d_model"]  # [head, d_head, d_model], or [neuron, d_model]

    def __call__(self, z: Float[Tensor, "batch position *written"]) -> Resid:
        return z.flatten(2) @ self.matrix

    @property
    def of_heads(self) -> bool:
        """Whether heads write, or neurons."""
        return self.W.ndim == 3

    @property
    def is_cheap(self) -> bool:
        """Of heads, which are narrow, and of which many are written in one product."""
        return self.of_heads

    @property
    def width(self) -> int:
        """The numbers that are written from each position."""
        return len(self.matrix)

    @property
    def matrix(self) -> Float[Tensor, "_ d_model"]:
        """All heads' output matrices as one."""
        return self.W.reshape(-1, self.W.shape[-1])


@dataclass(frozen=True, eq=False)
class Embedding(Component):
    """Token embeddings, scaled and normalised where the model does so; position embeddings added if it has a table."""

    W_E: Float[Tensor, "d_vocab d_model"]
    W_pos: Float[Tensor, "n_ctx d_model"] | None = None
    scale: float = 1.0
    norm: Norm = NO_NORM

    def __call__(self, tokens: Int[Tensor, "batch position"], *real: Real) -> Resid:
        embedded = self.W_E[tokens] if self.scale == 1 else self.scale * self.W_E[tokens]
        embedded = embedded if self.W_pos is None else embedded + PositionEmbedding(self.W_pos)(tokens, *real)
        return self.norm(embedded)


@dataclass(frozen=True, eq=False)
class PositionEmbedding(Component):
    """The position embeddings of rows; in padded rows positions are counted from the first token that is real."""

    W_pos: Float[Tensor, "n_ctx d_model"]

    def __call__(self, tokens: Int[Tensor, "batch position"], real: Real | None = None) -> Resid:
        if real is None:
            return self.W_pos[: tokens.shape[1]].expand(len(tokens), -1, -1)
        return self.W_pos[(real.long().cumsum(dim=1) - 1).clamp(min=0)]


@dataclass(frozen=True, eq=False)
class ResidualReader(Summing, Restrictable):
    """How a component reads the stream: the sum of its terms and of the biases written so far, normalised.

    The biases are constants; they belong to the readers, so that no claim about a head is one about its layer's bias.
    """

    norm: Norm
    bias: Float[Tensor, " d_model"] | None = None
    scale_apart: bool = False  # whether the norm's scale is its last input

    def terms(self, inputs: int) -> slice:
        """All of its inputs, but for a scale."""
        return slice(inputs - self.scale_apart)

    def __call__(self, *terms: Resid | SizeOfStream) -> Resid:
        if self.scale_apart:
            return self.norm.of_scale(self.stream(*terms[:-1]), terms[-1])
        return self.norm(self.stream(*terms))

    def stream(self, *terms: Resid) -> Resid:
        """The sum before the norm."""
        total = reduce(torch.add, terms)
        return total if self.bias is None else total + self.bias

    def lower(self, arguments: tuple[Expression, ...], call: Caller) -> Expression | None:
        """Terms that cancel are left out, and what one matrix writes is added up before it is written.

        The rest is added term by term, the oldest first: readers of one stream share the sums that they begin with.
        """
        of_stream = self.terms(len(arguments))
        terms, scale = written(terms_of(arguments[of_stream]), call), arguments[of_stream.stop :]
        if not terms:
            return None
        total = summed(terms, call)
        return call(self, (total, *scale)) if (total, *scale) != arguments else None


@dataclass(frozen=True, eq=False)
class ReadsStream(Component):
    """A function of the stream, read in some way."""

    reader: ResidualReader

    def terms(self, inputs: int) -> slice:
        """All of its inputs, but for the scale where that is a node of its own."""
        return self.reader.terms(inputs)


@dataclass(frozen=True, eq=False)
class Scale(Summing, Restrictable):
    """What a norm multiplies the stream of a reader by: one over its size."""

    reader: ResidualReader

    def __call__(self, *terms: Resid) -> SizeOfStream:
        norm = self.reader.norm
        return norm.scale(norm.centred(self.reader.stream(*terms)))


Terms = Counter[Expression]  # a stream told apart: how often each term is added


def terms_of(arguments: Iterable[Expression]) -> Terms:
    """The terms of a sum, those of the sums and differences that it is made of included."""
    terms: Terms = Counter()
    waiting = [(argument, 1) for argument in arguments]
    while waiting:
        argument, times = waiting.pop()
        fn = argument.fn if isinstance(argument, Call) else None
        if isinstance(fn, Sum):
            waiting += [(part, times) for part in argument.arguments]
        elif isinstance(fn, Difference):
            value, guess = argument.arguments
            waiting += [(value, times), (guess, -times)]
        else:
            terms[argument] += times
    return Counter({term: times for term, times in terms.items() if times})


def difference(terms: Terms, others: Terms) -> Terms:
    """What is left of a sum when another is subtracted: equal terms cancel."""
    left = Counter(terms)
    left.subtract(others)
    return Counter({term: times for term, times in left.items() if times})


def by_matrix(terms: Terms) -> dict[OutputProjection | None, list[Expression]]:
    """The terms that each matrix wrote, and under None those that no matrix did."""
    groups: dict[OutputProjection | None, list[Expression]] = {}
    for term in terms:
        write = term.fn if isinstance(term, Call) and isinstance(term.fn, OutputProjection) else None
        groups.setdefault(write, []).append(term)
    return groups


def written(terms: Terms, call: Caller) -> tuple[Expression, ...]:
    """The terms as few values to be added: what one matrix writes is added up before it is written."""
    values: list[Expression] = []
    for write, members in by_matrix(terms).items():
        if len(members) == 1 and terms[members[0]] == 1:
            values += members
        else:
            combined = before_writing(members, terms, call)
            values.append(combined if write is None else call(write, (combined,)))
    return tuple(sorted(values, key=_order))


def summed(values: tuple[Expression, ...], call: Caller) -> Expression:
    """The sum of some values."""
    return values[0] if len(values) == 1 else call(SUM, values)


def before_writing(members: Sequence[Expression], terms: Terms, call: Caller) -> Expression:
    """The sum of some terms, as often as they count, of one matrix: of the values that it writes (of none, theirs)."""
    counted = [(_before_writing(member), terms[member]) for member in members]
    if len(counted) == 1 and counted[0][1] == 1:
        return counted[0][0]
    values, times = zip(*sorted(counted, key=lambda pair: (-pair[1], _order(pair[0]))), strict=True)
    return call(Combination(times), values)


def _before_writing(term: Expression) -> Expression:
    return term.arguments[0] if isinstance(term, Call) and isinstance(term.fn, OutputProjection) else term


def _order(value: Expression) -> int:
    """An order of values that is the same in every run."""
    return value.number if isinstance(value, Call) else -1
