"""Score hypotheses on a mapped file larger than what the process may allocate: `python -m tests.mapped FILE`.

Prints the fractions recovered as JSON, with the bytes of the file and those allowed.
"""

import json
import resource
import sys
from pathlib import Path

import numpy as np
import torch

from scrubbing import Graph, Hypothesis, explain, reads, scrub

ROWS, WIDTH = 2**16, 1024  # of int64: 512 MiB, most of it a hole in the file
ALLOWED = 2**27  # bytes

NETWORK = Graph(kind=lambda tokens: tokens[:, :2].sum(1), loss=lambda kind, label: (kind - label).double().square())
CLAIMS = {
    "the first token": lambda tokens: tokens[:, 0],
    "all tokens": reads("tokens"),
    "the second token": lambda tokens: tokens[:, 1],
}


def write(file: Path) -> None:
    """Rows of tokens of which the first is the label."""
    tokens = np.lib.format.open_memmap(file, mode="w+", dtype=np.int64, shape=(ROWS, WIDTH))
    tokens[:, 0] = np.arange(ROWS) % 3


def allow(more: int) -> None:
    """Let the process allocate so much more than it has; what is mapped from files does not count."""
    status = Path("/proc/self/status").read_text()
    held = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (held + more, held + more))


def main(file: Path) -> None:
    """Score all claims."""
    write(file)
    torch.set_num_threads(1)
    data = {"tokens": np.load(file, mmap_mode="r"), "label": np.arange(ROWS) % 3}
    hypotheses = {
        name: Hypothesis(NETWORK, Graph(kind=claim, loss=reads("kind", "label"))) for name, claim in CLAIMS.items()
    }
    settings = {"baseline": Graph(loss=reads("label")), "references": 1000}
    explain(hypotheses, {name: column[:10] for name, column in data.items()}, **settings)  # imports what it needs
    allow(ALLOWED)
    scores = scrub(hypotheses, data, progress=False, **settings)
    recovered = {name: score.recovered for name, score in scores.items()}
    print(json.dumps({"recovered": recovered, "bytes": file.stat().st_size, "allowed": ALLOWED}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
