"""Sign-flip permutation test of paired differences."""

import numpy as np
from jaxtyping import Float, Int

AT_ONCE = 2**22  # flipped values


def sign_flip(
    differences: Float[np.ndarray, " reference"],
    group: Int[np.ndarray, " reference"] | None = None,
    *,
    flips: int = 9999,
    seed: int = 0,
) -> float:
    """The two-sided p-value of paired differences that are as likely as their opposites: (1 + #)/(1 + flips).

    Exact for differences that are symmetric about zero, however few and whatever their tails; `group` has references
    whose signs are flipped together.

    Source: Fisher 1935; Phipson and Smyth 2010 for the ones, without which it errs too often.
    """
    parts = differences
    if group is not None:
        parts = np.bincount(np.unique(group, return_inverse=True)[1], differences)
    rng, observed, as_large = np.random.default_rng(seed), abs(float(parts.sum())), 0
    size = max(1, AT_ONCE // len(parts))
    for start in range(0, flips, size):
        signs = rng.integers(0, 2, (min(size, flips - start), len(parts)), dtype=np.int8)
        sums = np.abs((2.0 * signs - 1) @ parts)
        as_large += int((sums >= observed * (1 - 1e-12)).sum())
    return (1 + as_large) / (1 + flips)
