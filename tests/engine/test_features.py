"""What planning asks of the data is computed once, within the memory that it may take."""

import numpy as np
import pytest
import torch

from scrubbing import Graph
from scrubbing.engine.features import Features
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.planning import Planner
from scrubbing.engine.policy import Policy
from scrubbing.engine.sampling.streams import References, Sample


@pytest.mark.parametrize(("memory", "runs"), [(2**20, 1), (100, 3)])
def test_nodes_that_are_asked_about_share_what_they_are_made_of_on_the_first_row(memory, runs):
    seen = []

    def a(x):
        seen.append(len(x))
        return 2.0 * x

    G = Graph(a=a, b=lambda a: a + 1, c=lambda b: b.long(), loss=lambda c: c.sum(1))
    features = Features(Interpreter({"x": torch.ones(4, 3)}, Sample(np.arange(4), 4), memory))
    planner = Planner(Policy(), features)
    assert [features.is_floating(planner.on(References(), G, name)) for name in "abc"] == [True, True, False]
    assert seen == [1] * runs
