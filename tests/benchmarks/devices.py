"""(i) A GPU beside the processor: the same scores, and the time of each.

The ladder of the induction study, in 32 and in 16 bits; path patching on GPT-2 small's shape; and (g) and (h), whose
loops of hooked passes then run on the GPU as well.
"""

from collections.abc import Mapping

import numpy as np
import torch
from accelerators import FOUND, NONE

from . import effects, gpt2
from .figures import Figure, Skipped, in_turns, quotient
from .ladder import ladder

EQUAL, NEAR = 1e-5, 0.02
NAME = "devices"


def measure(*, rows: int = 256, repeats: int = 3, members: int | None = None) -> list[Figure | Skipped]:
    """The figures for the first device that torch finds beside the processor."""
    if not FOUND:
        return [Skipped(NAME, NONE)]
    device = FOUND[0]
    return [
        *_ladder(rows, device, repeats),
        *_patching(rows, device, repeats),
        *gpt2.measure(rows=max(1, rows // 16), repeats=repeats, heads=members, device=device),
        *effects.measure_effects(rows=max(1, rows // 64), repeats=repeats, members=members, device=device),
    ]


def _ladder(rows: int, device: str, repeats: int) -> list[Figure]:
    """All experiments: scores against the processor's, and the times."""
    here, there, half = (
        ladder(rows=rows, device=where, dtype=dtype)
        for where, dtype in (("cpu", torch.float32), (device, torch.float32), (device, torch.bfloat16))
    )
    expected, found, rounded = (
        {name: np.array([score.scrubbed, score.recovered]) for name, score in L.score().items()}
        for L in (here, there, half)
    )
    seconds = in_turns(repeats, here=here.score, there=there.score, half=half.score)
    what = f"ladder of {len(expected)} experiments"
    return [
        Figure(NAME, f"{what}: scores on {device} differ by", _apart(expected, found), unit="", at_most=EQUAL),
        Figure(NAME, f"{what}: in bfloat16, by", _apart(expected, rounded), unit="", at_most=NEAR),
        quotient(NAME, f"{what}: processor / {device}", seconds["here"], seconds["there"]),
        quotient(NAME, f"{what}: processor / {device} in bfloat16", seconds["here"], seconds["half"]),
    ]


def _patching(rows: int, device: str, repeats: int) -> list[Figure]:
    """Path patching of each head and MLP: losses against the processor's, and the times."""
    here = gpt2.shape(rows=max(1, rows // 16))
    there = here.on(device)
    difference = _apart(here.scrubbed(), there.scrubbed())
    seconds = in_turns(repeats, here=here.scrubbed, there=there.scrubbed)
    return [
        Figure(NAME, f"path patching: losses on {device} differ by", difference, unit="", at_most=EQUAL),
        quotient(NAME, f"path patching: processor / {device}", seconds["here"], seconds["there"]),
    ]


def _apart(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> float:
    """The largest difference, relative to the largest of the numbers that are compared, or to 1."""
    return max(float((abs(found[n] - e) / max(1.0, abs(e).max())).max()) for n, e in expected.items())
