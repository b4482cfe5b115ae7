"""(f) Memory: what scoring the ladder takes at its peak under a cap, each cap in a process of its own.

The peak is the process' largest resident set while scoring, less what it held before: imports, weights,
data, and what a first small run leaves loaded. On a processor chunks are kept smaller than a cap allows, for speed;
"filled" are those that are as large as it allows, as on a GPU.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .figures import Figure, Skipped

CAPS = ("1GiB", "2GiB", "4GiB")
WITHIN = 1.2
GIB = 2**30


def measure(*, rows: int = 512, caps: tuple[str, ...] = CAPS, threads: int | None = None) -> list[Figure | Skipped]:
    """The measured peak under each cap, divided by the cap, with chunks as they are and filled."""
    if sys.platform == "win32":
        return [Skipped("memory", "this system does not say how much memory a process took at most")]
    found = {
        (cap, chunks): _in_a_process(cap, rows, chunks, threads) for chunks in ("as they are", "filled") for cap in caps
    }
    return [
        Figure(
            "memory",
            f"measured peak / memory={cap!r}, chunks {chunks}",
            peak["bytes"] / _bytes(cap),
            at_most=WITHIN,
            detail=f"{peak['bytes'] / GIB:.2f} GiB above {peak['before'] / GIB:.2f} GiB; "
            f"{rows} rows of the ladder in {peak['seconds']:.3g} s",
        )
        for (cap, chunks), peak in found.items()
    ]


def _in_a_process(cap: str, rows: int, chunks: str, threads: int | None) -> dict[str, Any]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
    if threads:
        environment |= {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", f"{__package__}.memory", cap, str(rows), chunks]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"scoring with memory={cap!r} failed:\n{run.stderr}")
    return json.loads(run.stdout)


def main(cap: str, rows: int, chunks: str) -> None:
    """Score the ladder under a cap, and print what it took at most as JSON."""
    from scrubbing.engine import evaluate

    from .ladder import ladder

    if chunks == "filled":
        evaluate.LARGEST = _bytes(cap)
    L = ladder(rows=rows)
    L.score(memory=cap, references=2)
    forget_peak()
    before = peak()  # the same counter as after: the system's other one may be some MiB apart
    start = time.perf_counter()
    L.score(memory=cap)
    seconds = time.perf_counter() - start
    print(json.dumps({"bytes": peak() - before, "before": before, "seconds": seconds}))


def peak() -> int:
    """The most that was resident, since `forget_peak` where the system can forget (Linux).

    There `getrusage` would count the parent too: a process that is started has the parent's peak for its own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_peak() -> None:
    """Let the peak start anew (Linux), so that what loading took at most does not count."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def _bytes(cap: str) -> int:
    return int(cap.removesuffix("GiB")) * GIB if cap.endswith("GiB") else int(cap.removesuffix("MiB")) * 2**20


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
