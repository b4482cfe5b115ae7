"""The table of situations: what is promised in each, and in which limits it must be found."""

import numpy as np

from simulations.choices import planned, the_best
from simulations.promise import Found, Promise, Situation, covers, errs
from simulations.rows import by_position, of_files, shared, small_classes
from simulations.tails import a_ratio, a_share, a_tail, calm, lognormal, ordinary, rare, until

NO_WIDTH = Promise(0.0, (0.0, 0.0))
EXACT = "exact intervals of whole numbers of failures: too wide, never too narrow"
UNSEEN = "hardly a failure is seen, and one is always allowed for: too wide, never too narrow"
CLASSES = "from what is recovered with self-donors to what is without, which is wider than either needs"
SAID = Promise(None, (0.0, 0.9), "what an interval would be that knows of no sharing")
LAW = "the few values that make the mean are often not seen; the score says so, and at_least is false (below)"
CARRY = "failures of unequal size: one more than was seen is allowed for, and a larger one"
FIVE = "about five failures are seen, of unequal size: how large the next may be is hardly known"
OR_SAID = "interval, or a remark that none is honest"
TESTS = {"at_least": errs(0.05), ">": errs(0.025), "compare": errs(0.05)}
POSITIONS = "the variance has an error of its own (dependence.md); 300 rows, or 4 draws, are enough"


def _lognormal(sigma: float, n: int, least: float) -> Situation:
    promises = {
        "interval": covers(least, 0.97, LAW if least < 0.93 else ""),
        OR_SAID: Promise(0.95, (0.93, 1.0), "the remark is right more often than needed"),
        "at_least": errs(0.05),
    }
    return Situation(a_ratio(lognormal(sigma), 0.5, n), promises, *((1000, 200) if n < 1000 else (400, 60)))


def _carry(n: int, **promises: Promise) -> Situation:
    held = {"interval": covers(), "at_least": errs(0.05)} | promises
    return Situation(a_ratio(rare(0.05, 4.0), 0.8, n), held, *((1500, 300) if n < 1000 else (400, 60)))


def _normal(rng, n):
    return rng.normal(size=n)


def _exponential(rng, n):
    return rng.exponential(size=n)


CHOICES = {
    "its own interval": Promise(None, (0.0, 0.8), "the best of many is chosen for its luck, and `compare` warns of it"),
    "at once": covers(),
    "held out": covers(),
    "all differences": covers(),
    "behind the best": covers(0.97, 1.0, "all that may be the best are allowed for, and equal ones all may be"),
    "a difference's width over Bonferroni's": Promise(None, (0.0, 0.98), "losses that correlate make it narrower"),
}
AHEAD = CHOICES | {
    "its own interval": covers(),
    "at once": covers(0.97, 1.0, "it allows for a choice, and here there is none"),
    "behind the best": covers(),
}

SITUATIONS = {
    "all 200 rows are references and donors, 1 draw": Situation(shared(), {"interval": covers(), **TESTS}, 400, 80),
    "8 draws": Situation(shared(draws=8), {"interval": covers(), **TESTS}, 200, 40),
    "32 draws": Situation(shared(draws=32), {"interval": covers(), **TESTS}, 120, 15),
    "exact": Situation(shared(exact=True), {"interval": covers(), **TESTS}, 350, 30),
    "a donor for each of 4 positions, 200 rows": Situation(
        by_position(), {"interval": covers(0.9, 0.97, POSITIONS), "as if independent": SAID}, 600, 100
    ),
    "300 rows": Situation(by_position(rows=300), {"interval": covers(), "as if independent": SAID}, 600, 100),
    "300 rows, 8 positions": Situation(
        by_position(rows=300, positions=8), {"interval": covers(), "as if independent": SAID}, 400, 60
    ),
    "200 rows, 4 draws": Situation(by_position(draws=4), {"interval": covers(), "as if independent": SAID}, 400, 60),
    **{
        f"1,000 rows in {classes} classes, a datum may stand in for itself": Situation(
            small_classes(classes), {"interval": covers(0.93, 1.0, CLASSES), "at_least(0.55)": errs(0.05)}, 400, 60
        )
        for classes in (100, 500)
    },
    **{
        f"77 files of 1 to 40 rows, intra-class correlation {alike}": Situation(
            of_files(77, alike),
            {
                "interval": covers(),
                "at_least": errs(0.05),
                "compare": errs(0.05),
                "design effect": Promise(effect, (0.9 * effect, 1.1 * effect)),
                "without groups": SAID,
            },
            1500,
            300,
        )
        for alike, effect in ((0.04, 2.0), (0.27, 7.9))
    },
    "well-behaved losses, n = 50": Situation(
        a_ratio(ordinary, 0.7, 50), {"interval": covers(), "at_least": errs(0.05)}, 2000, 400
    ),
    "lognormal losses, sigma 1.5, n = 50": _lognormal(1.5, 50, 0.9),
    "sigma 1.5, n = 200": _lognormal(1.5, 200, 0.91),
    "sigma 1.5, n = 1000": _lognormal(1.5, 1000, 0.91),
    "sigma 2, n = 50": _lognormal(2.0, 50, 0.85),
    "sigma 2, n = 200": _lognormal(2.0, 200, 0.88),
    "sigma 2, n = 1000": _lognormal(2.0, 1000, 0.9),
    "5% of references carry all the loss, n = 50": _carry(50, interval=covers(0.93, 1.0, UNSEEN)),
    "5% carry all, n = 200": _carry(200, interval=covers(0.93, 0.98, CARRY)),
    "5% carry all, n = 1000": _carry(1000, interval=covers(0.93, 0.98, CARRY)),
    "0.5% of references fail, n = 100": Situation(
        a_ratio(rare(0.005, 5.2), 0.974, 100),
        {
            "interval": covers(0.93, 1.0, UNSEEN),
            "no width": NO_WIDTH,
            "at_least(0.995)": errs(0.05),
            "at_least": errs(0.05),
        },
        1500,
        300,
    ),
    "0.5% fail, n = 1000": Situation(
        a_ratio(rare(0.005, 5.2), 0.974, 1000),
        {"interval": covers(), "at_least": Promise(0.05, (0.0, 0.07), FIVE)},
        1500,
        300,
    ),
    "0.5% fail, until=0.01": Situation(
        until(rare(0.005, 5.2), 0.974, 0.01), {"interval": covers(0.93, 1.0, "at all looks at once")}, 200, 40
    ),
    "well-behaved, until=0.02": Situation(
        until(calm, 0.7, 0.02), {"interval": covers(0.93, 1.0, "at all looks at once")}, 200, 40
    ),
    "agreement of .98, n = 50": Situation(
        a_share(0.98, 50), {"interval": covers(0.95, 1.0, EXACT), "no width": NO_WIDTH}, 2000, 500
    ),
    **{
        f"cvar(0.95), n = {n}": Situation(
            a_tail(_exponential, 1 - np.log(0.05), 0.95, n),
            {"has an interval": Promise(0.0, (0.0, 0.0), "fewer than 20 values above the quantile: none is offered")},
            100,
            20,
        )
        for n in (50, 200)
    },
    "cvar(0.9) of exponential losses, n = 200": Situation(
        a_tail(_exponential, 1 - np.log(0.1), 0.9, 200), {"interval": covers()}, 1500, 300
    ),
    "cvar(0.95) of normal losses, n = 400": Situation(
        a_tail(_normal, 2.0627, 0.95, 400), {"interval": covers()}, 1500, 300
    ),
    "the best of 26 equal hypotheses": Situation(the_best([0.5] * 26), CHOICES, 50, 6),
    "the best of 6 equal ones": Situation(
        the_best([0.5] * 6), CHOICES | {"its own interval": Promise(None, (0.0, 0.93), "as above")}, 200, 40
    ),
    "one ahead of 5 equal ones": Situation(the_best([0.9, *[0.5] * 5]), AHEAD, 200, 40),
    "plan_samples, a pilot of 200, assurance .8": Situation(
        planned(200, 0.8), {"width reached": Promise(0.8, (0.75, 0.9))}, 500, 100
    ),
    "assurance .5": Situation(planned(200, 0.5), {"width reached": Promise(0.5, (0.4, 0.6))}, 500, 100),
}


HEADINGS = ("situation", "of what", "claimed", "simulated", "limits", "why these limits")


def lines(name: str, found: dict[str, Found]) -> list[str]:
    """A situation as lines of a table in Markdown."""
    made = []
    for k, (of, promise) in enumerate(SITUATIONS[name].promises.items()):
        claimed = "" if promise.claimed is None else _number(promise.claimed)
        low, high = map(_number, promise.limits)
        value = f"{_number(found[of].value)} ± {_number(found[of].error)}"
        made.append(f"| {'' if k else name} | {of} | {claimed} | {value} | {low} to {high} | {promise.why} |")
    return made


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".").replace("0.", ".", 1) if 0 < value < 1 else f"{value:.3g}"
