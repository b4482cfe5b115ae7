"""Run benchmarks, print a table and write JSON: `python -m tests.benchmarks ladder --rows 256 --json FILE`."""

import argparse
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from . import billion, cluster, devices, effects, gpt2, graphs, growth, ladder, memory, paths, reference
from .figures import Figure, Skipped, machine

Result = Figure | Skipped

BENCHMARKS: dict[str, Callable[[argparse.Namespace], Sequence[Result]]] = {
    "ladder": lambda o: ladder.measure(rows=o.rows, repeats=o.repeats, check=o.check),
    "ladder-50257": lambda o: ladder.measure(
        rows=max(1, o.rows // 4), repeats=o.repeats, check=o.check, vocabulary=50257
    ),
    "ladder-2-heads": lambda o: ladder.measure(rows=o.rows, repeats=o.repeats, check=o.check, heads=2),
    "reference": lambda o: reference.measure(
        rust_circuit=o.rust_circuit, rows=max(2, o.rows // 4), repeats=o.repeats, settings={"check": o.check}
    ),
    "paths": lambda o: paths.measure(
        rows=max(1, o.rows // 16), repeats=o.repeats, heads=o.heads, settings={"check": o.check}
    ),
    "gpt2": lambda o: gpt2.measure(
        rows=max(1, o.rows // 16), repeats=o.repeats, heads=o.heads, settings={"check": o.check}
    ),
    "effects": lambda o: effects.measure_effects(rows=max(1, o.rows // 64), repeats=o.repeats, members=o.heads),
    "effects-tiny": lambda o: effects.measure_effects(
        rows=max(1, o.rows // 64), repeats=o.repeats, members=o.heads, positions=16, n_embd=48, vocab_size=100
    ),
    "devices": lambda o: devices.measure(rows=o.rows, repeats=o.repeats, members=o.heads),
    "billion": lambda o: billion.measure(),
    "growth": lambda o: growth.measure(rows=max(16, o.rows), repeats=o.repeats),
    "graphs": lambda o: graphs.measure(repeats=o.repeats),
    "cluster": lambda o: cluster.measure(rows=o.rows, repeats=o.repeats),
    "memory": lambda o: memory.measure(rows=2 * o.rows, threads=o.threads),
}


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--rows", type=int, default=256, help="rows of the shipped data (default: 256)")
    parser.add_argument(
        "--rust-circuit",
        metavar="PYTHON",
        default=os.environ.get("RUST_CIRCUIT_PYTHON"),
        help="the Python of an environment that has rust_circuit (default: $RUST_CIRCUIT_PYTHON)",
    )
    parser.add_argument("--heads", type=int, help="time the loop of paths on so many heads, and scale (default: all)")
    parser.add_argument("--repeats", type=int, default=3, help="turns, of which the median is shown (default: 3)")
    parser.add_argument("--threads", type=int, help="torch's threads (default: torch's own choice)")
    parser.add_argument("--no-check", dest="check", action="store_false", help="scrub(check=False)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - BENCHMARKS.keys():
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    if options.threads:
        torch.set_num_threads(options.threads)
    results = [r for name in options.names or BENCHMARKS for r in BENCHMARKS[name](options)]
    Console(width=max(Console().width, 120)).print(table(results))
    if options.json:
        record = {"machine": machine(), "figures": [asdict(r) | {"met": getattr(r, "met", None)} for r in results]}
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf8")


def table(results: Iterable[Result]) -> Table:
    """The figures, one line each, with their targets."""
    about = machine()
    shown = Table(
        title="Benchmarks: medians over turns, lowest and highest in brackets",
        caption=", ".join(f"{name} {value}" for name, value in about.items()),
    )
    for heading in ("benchmark", "what"):
        shown.add_column(heading)
    for heading in ("figure", "target"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        if isinstance(result, Skipped):
            shown.add_row(result.benchmark, f"skipped: {result.why}", "", "")
        else:
            shown.add_row(result.benchmark, f"{result.what}\n[dim]{result.detail}[/]", _value(result), _target(result))
    return shown


def _value(figure: Figure) -> str:
    spread = "" if figure.lowest is None else f" [{figure.lowest:.2f}, {figure.highest:.2f}]"
    return f"{figure.value:.2f}{figure.unit}{spread}".replace("[", r"\[")


def _target(figure: Figure) -> str:
    if figure.met is None:
        return ""
    sign, bound = ("≤", figure.at_most) if figure.at_most is not None else ("≥", figure.at_least)
    return f"{sign} {bound:g}{figure.unit} {'met' if figure.met else 'missed'}"


if __name__ == "__main__":
    main()
