"""What a bracket checker can see of a string: the features that the claims are about.

All are functions of `tokens`, `[row, position]`: start, brackets, end, padding.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hypotheses.brackets.strings import CLOSE, END, OPEN
from scrubbing.engine.component import Component

Tokens = Int[Tensor, "row position"]
Flags = Bool[Tensor, " row"]

FIRST = 1  # the position of the first bracket

# Of a position, what matters to the head that looks for one where the horizon fails.
OTHER, END_AFTER_OPEN, END_AFTER_CLOSE, MOSTLY_OPEN, NOT_MOSTLY_OPEN = range(5)


def count(tokens: Tokens) -> Flags:
    """Whether there are as many "(" as ")".

    >>> count(torch.tensor([[0, 3, 4, 2], [0, 3, 3, 2]]))
    tensor([ True, False])
    """
    return _signs(tokens).sum(1) == 0


def starts(tokens: Tokens) -> Flags:
    """Whether the first bracket is a "(".

    >>> starts(torch.tensor([[0, 3, 3, 2], [0, 4, 3, 2]]))
    tensor([ True, False])
    """
    return tokens[:, FIRST] == OPEN


def horizon(tokens: Tokens) -> Flags:
    """Whether, read from the right, there are never more "(" than ")".

    >>> horizon(torch.tensor([[0, 4, 4, 2], [0, 4, 3, 2]]))
    tensor([ True, False])
    """
    return (_from_the_right(_signs(tokens)) <= 0).all(1)


def count_and_starts(tokens: Tokens) -> Flags:
    """Whether the counts are equal and the first bracket is a "(".

    >>> count_and_starts(torch.tensor([[0, 3, 4, 2], [0, 4, 3, 2]]))
    tensor([ True, False])
    """
    return count(tokens) & starts(tokens)


def shares(tokens: Tokens) -> Float[Tensor, "row position"]:
    """The share of "(" among the brackets from each position on; 0 where there are none.

    >>> shares(torch.tensor([[0, 3, 3, 4, 4, 2]]))[0, 1:].tolist()
    [0.5, 0.3333333333333333, 0.0, 0.0, 0.0]
    """
    opens, brackets = (_from_the_right(found.double()) for found in (tokens == OPEN, tokens >= OPEN))
    return opens / brackets.clamp(min=1)


def position_classes(tokens: Tokens, share: Float[Tensor, "row position"]) -> Int[Tensor, "row position"]:
    """What kind of place each position is: an end after "(", an end after ")", a bracket from which most are "(", any
    other bracket, or (0) start and padding, which are told apart by their position and mask.

    >>> tokens = torch.tensor([[0, 3, 4, 4, 2, 1]])
    >>> position_classes(tokens, shares(tokens))
    tensor([[0, 4, 4, 4, 2, 0]])
    """
    before = tokens.roll(1, dims=1)
    bracket, end = tokens >= OPEN, tokens == END
    found = torch.full_like(tokens, OTHER)
    found[bracket] = torch.where(share > 0.5, MOSTLY_OPEN, NOT_MOSTLY_OPEN)[bracket]
    found[end] = torch.where(before == OPEN, END_AFTER_OPEN, END_AFTER_CLOSE)[end]
    return found


def _signs(tokens: Tokens) -> Int[Tensor, "row position"]:
    """1 for "(", -1 for ")", 0 for what is no bracket."""
    return (tokens == OPEN).long() - (tokens == CLOSE).long()


def _from_the_right(x: Tensor) -> Tensor:
    """The sum from each position on."""
    return x.flip(1).cumsum(1).flip(1)


@dataclass(frozen=True, eq=False)
class AdjustedShares(Component):
    """The share of "(" among all brackets, of which those before a position weigh something else than those after.

    `weights` has both, by the number of brackets and the position; of all that come before it, and of the rest.
    """

    weights: Float[Tensor, "length position 2"]

    def __call__(self, tokens: Tokens) -> Float[Tensor, "row position"]:
        opens, brackets = (found.double() for found in (tokens == OPEN, tokens >= OPEN))
        before, after = self.weights[brackets.sum(1).long(), : tokens.shape[1]].to(tokens.device).unbind(dim=-1)

        def weighed(x: Tensor) -> Tensor:
            return before * (x.cumsum(1) - x) + after * _from_the_right(x)

        total = weighed(brackets)
        return weighed(opens) / total.where(total > 0, 1)
