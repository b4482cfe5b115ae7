"""Reducers: what is added in parts, in any order of merging, is what the whole comes to."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scrubbing import DataError
from scrubbing.experiments.reducers import Count, Histogram, Mean, Quantiles, TopShare

numbers = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40)
EDGES = [-50.0, 0.0, 1.0, 50.0]


@given(numbers, st.integers(0, 40), st.integers(0, 40))
def test_parts_and_shards_come_to_the_whole(values, first, second):
    a, b, c = np.split(np.array(values), sorted([min(first, len(values)), min(second, len(values))]))
    makers = {
        "mean": Mean,
        "count": Count,
        "histogram": lambda: Histogram(EDGES),
        "top": lambda: TopShare(0.3, len(values)),
        "quantiles": lambda: Quantiles([0.0, 0.25, 1.0]),
    }
    for name, make in makers.items():
        whole, one, other = make(), make(), make()
        whole.add(np.array(values))
        one.add(a)
        one.add(b)
        other.add(c)
        merged, expected = one.merge(other).result(), whole.result()
        if name == "top":
            assert merged["key"].tolist() == expected["key"].tolist() == sorted(values, reverse=True)[: whole.size]
        elif name == "count":
            assert merged == expected
        else:
            np.testing.assert_allclose(merged, expected, atol=1e-9)


def test_quantiles_of_a_sample_are_near_those_of_all():
    found = Quantiles([0.1, 0.5, 0.9], size=2500, seed=1)
    values = np.random.default_rng(0).random(50_000)
    for chunk in np.split(values, 10):
        found.add(chunk)
    np.testing.assert_allclose(found.result(), [0.1, 0.5, 0.9], atol=0.03)  # three standard errors of a level
    assert len(found._held) == 2500


def test_tensors_are_counted():
    count = Count()
    count.add(torch.tensor([1, 1, 2]))
    assert count.result() == {1: 2, 2: 1}


def test_the_top_keeps_what_belongs_to_each_row():
    top = TopShare(0.02, total=100)
    for start in range(0, 100, 10):
        rows = np.arange(start, start + 10)
        top.add((rows * 37) % 100, row=rows)
    assert top.result()["row"].tolist() == [(99 * 73) % 100, (98 * 73) % 100]  # 73 is the inverse of 37


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: TopShare(0.0, 10),
        lambda: TopShare(0.5, 0),
        lambda: Histogram([1.0, 1.0]),
        lambda: Histogram([0.0, 1.0]).merge(Histogram([0.0, 2.0])),
        lambda: Mean().result(),
        lambda: Quantiles([0.5]).result(),
    ],
)
def test_mistakes_are_errors(mistake):
    with pytest.raises(DataError):
        mistake()
