"""Sweeps: one experiment for each head, layer, position or pair of them, all in one run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Unpack

import numpy as np
from rich.console import RenderableType

from scrubbing.errors import DataError, HypothesisError, MissingPackageError, nearest
from scrubbing.errors.arguments import checked
from scrubbing.experiments.arguments import Baseline
from scrubbing.experiments.measures import measure
from scrubbing.experiments.preparation import Settings
from scrubbing.experiments.scoring import scrub
from scrubbing.graph import Graph
from scrubbing.graph.data import Data
from scrubbing.graph.hypothesis import Hypothesis
from scrubbing.score import Score
from scrubbing.score.statistics import Column, holm, interval_of_mean, p_of_mean
from scrubbing.score.tables import Printed, decimals_for, fixed, titled

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

MOST = 20_000  # members, unless more are asked for
SHOWN = 20
LEVELS = {0.001: "***", 0.01: "**", 0.05: "*"}

Axes = Annotated[Mapping[str, Sequence[Any]], 'a dict from names to values, such as {"layer": range(12)}']


@dataclass(frozen=True, eq=False, repr=False)
class Sweep(Printed):
    """The scores of a sweep by the values of its axes; combinations that were left out have none.

    >>> from scrubbing import Graph, sweep
    >>> G = Graph(a0=lambda x: x, a1=lambda x: -3 * x, loss=lambda a0, a1: abs(a0 + a1))
    >>> found = sweep(G, {"head": [0, 1]}, lambda head: {f"a{head}": "zero"}, {"x": [1.0, 2.0, 4.0]})
    >>> found.frame["change"].round(2).tolist()
    [2.33, -2.33]
    >>> round(found[1].scrubbed, 2)
    2.33
    """

    axes: Mapping[str, tuple[Any, ...]]
    scores: Mapping[tuple[Any, ...], Score]

    def __getitem__(self, at: Any) -> Score:
        """The score of a combination, its values in the order of the axes."""
        key = at if isinstance(at, tuple) else (at,)
        if key not in self.scores:
            raise DataError(f"the sweep has no member {at!r} of the axes {', '.join(self.axes)}")
        return self.scores[key]

    @cached_property
    def frame(self) -> "pd.DataFrame":
        """A row for each member, in the order of the axes.

        `loss` is the scrubbed loss, `change` what it is above the network's own (more is worse), with its 95% interval
        `low` to `high`; `recovered` is a fraction. `p` is that of the paired test that nothing changes, corrected for
        the number of members (Holm 1979).
        """
        import pandas as pd

        corrected = holm(np.array([p_of_mean(_added(score), design=score.design) for score in self.scores.values()]))
        rows = [
            (score.scrubbed, *_change(score), _number(score.recovered), p)
            for score, p in zip(self.scores.values(), corrected.tolist(), strict=True)
        ]
        index = pd.MultiIndex.from_tuples(self.scores, names=list(self.axes))
        if len(self.axes) == 1:
            index = index.get_level_values(0)
        return pd.DataFrame(rows, index=index, columns=["loss", "change", "low", "high", "recovered", "p"])

    def array(self, of: str = "change") -> "xr.DataArray":
        """One column of `frame` with a dimension for each axis; NaN where a combination was left out.

        Raises `MissingPackageError` without xarray, `DataError` for a column that is none.
        """
        try:
            import xarray as xr
        except ImportError:
            raise MissingPackageError(
                "an array with named axes needs xarray: pip install 'scrubbing[sweeps]'"
            ) from None
        column = self._column(of)
        values = np.full([len(along) for along in self.axes.values()], np.nan)
        for places, value in zip(self.scores, column, strict=True):
            values[tuple(along.index(v) for along, v in zip(self.axes.values(), places, strict=True))] = value
        return xr.DataArray(values, coords={name: list(along) for name, along in self.axes.items()}, name=of)

    def top(self, count: int = 10, *, by: str = "change") -> "pd.DataFrame":
        """The members that are furthest from zero in one column of `frame`, the furthest first."""
        order = self._column(by).abs().sort_values(ascending=False, kind="stable").index[:count]
        return self.frame.loc[order]

    def _column(self, name: str) -> "pd.Series":
        frame = self.frame
        if name not in frame:
            raise DataError(f"a sweep has no column {name!r}{nearest(name, frame.columns)}")
        return frame.loc[:, name]

    def __rich__(self) -> RenderableType:
        top = self.top(SHOWN)
        decimals = decimals_for(top["change"])
        keys = [key if isinstance(key, tuple) else (key,) for key in top.index]
        rows = [
            [
                *map(str, key),
                f"{fixed(change, decimals)}{_stars(p)}",
                f"{fixed(low, decimals)} to {fixed(high, decimals)}",
                "" if np.isnan(recovered) else f"{100 * recovered:.1f}%",
            ]
            for key, (_, change, low, high, recovered, p) in zip(keys, top.to_numpy().tolist(), strict=True)
        ]
        first = next(iter(self.scores.values()))
        notes = [f"{first.references} references; * p < .05, ** .01, *** .001, corrected for {len(self.scores)} tests"]
        notes += [f"the {SHOWN} largest of {len(self.scores)}"] if len(self.scores) > SHOWN else []
        title = f"change of the loss (the network's own is {first.original:.4f}; more is worse)"
        return titled(title, [*self.axes, "change", "95% interval", "recovered"], rows, notes)


@checked
def sweep(
    G: Graph,
    over: Axes,
    one: Callable[..., Any],
    data: Data,
    *,
    baseline: Baseline | None = None,
    most: int = MOST,
    **settings: Unpack[Settings],
) -> Sweep:
    """Make an experiment of each combination of the axes' values, and score all of them in one run.

    - `over`: the axes by name, for example `{"layer": range(12), "head": range(12), "role": ["end", "subject"]}`
    - `one`: gets the values of a combination by name and returns an intervention of `measure` (`{node: instead}`), a
      `Hypothesis` of G, or None, which leaves the combination out. It returns the same kind for all
    - `baseline`: what recovers nothing; hypotheses need one, and `measure` says what interventions have by default
    - `most`: more members than that are refused before the work

    `settings` are those of `measure` or of `scrub`. What the members share is computed once.

    >>> from scrubbing import Graph, sweep
    >>> G = Graph(a0=lambda x: x, a1=lambda x: -3 * x, loss=lambda a0, a1: abs(a0 + a1))
    >>> found = sweep(G, {"head": [0, 1]}, lambda head: {f"a{head}": "zero"}, {"x": [1.0, 2.0, 4.0]})
    >>> found.top(1).index.tolist()
    [0]

    Raises `HypothesisError` for a sweep of no members or too many, and for what is neither a hypothesis nor an
    intervention, and what `measure` and `scrub` raise.
    """
    axes = {name: tuple(values) for name, values in over.items()}
    members = prod(len(values) for values in axes.values())
    if members > most:
        sizes = " x ".join(f"{len(values)} {name}s" for name, values in axes.items())
        raise HypothesisError(
            f"the sweep has {members:,} members ({sizes}), each a run of what follows it; make one with fewer, "
            f"look at the cost of some with explain, or allow it with most={members}"
        )
    made = {values: one(**dict(zip(axes, values, strict=True))) for values in product(*axes.values())}
    made = {values: member for values, member in made.items() if member is not None}
    if not made:
        raise HypothesisError("the sweep has no members: an axis is empty, or every combination was left out")
    kinds = {isinstance(member, Hypothesis) for member in made.values()}
    if len(kinds) > 1:
        raise HypothesisError("some members are hypotheses and some are interventions; sweep each kind by itself")
    names = {values: _name(axes, values) for values in made}
    named = {names[values]: member for values, member in made.items()}
    if True in kinds:
        if baseline is None:
            raise HypothesisError("a sweep of hypotheses needs a baseline=, as scrub does")
        found = scrub(named, data, baseline=baseline, **settings)
    else:
        found = measure(G, named, data, baseline=baseline, **settings)
    return Sweep(axes, {values: found[name] for values, name in names.items() if name in found})


def _name(axes: Mapping[str, tuple[Any, ...]], values: tuple[Any, ...]) -> str:
    return ", ".join(f"{axis} {value}" for axis, value in zip(axes, values, strict=True))


def _added(score: Score) -> Column:
    return score.column("scrubbed") - score.column("original")


def _change(score: Score) -> tuple[float, float, float]:
    added = _added(score)
    low, high = interval_of_mean(added, design=score.design) or (np.nan, np.nan)
    return float(added.mean()), low, high


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _stars(p: float) -> str:
    return next((stars for level, stars in LEVELS.items() if p < level), "")
