"""Random numbers that are looked up by key rather than taken in turn."""

from hashlib import blake2b

import numpy as np
from jaxtyping import Float, Int, UInt64


def keyed_uniforms(seed: int, key: tuple[str, ...], *counters: Int[np.ndarray, "*_"]) -> Float[np.ndarray, "*shape"]:
    """Numbers in [0, 1) that depend on the seed, the key and the counters alone, never on the order of calls.

    The counters broadcast against each other. The mixing function is SplitMix64's (Steele et al. 2014).
    """
    name = repr((seed, key)).encode()
    state = np.uint64(int.from_bytes(blake2b(name, digest_size=8).digest(), "little"))
    for counter in counters:
        state = _mix(state ^ _mix(np.asarray(counter, dtype=np.uint64)))
    return np.asarray((state >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _mix(x: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
