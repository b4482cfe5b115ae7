"""What a user hands to `scrub`, checked and made into what the rest of the package works with."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Annotated, Any, cast

import numpy as np
from jaxtyping import Int
from torch import Tensor

from scrubbing.engine.policy import DonorSampler, Policy, mean
from scrubbing.engine.sampling.streams import Fixed, draw_references
from scrubbing.errors import DataError, HypothesisError, nearest
from scrubbing.errors.arguments import check
from scrubbing.graph import Graph
from scrubbing.graph.data import Columns, as_array, at_least_one, seed_number
from scrubbing.graph.hypothesis import Hypothesis

Baseline = Annotated[
    Graph | Hypothesis,
    "a Graph such as Graph(loss=reads('labels')), or a Hypothesis: it says what recovers 0%",
]
Hypotheses = Annotated[
    Hypothesis | Sequence[Hypothesis] | Mapping[str, Hypothesis],
    "a Hypothesis (write Hypothesis(G, I)), or several in a list or a dict by name",
]
Count = int | np.integer
Rows = Annotated[Count | Sequence[int] | np.ndarray | Tensor, "a number of rows, or row numbers in a list or an array"]
Donors = Annotated[Mapping[str, Any], "rows or functions by names of I: donors={'A': rows}"]
Together = Annotated[
    Sequence[Sequence[str] | Set[str]], "groups of names in a list: together=[['A', 'B']] is one group of two nodes"
]


def by_name(hypotheses: Hypotheses) -> dict[Any, Hypothesis]:
    """Hypotheses by the key that their answer goes by: a name, or a place in the list."""
    if isinstance(hypotheses, Hypothesis):
        hypotheses = [hypotheses]
    named = dict(hypotheses) if isinstance(hypotheses, Mapping) else dict(enumerate(hypotheses))
    for key, h in named.items():
        check(repr(key), h, Hypothesis)
    return named


def number_drawn(references: Rows | None) -> int:
    """How many references are to be drawn; 0 where they are all rows, or given."""
    return 0 if references is None or np.ndim(references) else at_least_one("references", references)


def choose_references(references: Rows | None, dataset_rows: int, seed: int) -> Int[np.ndarray, " reference"]:
    """All rows in order, that many drawn with replacement, or the rows given."""
    if references is None:
        return np.arange(dataset_rows)
    drawn = number_drawn(references)
    if drawn:
        return draw_references(np.arange(dataset_rows), drawn, seed_number(seed))
    return row_numbers("references", references, dataset_rows)


def fixed_rows(name: str, rows: Any, dataset_rows: int, *, axes: int = 1) -> Fixed:
    """A row (or with two axes, a row per position) for the reference in each row of the dataset."""
    array = row_numbers(name, rows, dataset_rows, axes=axes)
    if len(array) != dataset_rows:
        raise DataError(f"{name} holds {len(array)} rows, but must name one for each of the {dataset_rows} rows")
    return Fixed(array)


def given_donors(name: str, donors: Any, dataset_rows: int) -> Fixed | DonorSampler:
    """Donors of a node: a function that makes them, or rows of the dataset, whole or by position."""
    if callable(donors):
        return cast(DonorSampler, donors)
    return fixed_rows(f"donors[{name!r}]", donors, dataset_rows, axes=2)


def groups_of(together: Together) -> tuple[frozenset[str], ...]:
    """Groups of nodes that share their donor: lists of names in a list."""
    groups = [frozenset(group) for group in together]
    for i, group in enumerate(groups):
        shared = sorted(group & frozenset().union(*groups[:i]))
        if shared:
            raise HypothesisError(f"together names {shared[0]!r} in two groups; put all that share a donor into one")
    return tuple(groups)


def row_numbers(name: str, rows: Any, dataset_rows: int, *, axes: int = 1) -> Int[np.ndarray, "..."]:
    """Row numbers of the dataset, as an array of at most `axes` axes."""
    array = as_array(name, rows)
    if array.dtype.kind not in "iu" or not 1 <= array.ndim <= axes or not array.size:
        raise DataError(f"{name} must be row numbers (integers), and is of type {array.dtype}, shape {array.shape}")
    wrong = array[(array < 0) | (array >= dataset_rows)]
    if wrong.size:
        raise DataError(f"{name} names row {wrong[0]}, but the data have the rows 0 to {dataset_rows - 1}")
    return array.astype(np.int64)


def check_names(named: Mapping[Any, Hypothesis], policy: Policy, columns: Columns, baseline: Baseline) -> None:
    """Raise for settings that name what the hypotheses or the data do not have."""
    if isinstance(policy.others, str) and policy.others not in ("node", "reference", "input"):
        raise HypothesisError(
            f'others={policy.others!r} is no policy; choose "node", "reference", "input" or a tensor of row numbers'
        )
    unclaimed = policy.unclaimed
    if unclaimed not in ("resample", "mean", "zero") if isinstance(unclaimed, str) else isinstance(unclaimed, type):
        raise HypothesisError(
            f'unclaimed={unclaimed!r} is no policy; choose "resample", "mean", mean(by=column), "zero" or a function'
        )
    if isinstance(unclaimed, mean) and unclaimed.over is not None:
        raise HypothesisError(f"unclaimed={unclaimed}: over= is for interventions; hypotheses take all rows")
    if isinstance(unclaimed, mean) and unclaimed.by is not None and unclaimed.by not in columns:
        raise DataError(f"mean(by={unclaimed.by!r}): the data have no such column{nearest(unclaimed.by, columns)}")
    everything = [*named.values(), *(baseline_of(h, baseline) for h in named.values())]
    for graph in dict.fromkeys(graph for h in everything for graph in (h.G, h.I)):
        for column in graph.columns:
            if column not in columns:
                raise DataError(f"the data have no column {column!r}{nearest(column, columns)}")
        for name in graph:
            if name in columns:
                raise DataError(f"{name!r} is a node and a column of the data: rename one of them")
    known = {name for h in named.values() for name in h.I}
    for option, names in (("donors", policy.donors), ("together", frozenset().union(*policy.together))):
        for name in sorted(names):
            if name not in known:
                raise HypothesisError(f"{option} names {name!r}, which no hypothesis claims{nearest(name, known)}")
            if any(name == h.I.output for h in named.values()):
                raise HypothesisError(f"{option} names the output {name!r}, which runs on the reference itself")


def baseline_of(h: Hypothesis, baseline: Baseline) -> Hypothesis:
    """The hypothesis that recovers 0%: given, or an explanation applied to the network of `h`."""
    if not isinstance(baseline, Graph):
        return baseline
    scramble = tuple(column for column in h.scramble if column not in baseline[baseline.output].inputs)
    return replace(h, I=baseline, c={}, scramble=scramble)
