"""(e) Growth: time against rows, and against hypotheses scored together."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

from scrubbing import Hypothesis, scrub

from .figures import Figure, in_turns, quotient
from .ladder import Ladder, ladder

LINEAR = 1.1
AGAIN = 1.1


def measure(*, rows: int = 256, repeats: int = 3, rungs: Sequence[str] | None = None, **settings: Any) -> list[Figure]:
    """How time grows; the network's check, which takes the same few rows whatever is scored, is left out."""
    settings = {"check": False, **settings}
    L = ladder(rows=rows)
    if rungs is not None:
        L = replace(L, hypotheses={name: h for name, h in L.hypotheses.items() if name.split("/")[0] in rungs})
    return [*by_rows(L, rows, repeats, settings), *by_hypotheses(first_rows(L, max(2, rows // 8)), repeats, settings)]


def by_rows(L: Ladder, rows: int, repeats: int, settings: dict[str, Any]) -> list[Figure]:
    """The time of twice and four times the rows, divided by twice and four times the time."""
    sizes = [rows // 4, rows // 2, rows]
    parts = {size: first_rows(L, size) for size in sizes}
    for part in parts.values():
        part.score(**settings)
    seconds = in_turns(repeats, **{str(size): partial(part.score, **settings) for size, part in parts.items()})
    return [
        quotient(
            "growth",
            f"{size // sizes[0]} times the rows / {size // sizes[0]} times the time",
            seconds[str(size)],
            [size // sizes[0] * taken for taken in seconds[str(sizes[0])]],
            at_most=LINEAR,
            detail=f"{size} rows and {sizes[0]}, {len(L.hypotheses) + 1} experiments",
        )
        for size in sizes[1:]
    ]


def by_hypotheses(L: Ladder, repeats: int, settings: dict[str, Any]) -> list[Figure]:
    """What hypotheses cost when they are added to others, divided by what they cost on their own.

    Both are counted from the time of the baseline and the network alone, which every call scores.
    """
    rungs: dict[str, dict[str, Hypothesis]] = {}
    for name, h in L.hypotheses.items():
        rungs.setdefault(name.split("/")[0], {})[name] = h
    names = list(rungs)

    def scoring(chosen: Iterable[str], copies: int = 1) -> Callable[[], Any]:
        hypotheses = {f"{name} {i}": h for i in range(copies) for rung in chosen for name, h in rungs[rung].items()}
        hypotheses = hypotheses or {"baseline": L.baseline}
        return lambda: scrub(hypotheses, L.data, baseline=L.baseline, others="reference", **settings)

    together = {f"first {i}": scoring(names[:i]) for i in range(1, len(names) + 1)}
    alone = {f"alone {name}": scoring([name]) for name in names}
    all_of_them = f"first {len(names)}"
    runs = {"none": scoring([]), **together, **alone, "twice": scoring(names, copies=2)}
    for name in ("none", all_of_them):
        runs[name]()
    seconds = in_turns(repeats, **runs)
    none = seconds["none"]
    own = {name: median(_less(seconds[f"alone {name}"], none)) for name in names}
    before = [none, *(seconds[name] for name in together)]
    added = {name: median(_less(before[i + 1], before[i])) for i, name in enumerate(names)}
    worst = max(names, key=lambda name: added[name] / own[name])
    in_all = [sum(seconds[f"alone {name}"][i] - none[i] for name in names) for i in range(repeats)]
    about = f"{len(L.data['tokens'])} rows"
    return [
        quotient(
            "growth",
            "all rungs of the ladder together / the sum of each alone, both less the baseline",
            _less(seconds[all_of_them], none),
            in_all,
            at_most=1.0,
            detail=about,
        ),
        Figure(
            "growth",
            f"the worst rung ({worst}), added to those before it / alone",
            added[worst] / own[worst],
            detail=f"{added[worst]:.3g} s / {own[worst]:.3g} s; {about}",
        ),
        quotient(
            "growth",
            "every hypothesis twice / once",
            seconds["twice"],
            seconds[all_of_them],
            at_most=AGAIN,
            detail=about,
        ),
    ]


def first_rows(L: Ladder, rows: int) -> Ladder:
    """The same experiments on fewer rows."""
    return replace(L, data={name: column[:rows] for name, column in L.data.items()})


def _less(seconds: list[float], base: list[float]) -> list[float]:
    return [a - b for a, b in zip(seconds, base, strict=True)]
