"""An order with ties, from the pairs that differ significantly."""

from string import ascii_letters

import numpy as np
from jaxtyping import Bool


def shared_letters(told_apart: Bool[np.ndarray, "hypothesis hypothesis"]) -> tuple[str, ...]:
    """The compact letter display: two hypotheses share a letter if and only if they do not differ.

    To differ significantly is not transitive: if a differs from c, but b from neither, b has the letters of both. By
    insertion and absorption (Piepho 2004).
    """
    groups = [frozenset(range(len(told_apart)))]
    for pair in np.argwhere(np.triu(told_apart)).tolist():
        split = [group - {member} for group in groups if group.issuperset(pair) for member in pair]
        groups = [group for group in groups if not group.issuperset(pair)]
        for group in split:
            if not any(group <= kept for kept in groups):
                groups = [kept for kept in groups if not kept <= group] + [group]
    groups.sort(key=sorted)
    return tuple("".join(_letter(g) for g, group in enumerate(groups) if i in group) for i in range(len(told_apart)))


def _letter(number: int) -> str:
    return ascii_letters[number] if number < len(ascii_letters) else f"({number + 1})"


def tiers(better: Bool[np.ndarray, "hypothesis hypothesis"]) -> tuple[int, ...]:
    """The tier of each hypothesis, 0 the best, from who is significantly better than whom; listed best first.

    A new tier begins only where every hypothesis above is better than every one below, so that the order of the tiers
    is transitive; within one some pairs may differ.
    """
    cut = [bool(better[:k, k:].all()) for k in range(1, len(better))]
    return tuple(np.concatenate([[0], np.cumsum(cut)]).astype(int).tolist())
