"""Files with bytes that are wrong: flipped, cut off, put in, zeroed, or twice there."""

import random
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scrubbing import ScrubbingError


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The content with one kind of damage, more often near its beginning."""
    damaged, at = bytearray(content), rng.randrange(min(len(content), rng.choice([64, 600, len(content)])))
    kind = rng.choice(["flip", "cut", "insert", "zero", "repeat", "length"])
    if kind == "flip":
        damaged[at] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del damaged[at:]
    elif kind == "insert":
        damaged[at:at] = rng.randbytes(rng.randint(1, 20))
    elif kind == "zero":
        damaged[at : at + 16] = bytes(len(damaged[at : at + 16]))
    elif kind == "repeat":
        damaged[at:at] = damaged[at : at + rng.randint(1, 100)]
    else:
        damaged[:8] = rng.randbytes(8)
    return bytes(damaged)


def outcomes(path: Path, read: Callable[[], Any], times: int, *, seed: int = 0) -> Counter[str]:
    """What becomes of damaged versions of a file: "read", or "refused" in one line. All else is raised."""
    rng, content, found = random.Random(seed), path.read_bytes(), Counter()
    read()
    for _ in range(times):
        for beside in path.parent.glob(f"{path.name}-*"):  # journals of a database
            beside.unlink()
        path.write_bytes(mutated(content, rng))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read()
                found["read"] += 1
            except ScrubbingError as error:
                found["refused" if str(error).strip() and "\n" not in str(error) else repr(error)] += 1
    path.write_bytes(content)
    return found
