"""Whether two readings of the same references are independent."""

import numpy as np
from jaxtyping import Float, Int

MOST = 500  # references whose pairs are looked at


def hsic(
    first: Float[np.ndarray, " reference"],
    second: Float[np.ndarray, " reference"],
    *,
    within: Int[np.ndarray, " reference"] | None = None,
    permutations: int = 999,
    seed: int = 0,
) -> tuple[float, float]:
    """The Hilbert-Schmidt independence criterion of two readings, and the p-value of its permutation test.

    Kernels are Gaussian, as wide as the median distance. Zero in the limit if and only if the readings are independent.
    References are permuted `within` groups of them, where some are given: the readings may then differ between groups.
    Of more than 500 references as many are drawn.

    Source: Gretton et al. 2007, A kernel statistical test of independence; (1 + #)/(1 + permutations) by Phipson and
    Smyth 2010.
    """
    rng = np.random.default_rng(seed)
    groups = np.zeros(len(first), dtype=np.int64) if within is None else np.unique(within, return_inverse=True)[1]
    if len(first) > MOST:
        some = np.sort(rng.choice(len(first), MOST, replace=False))
        first, second, groups = first[some], second[some], groups[some]
    one, other = _kernel(first), _kernel(second)
    centred = one - one.mean(axis=0) - one.mean(axis=1, keepdims=True) + one.mean()
    found = float(np.sum(centred * other))
    as_large = 0
    for _ in range(permutations):
        order = np.lexsort((rng.random(len(groups)), groups))
        place = np.empty_like(order)
        place[np.lexsort((np.arange(len(groups)), groups))] = order
        as_large += float(np.sum(centred * other[np.ix_(place, place)])) >= found * (1 - 1e-12)
    return found / len(first) ** 2, (1 + as_large) / (1 + permutations)


def _kernel(values: Float[np.ndarray, " reference"]) -> Float[np.ndarray, "reference reference"]:
    distances = np.abs(values[:, None] - values[None, :])
    apart = distances[distances > 0]
    return np.exp(-((distances / (np.median(apart) if len(apart) else 1.0)) ** 2) / 2)
