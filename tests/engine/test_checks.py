"""A network is asked whether it is deterministic, in eval mode, and the one that it was rewritten from."""

import re

import numpy as np
import pytest
import torch

from scrubbing import Graph, GraphError
from scrubbing.engine import checks
from scrubbing.engine.checks import CHECKED
from scrubbing.engine.contract import refuse_training_mode
from scrubbing.engine.features import Features
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.planning import Planner
from scrubbing.engine.policy import Policy
from scrubbing.engine.sampling.streams import Sample

COLUMNS = {"x": torch.arange(12.0)}
ALL = np.arange(12)
G = Graph(a=lambda x: 2 * x, loss=lambda a: a - 1)


def check_networks(graphs, columns, references):
    """The check, of a run on these references."""
    interpreter = Interpreter(dict(columns), Sample(references, len(next(iter(columns.values())))))
    checks.check_networks(graphs, Planner(Policy(), Features(interpreter)), interpreter)


def test_a_network_and_its_rewrites_pass():
    check_networks([G, G.rewritten({"a": lambda x: x + x}), G.rewritten({"a": lambda x: 2 * x + 1e-5})], COLUMNS, ALL)


def test_another_value_is_named_with_its_size():
    message = (
        "a rewritten graph and the one that it was rewritten from differ by up to 0.5 on the first 4 references; "
        "a rewrite must change no value (check=False skips this test)"
    )
    with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
        check_networks([G, G.rewritten({"a": lambda x: 2 * x + 0.5})], COLUMNS, ALL)


@pytest.mark.parametrize("wrong", [lambda x: 2 * x + 0.02, lambda x: x * torch.nan])
def test_a_difference_above_the_tolerance_is_one_and_so_is_nan(wrong):
    with pytest.raises(GraphError, match="differ by up to"):
        check_networks([G.rewritten({"a": wrong})], COLUMNS, ALL)


@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize(("dtype", "passes"), [(torch.float32, False), (torch.bfloat16, True)])
def test_what_rounding_explains_is_no_difference(dtype, passes, scale):
    """A hundredth of the largest loss: more than 32 bits explain, less than 16 do."""
    H = Graph(a=lambda x: scale * x.to(dtype), loss=lambda a: a.float() + scale)
    graphs = [H.rewritten({"a": lambda x: scale * (x + 0.02).to(dtype)})]
    columns = {"x": torch.tensor([0.0, 0.25, 0.5, 0.75])}
    if passes:
        check_networks(graphs, columns, np.arange(4))
    else:
        with pytest.raises(GraphError):
            check_networks(graphs, columns, np.arange(4))
    with pytest.raises(GraphError):
        check_networks([H.rewritten({"a": lambda x: -scale * x.to(dtype)})], columns, np.arange(4))


def test_only_the_first_references_are_looked_at():
    wrong_later = G.rewritten({"a": lambda x: torch.where(x < CHECKED, 2 * x, 0 * x)})
    check_networks([wrong_later], COLUMNS, ALL)
    with pytest.raises(GraphError):
        check_networks([wrong_later], COLUMNS, ALL[::-1].copy())


def test_randomness_is_named():
    message = (
        "the network gives other losses for the same rows when it is run again; take the randomness out of it "
        "(dropout, sampling), or make it a column of the data"
    )
    with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
        check_networks([Graph(loss=lambda x: x + torch.rand(len(x)))], COLUMNS, ALL)


def test_nan_is_the_same_again():
    check_networks([Graph(loss=lambda x: x / 0 * 0)], COLUMNS, ALL)


@pytest.mark.parametrize("which", ["module", "method"])
def test_training_mode_is_named(which):
    class Double(torch.nn.Module):
        def forward(self, x):
            return 2 * x

    module = Double()
    graph = Graph(a=module if which == "module" else module.forward, loss=lambda a: a)
    with pytest.raises(GraphError, match=r"^'a' is a module in training mode; call \.eval\(\) on it first$"):
        refuse_training_mode(graph)
    module.eval()
    refuse_training_mode(graph)


def test_a_graph_is_checked_once_however_often_it_is_given():
    calls = []
    counted = Graph(loss=lambda x: calls.append(len(x)) or x)
    check_networks([counted] * 5, COLUMNS, ALL)
    assert calls == [1] * (2 * CHECKED)
