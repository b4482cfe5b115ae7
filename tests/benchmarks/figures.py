"""What a benchmark measures: ratios of times that were taken in turns, and what they were taken on."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch


@dataclass(frozen=True)
class Figure:
    """One number with its target, if it has one: "at most" a bound, or "at least" one."""

    benchmark: str
    what: str
    value: float
    lowest: float | None = None  # of the repeats
    highest: float | None = None
    unit: str = "x"
    at_most: float | None = None
    at_least: float | None = None
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.at_most is None and self.at_least is None:
            return None
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )


@dataclass(frozen=True)
class Skipped:
    """A benchmark that was not run, and why."""

    benchmark: str
    why: str


def in_turns(repeats: int, **things: Callable[[], Any]) -> dict[str, list[float]]:
    """Seconds that each thing takes, by name, taken in turns, so that noise falls on all alike. Warm up first."""
    seconds: dict[str, list[float]] = {name: [] for name in things}
    for _ in range(repeats):
        for name, thing in things.items():
            start = time.perf_counter()
            thing()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def quotient(benchmark: str, what: str, numerator: list[float], denominator: list[float], **rest: Any) -> Figure:
    """The median over repeats of one time divided by the other of the same turn."""
    ratios = [a / b for a, b in zip(numerator, denominator, strict=True)]
    detail = f"{median(numerator):.3g} s / {median(denominator):.3g} s"
    detail = "; ".join(part for part in (detail, rest.pop("detail", "")) if part)
    return Figure(benchmark, what, median(ratios), min(ratios), max(ratios), detail=detail, **rest)


def fastest(candidates: list[Any], run: Callable[[Any], Any], *, repeats: int = 2) -> Any:
    """The candidate whose run takes the least time: denominators are given their best settings."""
    seconds = in_turns(repeats, **{str(i): lambda c=c: run(c) for i, c in enumerate(candidates)})
    return candidates[min(range(len(candidates)), key=lambda i: min(seconds[str(i)]))]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
