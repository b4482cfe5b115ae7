"""(c) The five naive experiments against the published reference implementation, on the same rows and pairing.

The reference runs in an environment of its own, which need not exist: a virtual environment of Python 3.11 on Linux
(x86-64) with torch, numpy, attrs, cattrs, blake3, msgpack and websockets, and rust_circuit==0.4.12 installed with
`--no-deps`. Its Python is named with `--rust-circuit PYTHON`.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hypotheses.induction.ladder import HEADS_DO_NOTHING, experiments, hypothesis, network
from hypotheses.induction.roles import load_roles
from hypotheses.induction.suite import SHIPPED, suite
from scrubbing import Hypothesis, Score, scrub
from scrubbing.lens import Transformer, load_transformer

from .figures import Figure, Skipped, in_turns, quotient
from .ladder import quarter

TOLERANCE = 1e-5
TARGET = 10.0
NAIVE = ("naive/Q", "naive (whole head)/K", "naive/V", "naive/All")
SETTINGS = ("16 optimised", "32 optimised", "8 plain", "16 plain", "32 plain")


class Problem:
    """The shipped model, some of its rows, and a donor for each."""

    def __init__(self, *, rows: int, evaluated: float | None = 0.25) -> None:
        columns = {name: torch.as_tensor(column)[:rows] for name, column in suite().cases[0].data.items()}
        self.model: Transformer = load_transformer(SHIPPED)
        self.roles = load_roles(SHIPPED / "roles.json", n_layers=2, n_heads=self.model.config.n_heads)
        every = torch.full_like(columns["weights"], 1 / columns["weights"].shape[1])
        self.data: dict[str, Tensor] = columns | {"weights": quarter(every, seed=0) if evaluated else every}
        self.pairing = (torch.arange(rows) + 1) % rows
        G, table = network(self.model, self.roles), experiments()
        self.hypotheses = {name: hypothesis(G, table[name]) for name in NAIVE}
        self.baseline = Hypothesis(G, HEADS_DO_NOTHING)

    def score(self, **settings: Any) -> dict[str, Score]:
        """The four hypotheses, and with each its baseline and the network itself, in one call."""
        return scrub(self.hypotheses, self.data, baseline=self.baseline, others=self.pairing, **settings)

    def losses(self, scores: dict[str, Score]) -> dict[str, np.ndarray]:
        """Every row's loss, by experiment."""
        shared = next(iter(scores.values())).losses
        ours = {name: shared[name].to_numpy() for name in ("original", "baseline")}
        return ours | {name: score.losses["scrubbed"].to_numpy() for name, score in scores.items()}

    def save(self, path: Path) -> None:
        """What the other process needs."""
        heads = {name: [h for _, h in chosen] for name, chosen in self._groups().items()}
        columns = {name: self.data[name].numpy() for name in ("tokens", "labels", "weights")}
        weights = {name: value.numpy() for name, value in self.model.weights.items()}
        np.savez(path, pairing=self.pairing.numpy(), threads=torch.get_num_threads(), **heads, **columns, **weights)

    def _groups(self) -> dict[str, list[tuple[int, int]]]:
        every = [(layer, head) for layer in range(2) for head in range(self.model.config.n_heads)]
        ind, prev = list(self.roles.induction), list(self.roles.previous)
        misc = [head for head in every if head[0] == 0 and head not in prev]
        other = [head for head in every if head[0] == 1 and head not in ind]
        return {"ind": ind, "prev": prev, "misc": misc, "other_heads": other}


class Reference:
    """The other process: each call scores all experiments once and returns seconds by experiment."""

    def __init__(self, process: subprocess.Popen[str], losses: Path) -> None:
        self.process, self.path = process, losses
        self.version = self._read()["torch"]

    def __call__(self, settings: str) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write(settings + "\n")
        self.process.stdin.flush()
        return self._read()

    def losses(self) -> dict[str, np.ndarray]:
        """The losses of the last call."""
        with np.load(self.path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the reference implementation's process ended with {self.process.wait()}")
        return json.loads(line)


@contextmanager
def reference(python: str, problem: Problem) -> Iterator[Reference]:
    """The reference implementation on a problem, in a process that ends with the block."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("problem.npz", "losses.npz")]
        problem.save(files[0])
        command = [python, str(Path(__file__).with_name("rust_circuit_side.py")), *map(str, files)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield Reference(process, files[1])
            finally:
                process.kill()


def measure(
    *,
    rust_circuit: str | None,
    rows: int = 64,
    repeats: int = 3,
    settings: Mapping[str, Any] | None = None,
    tried: Sequence[str] = SETTINGS,
) -> list[Figure | Skipped]:
    """The seconds of the reference implementation's five experiments, divided by those of one call of scrub."""
    name = "reference implementation"
    if rust_circuit is None:
        return [Skipped(name, "name the Python of an environment with rust_circuit==0.4.12 by --rust-circuit")]
    quarter_of_it, all_of_it = (Problem(rows=rows, evaluated=evaluated) for evaluated in (0.25, None))
    with reference(rust_circuit, quarter_of_it) as theirs:
        seconds = {how: _five(theirs(how)) for how in tried}
    best = min(tried, key=lambda how: seconds[how])
    return [
        _measure(name, what, problem, rust_circuit, repeats, settings or {}, best)
        for what, problem in (("a quarter of the positions", quarter_of_it), ("all positions", all_of_it))
    ]


def _measure(
    name: str,
    what: str,
    problem: Problem,
    python: str,
    repeats: int,
    settings: Mapping[str, Any],
    best: str,
) -> Figure:
    with reference(python, problem) as theirs:
        theirs(best)
        check_equal(problem.losses(problem.score(**settings)), theirs.losses())
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(repeats):
            seconds["theirs"].append(_five(theirs(best)))
            seconds["ours"] += in_turns(1, ours=lambda: problem.score(**settings))["ours"]
        return quotient(
            name,
            f"its five naive experiments / one call of scrub, {what} evaluated",
            seconds["theirs"],
            seconds["ours"],
            at_least=TARGET if "quarter" in what else None,
            detail=f"{len(problem.pairing)} rows; its best setting: {best} (rows at a time), torch {theirs.version}",
        )


def _five(seconds: Mapping[str, float]) -> float:
    """The time of the five experiments; the network's own loss is not counted, though ours computes it as well."""
    return sum(taken for name, taken in seconds.items() if name != "original")


def check_equal(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> None:
    """Raise unless every experiment has the same mean loss, and every row nearly the same loss."""
    if ours.keys() != theirs.keys():
        raise AssertionError(f"the experiments differ: {sorted(ours)} and {sorted(theirs)}")
    for name, losses in ours.items():
        mean = abs(losses.mean() - theirs[name].mean())
        if not mean <= TOLERANCE or not np.abs(losses - theirs[name]).max() <= 10 * TOLERANCE:
            raise AssertionError(f"{name}: the mean losses differ by {mean:.3g}: different things are computed")
