"""Random networks, hypotheses, datasets and policies: what the tests of laws draw from."""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from torch import Tensor

from scrubbing import Graph, Hypothesis, Node, bins, mean, per_position, reads, within


def examples(count: int) -> Callable[[Any], Any]:
    """A third of so many random examples, the same in every run; SCRUBBING_EXAMPLES=1 makes them so many."""
    return settings(
        max_examples=math.ceil(count * float(os.environ.get("SCRUBBING_EXAMPLES", "0.33"))),
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )


POSITIONS = 2
COLUMNS = ("x0", "x1", "x2")
FEATURE_ONLY = "extra"  # a column that no network reads


@dataclass(frozen=True)
class Mix:
    """A function of integers `[row, position]` that mixes its inputs, and every position with the one before."""

    weights: tuple[int, ...]
    before: int
    modulus: int

    def __call__(self, *values: Any) -> Tensor:
        parts = tensors(values)
        total = sum(w * part for w, part in zip(self.weights * len(parts), parts, strict=False))
        assert isinstance(total, Tensor)
        return (total + self.before * total.roll(1, dims=1)) % self.modulus


@dataclass(frozen=True)
class MixedLoss:
    """One number per row."""

    mix: Mix

    def __call__(self, *values: Any) -> Tensor:
        return (self.mix(*values) * torch.arange(1, POSITIONS + 1)).sum(dim=1).double()


def plus_one(value: Tensor) -> Tensor:
    return value + 1


def tensors(value: Any) -> list[Tensor]:
    """All tensors in a tuple of tuples: what `reads` of several names passes on."""
    return [tensor for part in value for tensor in tensors(part)] if isinstance(value, tuple) else [value]


def mixes(modulus: st.SearchStrategy[int]) -> st.SearchStrategy[Mix]:
    return st.builds(Mix, st.tuples(*[st.integers(1, 5)] * 3), st.integers(0, 2), modulus)


def some_of(names: Iterable[str], likely: int = 1) -> st.SearchStrategy[list[str]]:
    """A subset, with each name in it at odds of `likely` to one."""
    names = sorted(names)
    chosen = st.tuples(*[st.sampled_from([False, *[True] * likely])] * len(names))
    return chosen.map(lambda choice: [name for name, is_in in zip(names, choice, strict=True) if is_in])


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    """A network of two to six nodes; the loss reads the label and whatever nothing else reads."""
    nodes: dict[str, Node] = {}
    for i in range(draw(st.sampled_from([3, 4, 5, 2, 1]))):
        names, size = st.sampled_from([*COLUMNS, *nodes, *nodes]), draw(st.sampled_from([2, 1, 3]))
        inputs = draw(st.lists(names, min_size=size, max_size=size, unique=True))
        nodes[f"n{i}"] = Node(draw(mixes(st.integers(2, 7))), tuple(inputs), position_axis=1)
    read = {i for node in nodes.values() for i in node.inputs}
    unread = [name for name in nodes if name not in read]
    more = draw(some_of(set(COLUMNS) | (nodes.keys() & read)))[:2]
    return Graph(nodes, loss=Node(MixedLoss(draw(mixes(st.just(1009)))), (*unread, *more, "y")))


@st.composite
def hypotheses(draw: st.DrawFn) -> Hypothesis:
    """A legal hypothesis about a random network: any inputs claimed, under any names, with any features."""
    G = draw(networks())
    output: str = draw(st.sampled_from(["loss", "score"]))
    image = {output: "loss"}
    inputs: dict[str, tuple[str, ...]] = {}
    spare = [f"m{k}" for k in range(20)]
    labels = set(G["loss"].inputs) - set(G)
    scramble = tuple(draw(some_of(labels))) if draw(st.sampled_from([False, False, False, True])) else ()
    to_do = list(image)
    for name in to_do:  # grows while it is walked
        claimed = []
        for p in draw(some_of(set(G[image[name]].inputs) & set(G), likely=3)):
            known = [m for m in to_do if image[m] == p]
            new = [n for n in (p, *G, *spare) if n not in image][:3]
            m: Any = draw(st.sampled_from([*known, *new]))
            if m not in known:
                image[m] = p
                to_do.append(m)
            claimed.append(m)
        columns = set(draw(some_of([*G.columns, FEATURE_ONLY])))
        if name == output:
            columns = (columns | labels) - set(scramble)
        upstream = G.upstream_columns[image[name]]
        if columns and not claimed and not columns & upstream:  # a leaf that chooses nothing
            columns = set() if name == output else columns | {draw(st.sampled_from(sorted(upstream)))}
        inputs[name] = tuple(draw(st.permutations([*claimed, *sorted(columns)])))
    nodes: dict[str, Node] = {}
    for name in sorted(to_do, key=lambda n: len(ancestors(n, inputs))):
        is_constant = not ancestors(name, inputs) - inputs.keys()
        is_function = not is_constant and draw(st.booleans())
        coarse = draw(st.sampled_from([lambda n: n, lambda n: within(n, 1.5), lambda n: bins(n, 2)]))
        function = Node(draw(mixes(st.integers(1, 3))), inputs[name])
        nodes[name] = coarse(function) if is_function else reads(*inputs[name])
    for name in draw(some_of(nodes.keys() - {output}, likely=2)):
        has_positions = ancestors(name, inputs) - inputs.keys()  # a constant has none
        above = {n for n in nodes if name in ancestors(n, inputs)}
        if has_positions and not any(nodes[n].per_position for n in (ancestors(name, inputs) | above) & nodes.keys()):
            nodes[name] = per_position(nodes[name])
    c = {name: p for name, p in image.items() if name != p}
    return Hypothesis(G, Graph(nodes), c, columns=(FEATURE_ONLY,), scramble=scramble)


def ancestors(name: str, inputs: Mapping[str, tuple[str, ...]]) -> set[str]:
    """The nodes and columns that a node's value depends on."""
    return {a for i in inputs.get(name, ()) for a in {i, *ancestors(i, inputs)}}


@st.composite
def datasets(draw: st.DrawFn) -> dict[str, Tensor]:
    """One to six rows of small integers, of which some come twice."""
    names = (*COLUMNS, "y", FEATURE_ONLY)
    row = st.lists(st.integers(0, 2), min_size=len(names) * POSITIONS, max_size=len(names) * POSITIONS)
    rows = draw(st.sampled_from([3, 2, 4, 1]).flatmap(lambda n: st.lists(row, min_size=n, max_size=n)))
    rows += draw(st.lists(st.sampled_from(rows), max_size=2))
    table = torch.tensor(rows).reshape(len(rows), len(names), POSITIONS)
    floating = draw(st.booleans())  # only numbers with a point have means
    return {name: table[:, i].double() if floating else table[:, i] for i, name in enumerate(names)}


@st.composite
def policies(draw: st.DrawFn, h: Hypothesis, rows: int) -> dict[str, Any]:
    """Settings of `scrub` that decide which rows stand in."""

    def given_rows(*shape: int) -> np.ndarray:
        size = int(np.prod(shape))
        return np.array(draw(st.lists(st.integers(0, rows - 1), min_size=size, max_size=size))).reshape(shape)

    donors = {}
    fixed = draw(some_of(set(h.I) - {h.I.output})) if draw(st.sampled_from([False, False, True])) else []
    for name in fixed[:1]:
        by_position = h.I[name].per_position and draw(st.booleans())
        donors[name] = given_rows(rows, POSITIONS) if by_position else given_rows(rows)
    groups = [
        [m for m in node.inputs if m in h.I and len(h.I.readers(m)) == 1 and not h.I[m].per_position]
        for node in h.I.values()
    ]
    grouped = max(groups, key=len) if draw(st.booleans()) else []
    others: Any = draw(st.sampled_from(["node", "reference", "input", "pairing"]))
    return {
        "others": given_rows(rows) if others == "pairing" else others,
        "donors": donors,
        "exclude_self": draw(st.booleans()),
        "unclaimed": draw(st.sampled_from(["resample", "resample", "mean", mean(by="x0"), "zero", plus_one])),
        "together": [grouped] if len(grouped) > 1 else [],
        "seed": draw(st.integers(0, 100)),
    }
