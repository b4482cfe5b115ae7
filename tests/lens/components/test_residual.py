"""Sums told apart: equal terms cancel, differences are taken apart, and the order is the same in every run."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from reference_transformer import random_data, random_transformer

from scrubbing import Graph, Hypothesis, Node, reads, scrub
from scrubbing.engine.expressions import Call, Expressions
from scrubbing.engine.sampling.streams import References
from scrubbing.lens import transformer
from scrubbing.lens.components.norm import Norm
from scrubbing.lens.components.residual import (
    Combination,
    Difference,
    OutputProjection,
    ResidualReader,
    Sum,
    before_writing,
    by_matrix,
    difference,
    terms_of,
    written,
)

TABLE = Expressions()
A, B, C, Z, Y = (TABLE.leaf(name, References()) for name in "abczy")
ONE, OTHER = (OutputProjection(torch.full((2, 3, 4), value)) for value in (1.0, 2.0))


def call(fn, *arguments):
    return TABLE.call(fn, arguments)


def test_sums_and_differences_are_taken_apart():
    error = call(Difference(), A, call(Sum(), B, call(ONE, Z)))
    assert terms_of([call(Sum(), C, error), A]) == Counter({C: 1, A: 2, B: -1, call(ONE, Z): -1})
    assert terms_of([call(Difference(), B, error)]) == {B: 2, A: -1, call(ONE, Z): 1}


def test_equal_terms_cancel_and_leave_nothing():
    error = call(Difference(), A, B)
    assert terms_of([error, B]) == {A: 1}
    assert terms_of([error, call(Difference(), B, A)]) == {}
    assert terms_of([call(ONE, Z), call(Difference(), A, call(ONE, Z))]) == {A: 1}
    assert terms_of([call(ONE, Z), call(Difference(), A, call(OTHER, Z))]) == {
        call(ONE, Z): 1,
        A: 1,
        call(OTHER, Z): -1,
    }


def test_what_is_left_of_a_sum_when_another_is_subtracted():
    left = difference(terms_of([A, B, B, call(ONE, Z)]), terms_of([B, C, call(ONE, Z)]))
    assert left == {A: 1, B: 1, C: -1}
    assert 0 not in left.values()
    assert difference(terms_of([A]), terms_of([A])) == {}


def test_what_one_matrix_writes_is_added_up_before_it_is_written():
    terms = terms_of([call(ONE, Z), call(Difference(), A, call(ONE, Y)), call(OTHER, Z)])
    assert by_matrix(terms) == {ONE: [call(ONE, Y), call(ONE, Z)], None: [A], OTHER: [call(OTHER, Z)]}
    assert before_writing([call(ONE, Y), call(ONE, Z)], terms, TABLE.call) is call(Combination((1, -1)), Z, Y)
    values = written(terms, TABLE.call)
    assert set(values) == {A, call(ONE, call(Combination((1, -1)), Z, Y)), call(OTHER, Z)}
    assert written(Counter(dict(reversed(terms.items()))), TABLE.call) == values


def test_sums_that_begin_alike_share_what_they_begin_with():
    short, long = call(Sum(), A, B, C), call(Sum(), A, B, C, Z)
    assert isinstance(short, Call)
    assert isinstance(long, Call)
    assert long.arguments == (short, Z)
    assert short.arguments == (call(Sum(), A, B), C)


def test_a_combination_adds_each_input_as_often_as_it_says():
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0])
    assert Combination((2, -1))(x, y).tolist() == [-8, -16]
    assert Combination((1, 3))(x, y).tolist() == [31, 62]
    assert Combination((-1,))(x).tolist() == [-1, -2]


def test_a_reader_lowers_to_the_terms_that_are_left_and_once():
    reader = ResidualReader(Norm("LN"))
    lowered = call(reader, call(Difference(), A, call(ONE, Z)), call(ONE, Z))
    assert lowered is call(reader, A)
    assert isinstance(lowered, Call)
    assert lowered.arguments == (A,)


DATA = random_data(random_transformer().config, rows=4)


@pytest.mark.parametrize("terms", [("d1", "d2"), ("d1", "d2", "a0_h0")])
def test_a_stream_whose_terms_cancel_is_the_sum_of_them_all(terms):
    """Nothing, or what is left, whether the network reads the stream or the loss does."""
    network = transformer(random_transformer())
    G = Graph(
        embed=network["embed"],
        a0_h0=network["a0_h0"],
        d1=Node(Difference(), ("embed", "a0_h0"), 1),
        d2=Node(Difference(), ("a0_h0", "embed"), 1),
        a1_h0=Node(network["a1_h0"].fn, terms, 1),
        logits=Node(network["logits"].fn, (*terms, "a1_h0")),
        loss=network["loss"],
    )
    whole = Graph(loss=reads("logits", "labels", "weights"), logits=reads("tokens"))
    only = G | {"logits": Node(network["logits"].fn, terms)}
    for graph in (G, only):
        score = scrub(Hypothesis(graph, whole), DATA, baseline=Graph(loss=reads("labels", "weights")))
        assert score.by_reference.original == pytest.approx(graph(DATA).tolist(), abs=1e-10)
        assert score.by_reference.scrubbed == score.by_reference.original


SCRIPT = """
from rewritten import GRAPHS, CLAIMS, SMALL_DATA
from scrubbing import Hypothesis, Graph, reads, scrub
for G in GRAPHS.values():
    scores = scrub([Hypothesis(G, I) for I in CLAIMS], SMALL_DATA, baseline=Graph(loss=reads("labels", "weights")))
    for score in scores:
        print(*(loss.hex() for loss in score.by_reference.scrubbed), *(kl.hex() for kl in score.by_reference.kl))
"""


@pytest.mark.slow  # two processes that import everything
def test_hashing_changes_no_bit():
    """Sums are taken in one order, whatever the hashes of names are in this run."""

    def start(seed: str) -> subprocess.Popen:
        tests = Path(__file__).parents[2]
        paths = os.pathsep.join(map(str, (tests.parent, tests)))
        settings = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": paths}
        command = [sys.executable, "-W", "ignore", "-c", SCRIPT]
        return subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    runs = [start("1"), start("2")]
    (first, problem), (second, _) = (run.communicate(timeout=300) for run in runs)
    assert [run.returncode for run in runs] == [0, 0], problem
    assert len(first.splitlines()) == 6
    assert second == first
