"""How much faster many workers would be: `python -m tests.benchmarks.scaling`. A model, from counted operations.

A run takes: to start Ray and send the weights, to plan in each worker, to compute there what all draws share, the
pieces of the worker that has most, and, where that is longer, handing all pieces out one by one. The ladder's
operations are counted by the engine, and the pieces are those that it would make. Those of the two sweeps, of
ablations that compute all that follows again, are two for each weight and token, and four for each pair of tokens and
unit of a stream in attention.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated

import typer
from rich.console import Console

from hypotheses import induction
from scrubbing.engine.cost import cost, operations
from scrubbing.experiments.cluster.tiles import Group, Weigh, busiest, tiles
from scrubbing.experiments.cluster.weighing import outputs_of, weighing
from scrubbing.experiments.preparation import Options, prepare
from scrubbing.score.tables import titled

START, PIECE, SENT = 5.6, 0.0015, 0.7  # seconds: of Ray, a piece, a GiB; `python -m tests.benchmarks cluster`
PLANNING = 0.014  # seconds for each hypothesis
WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
GIB = 2**30


@dataclass(frozen=True)
class Workload:
    """A run: its hypotheses, ranges of draws, and the operations of a group of hypotheses for one draw."""

    name: str
    members: int
    ranges: Sequence[range]
    weigh: Weigh
    chosen_by: Weigh  # what groups are weighed by when they are made
    once: float  # operations that each worker does for itself
    weights: int  # bytes

    def seconds(self, workers: int, rate: float) -> tuple[float, int, str]:
        """How long it takes with workers of so many operations a second; into how many pieces it is cut; what of it
        takes longest.
        """
        cut = tiles(self.members, self.ranges, workers, self.chosen_by)
        weights = {group: self.weigh(group) for group in {tile.jobs for tile in cut}}
        load = busiest((weights[tile.jobs] * len(tile.draws) for tile in cut), workers) / rate
        parts = {
            "start": START + SENT * self.weights / GIB,
            "planning": PLANNING * self.members,
            "once": self.once / rate,
            "pieces": load,
            "handing out": max(0.0, PIECE * len(cut) - load),
        }
        return sum(parts.values()), len(cut), max(parts, key=lambda part: parts[part])


def ladder() -> Workload:
    """The 25 induction hypotheses on all rows of the shipped data, counted."""
    suite = induction.suite()
    case = suite.cases[0]
    prepared = prepare(suite.hypotheses, case.data, case.baseline, Options.of(case.settings))
    roots, evaluator = prepared.outputs.roots, prepared.evaluator
    found = cost(evaluator, roots, len(suite.cases))

    @cache
    def weigh(group: Group) -> float:
        work = evaluator.arranged(outputs_of(prepared, group).roots)
        first = work.order[:1]
        evaluator.interpreter.make_what_is_kept(work.roots, first)
        return sum(operations(evaluator, work, int(first[0])).values())

    ranges = [range(start, min(start + found.chunk, found.draws)) for start in range(0, found.draws, found.chunk)]
    return Workload("the ladder", len(suite.cases), ranges, weigh, weighing(prepared), found.once, 2**22)


def ablations(
    name: str, *, layers: int, heads: int, width: int, mlp: int, matrices: int, vocabulary: int, rows: int, tokens: int
) -> Workload:
    """Each head ablated in turn, a row at a time."""
    of_layer = 4 * width**2 + matrices * width * mlp
    layer = tokens * (2 * of_layer + 4 * tokens * width)
    unembedding = 2 * tokens * width * vocabulary

    def weigh(group: Group) -> float:
        after = (layers - 1 - member // heads for member in group)
        own = 2 * tokens * matrices * width * mlp  # the MLP of the head's own layer
        return layers * layer + unembedding + sum(n * layer + own + unembedding for n in after)

    weights = 2 * (layers * of_layer + width * vocabulary)
    return Workload(name, layers * heads, [range(row, row + 1) for row in range(rows)], weigh, weigh, 0.0, weights)


def workloads() -> list[Workload]:
    """The three that the documentation speaks of."""
    gpt2 = dict(layers=12, heads=12, width=768, mlp=3072, matrices=2, vocabulary=50257)
    llama = dict(layers=16, heads=32, width=2048, mlp=8192, matrices=3, vocabulary=128_256)
    return [
        ladder(),
        ablations("144 heads of GPT-2 small", **gpt2, rows=1024, tokens=64),
        ablations("512 heads of a billion weights", **llama, rows=8192, tokens=128),
    ]


def main(
    gflops: Annotated[float, typer.Option(help="Operations of a worker, in 10^9 a second.")] = 60.0,
) -> None:
    """Print the speed-up of 1 to 1,000 workers on three workloads."""
    runs = workloads()
    columns = ["workers", *(heading for run in runs for heading in (run.name, "pieces", "most"))]
    alone = [run.seconds(1, 1e9 * gflops)[0] for run in runs]
    rows = []
    for workers in WORKERS:
        row = [f"{workers:,}"]
        for run, whole in zip(runs, alone, strict=True):
            seconds, pieces, longest = run.seconds(workers, 1e9 * gflops)
            row += [f"{whole / seconds:.3g}", f"{pieces:,}", longest]
        rows.append(row)
    hours = ", ".join(f"{run.name} {seconds / 3600:.3g} h" for run, seconds in zip(runs, alone, strict=True))
    Console(width=max(Console().width, 120)).print(
        titled(f"speed-up, with {gflops:g} GFLOP/s a worker", columns, rows, [f"one worker: {hours}"])
    )


if __name__ == "__main__":
    typer.run(main)
