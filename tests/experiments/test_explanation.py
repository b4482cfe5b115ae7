"""The explanation runs, and is compared with the network and the labels on equal terms."""

import numpy as np
import pytest
import torch
from scipy import stats

from hypotheses.toy import CLAIMS, NETWORK, digits
from scrubbing import DataError, Graph, Hypothesis, reads
from scrubbing.errors import UnknownNameError
from scrubbing.experiments import explanation as module
from scrubbing.experiments.accuracy import wilson
from scrubbing.experiments.explanation import explanation_accuracy, run_explanation

DATA = digits()
TOY = {name: Hypothesis(NETWORK, claims) for name, claims in CLAIMS.items()}
OR = TOY["an or of thresholds"]


def above_half(value):
    return value > 0.5


def test_the_explanation_has_an_output_of_its_own():
    assert run_explanation(OR, DATA).tolist() == [True] * 1000
    assert run_explanation(TOY["an exclusive or"], DATA).float().mean() == pytest.approx(0.64)


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("an or of thresholds", 1),
        ("the first digit alone", 0.76),
        ("an exclusive or", 0.64),
        ("a threshold too high", 0.92),
    ],
)
@pytest.mark.parametrize("against", ["model", "y"])
def test_accuracy_is_the_share_of_rows_on_which_the_explanation_says_the_same(name, share, against):
    accuracy = explanation_accuracy(TOY[name], DATA, of="D", against=against, decide=above_half)
    assert accuracy.share == pytest.approx(share)
    assert len(accuracy.wrong) == round(1000 * (1 - share))


def test_rows_may_be_run_in_pieces(monkeypatch):
    whole = explanation_accuracy(TOY["an exclusive or"], DATA, of="D", decide=above_half)
    monkeypatch.setattr(module, "CHUNK", 7)
    pieces = explanation_accuracy(TOY["an exclusive or"], DATA, of="D", decide=above_half)
    assert (pieces.by_row == whole.by_row).all()


def test_accuracy_prints_what_agrees_with_what():
    assert str(explanation_accuracy(TOY["the first digit alone"], DATA, of="D", decide=above_half)) == (
        "I's 'D' agrees with G's 'D' in 76.0% [73.3, 78.5] of 1000 rows"
    )


def test_a_row_of_many_entries_counts_by_the_share_that_agrees():
    G = Graph(a=lambda x: 1.0 * x, loss=lambda a, y: (a - y).sum(1))
    h = Hypothesis(G, Graph(a=lambda x: x.clamp(max=1), loss=reads("a", "y")))
    accuracy = explanation_accuracy(h, {"x": torch.tensor([[0, 1], [1, 2]]), "y": torch.zeros(2, 2)}, of="a")
    assert accuracy.by_row.tolist() == [1, 0.5]
    assert accuracy.wrong.tolist() == [1]


def test_text_is_compared_as_it_is():
    G = Graph(a=lambda x: x, loss=lambda a, y: a - y)
    h = Hypothesis(G, Graph(a=lambda word, x: word, loss=reads("a", "y")), columns=("word", "said"))
    data = {"x": [0, 1], "y": [0, 0], "word": ["to", "a"], "said": ["to", "the"]}
    assert explanation_accuracy(h, data, of="a", against="said").by_row.tolist() == [1, 0]


def test_numbers_may_agree_within_a_tolerance():
    assert explanation_accuracy(OR, DATA, of="A", tolerance=0.1).share == 1
    assert explanation_accuracy(OR, DATA, of="A", tolerance=1e-4).share == 0.8  # the digits 3 and 4 are less clear


@pytest.mark.parametrize("successes", [0, 3, 20])
def test_the_interval_is_wilsons(successes):
    expected = stats.binomtest(successes, 20).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(successes / 20, 20), (expected.low, expected.high), atol=1e-12)


@pytest.mark.parametrize(
    ("h", "settings", "error", "message"),
    [
        (
            OR,
            {"of": "D"},
            DataError,
            r"G's 'D' holds numbers such as .*, which are equal only by luck; .*decide=lambda",
        ),
        (TOY["the digits themselves"], {"of": "D"}, DataError, r"I's 'D' is a tuple of 2 values: reads\(\.\.\.\) says"),
        (OR, {"of": "DD"}, UnknownNameError, r"no node 'DD'; did you mean 'D'"),
        (OR, {"of": "D", "against": "modle"}, DataError, r"nor a column of the data; did you mean 'model'"),
        (
            OR,
            {"of": "D", "decide": lambda value: torch.stack([value, value], 1) > 0.5},
            DataError,
            r"I's 'D' has shape \[1000\] and G's 'D' has shape \[1000, 2\], so they cannot be compared",
        ),
        (OR, {"of": "D", "decide": lambda value: value.sum() > 0.5}, DataError, r"one value for each of 1000 rows"),
        (OR, {"of": "D", "decide": lambda value: object()}, DataError, r"G's 'D' is a Tensor, not an array"),
    ],
)
def test_what_cannot_be_compared_is_said(h, settings, error, message):
    with pytest.raises(error, match=message):
        explanation_accuracy(h, DATA, **settings)
