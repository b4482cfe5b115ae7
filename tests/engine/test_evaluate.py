"""Neither the type of numbers, nor the size of chunks, nor what is scored beside it changes a score."""

from dataclasses import dataclass, field
from unittest.mock import patch

import numpy as np
import pytest
import torch
from accelerators import FOUND
from reference_transformer import random_data, random_transformer
from sampled import by_default

from scrubbing import Graph, Hypothesis, reads, scrub
from scrubbing.engine.component import Component
from scrubbing.engine.evaluate import LARGEST, Evaluator
from scrubbing.engine.features import Features
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.memory import DEFAULT
from scrubbing.engine.planning import Planner
from scrubbing.engine.policy import Policy
from scrubbing.engine.sampling.streams import References, Sample
from scrubbing.graph.data import as_columns
from scrubbing.lens import transformer
from scrubbing.rewrite import identity_attention, offset, split_mask, split_qkv, split_residual

BASELINE = Graph(loss=reads("labels", "weights"))
LOSS = {"loss": reads("logits", "labels", "weights")}
MODEL = random_transformer(n_heads=2, positional_embedding_type="shortformer")
DATA = random_data(MODEL.config, rows=7)
DATA["weights"][0] = 0
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}


def hypotheses(dtype: torch.dtype, device: str = "cpu") -> list[Hypothesis]:
    """Claims that are read whole, in part and under a mask, of two forms of one network."""
    G = transformer(MODEL.to(dtype, device))
    split = split_qkv(G, "a0_h0", "a1_h0")
    masked = split_mask(split, "a0_h0", at=offset(1))
    guessed = split_residual(split, "a1_h0", guess=identity_attention(split, "a1_h0"))
    tokens = reads("tokens")
    return [
        Hypothesis(G, Graph(LOSS, logits=reads("a1_h0", "embed"), a1_h0=tokens, embed=tokens)),
        Hypothesis(G, Graph(LOSS, logits=reads("a1_h0"), a1_h0=lambda tokens: tokens[:, -1] % 2)),
        Hypothesis(masked, Graph(LOSS, logits=reads("a1_h0"), a1_h0=reads("a1_h0_v"), a1_h0_v=reads("at"), at=tokens)),
        Hypothesis(guessed, Graph(LOSS, logits=reads("a1_h0_guess"), a1_h0_guess=tokens)),
    ]


def losses(scores) -> np.ndarray:
    columns = ("original", "baseline", "scrubbed", "kl", "agreement")
    return np.array([[score.by_reference.of(column) for column in columns] for score in scores])


@pytest.mark.parametrize("others", by_default(["node", "reference"]))
def test_32_bits_give_the_scores_of_64(others):
    options = {"baseline": BASELINE, "others": others, "draws": 2}
    single, double = (scrub(hypotheses(dtype), DATA, **options) for dtype in (torch.float32, torch.float64))
    np.testing.assert_allclose(losses(single), losses(double), rtol=0, atol=1e-4)
    assert not np.array_equal(losses(single), losses(double))
    assert [score.precision for score in (single[0], double[0])] == [2**-23, 2**-52]


@pytest.mark.parametrize("dtype", by_default(TOLERANCE))
@pytest.mark.parametrize("size", by_default([5, 1, 2, 100], 2))
def test_the_size_of_a_chunk_changes_no_score(size, dtype):
    whole = losses(scrub(hypotheses(dtype), DATA, baseline=BASELINE, draws=2))
    with patch.object(Evaluator, "fitting", return_value=size):
        cut = losses(scrub(hypotheses(dtype), DATA, baseline=BASELINE, draws=2))
    np.testing.assert_allclose(cut, whole, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", by_default(TOLERANCE))
def test_the_order_of_hypotheses_changes_no_score(dtype):
    forward = scrub(hypotheses(dtype), DATA, baseline=BASELINE)
    backward = scrub(hypotheses(dtype)[::-1], DATA, baseline=BASELINE)
    np.testing.assert_allclose(losses(backward[::-1]), losses(forward), rtol=0, atol=TOLERANCE[dtype])
    assert len({score.scrubbed for score in forward}) == 4


@pytest.mark.parametrize("dtype", by_default(TOLERANCE))
def test_the_order_of_references_changes_no_score(dtype):
    order = np.random.default_rng(0).permutation(len(DATA["tokens"]))
    straight = losses(scrub(hypotheses(dtype), DATA, baseline=BASELINE))
    shuffled = losses(scrub(hypotheses(dtype), DATA, baseline=BASELINE, references=order))
    np.testing.assert_allclose(shuffled, straight[..., order], rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("others", ["node", "reference"])
@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_the_device_changes_no_score(device, others):
    if device not in FOUND:
        pytest.skip(f"torch finds no device {device!r} here")
    options = {"baseline": BASELINE, "others": others, "draws": 2}
    data = DATA | {"weights": DATA["weights"].float()}
    here = scrub(hypotheses(torch.float32), data, **options)
    there = {name: column.to(device) for name, column in data.items()}
    there = scrub(hypotheses(torch.float32, device), there, **options)
    np.testing.assert_allclose(losses(there), losses(here), rtol=0, atol=1e-4)


# -- how much at a time, and what is made once

ROWS, WIDTH = 5000, 1024
WIDE = {"x": torch.zeros(1).expand(ROWS, WIDTH), "y": torch.zeros(ROWS)}


def chunk_size(columns, *, memory: int = DEFAULT, rows: int = ROWS, fn=lambda x, y: x.sum(1) - y) -> int:
    evaluator = Evaluator(Interpreter(as_columns(columns), Sample(np.arange(rows), ROWS), memory))
    roots = [Planner(Policy(), Features(evaluator.interpreter)).plain(Graph(loss=fn), References())]
    return evaluator.chunk_size(evaluator.arranged(roots))


def test_a_chunk_is_as_large_as_the_memory_allows_and_a_processor_keeps_close():
    row = 4 * (WIDTH + 3)  # the row itself, its sum, its label, their difference
    assert chunk_size(WIDE, memory=20 * row + 2000) in range(18, 22)
    assert chunk_size(WIDE) == pytest.approx(LARGEST / (4 * WIDTH), rel=0.01)
    with patch.object(Interpreter, "on_cpu", False):
        assert chunk_size(WIDE) == pytest.approx(DEFAULT / row, rel=0.01)


@dataclass(frozen=True, eq=False)
class BelowLargest(Component):
    """How far each number is below the largest of the column: a function that is fitted to the column as a whole."""

    asked: list[int] = field(default_factory=list)
    largest: float | None = None

    def fitted(self, column: torch.Tensor) -> "BelowLargest":
        self.asked.append(len(column))
        return BelowLargest(largest=column.max().item())

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        assert self.largest is not None
        return self.largest - x

    _hash = 0  # a list is no constant


@pytest.mark.parametrize("size", [1, 3, 10])
def test_a_function_of_a_whole_column_is_fitted_once(size):
    fn, x = BelowLargest(), torch.tensor([3.0, 9.0, 1.0, 4.0])
    evaluator = Evaluator(Interpreter({"x": x}, Sample(np.array([2, 0, 0, 3]), 4)))
    root = Planner(Policy(), Features(evaluator.interpreter)).plain(Graph(loss=fn), References())
    with patch.object(Evaluator, "fitting", return_value=size):
        (found,) = evaluator.losses([root])
    assert found.tolist() == [8, 6, 6, 5]
    assert fn.asked == [4]


def test_a_constant_is_made_once_and_counts_as_held():
    made = []

    def constant():
        made.append(1)
        return torch.ones(100)

    evaluator = Evaluator(Interpreter({"x": torch.arange(4.0)}, Sample(np.arange(4), 4)))
    root = Planner(Policy(), Features(evaluator.interpreter)).plain(
        Graph(c=constant, loss=lambda c, x: x * c[0]), References()
    )
    with patch.object(Evaluator, "fitting", return_value=1):
        assert evaluator.losses([root])[0].tolist() == [0, 1, 2, 3]
    assert made == [1]
    assert evaluator.interpreter.held_bytes == 400
