"""What streams have in common is computed once, to the same values."""

from collections.abc import Iterator
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference_transformer import random_data, random_transformer

from scrubbing import Graph, Hypothesis, reads, scrub
from scrubbing.engine.evaluate import Evaluator
from scrubbing.engine.expressions import Call, Gathered, Leaf, evaluation_order
from scrubbing.engine.features import Features
from scrubbing.engine.interpreter import Interpreter
from scrubbing.engine.plan import scrubbed
from scrubbing.engine.planning import Planner
from scrubbing.engine.policy import Policy
from scrubbing.engine.row_sharing import Arranged
from scrubbing.engine.sampling.streams import Fixed, Pool, References, Sample
from scrubbing.lens import transformer

SQUARE = Graph(double=lambda x: 2 * x, square=lambda double: double * double, loss=lambda square, y: square - y)
H = Hypothesis(SQUARE, Graph(loss=reads("y", "square"), square=lambda x: x % 2))
BASELINE = Hypothesis(SQUARE, Graph(loss=reads("y")))
ROWS = 60
DATA = {"x": torch.arange(float(ROWS)), "y": torch.arange(float(ROWS)) % 7}


def roots_of(evaluator: Evaluator, *hypotheses: Hypothesis, others="reference") -> list:
    planner = Planner(Policy(others=others), Features(evaluator.interpreter))
    return [planner.plain(hypotheses[0].G, References()), *(scrubbed(planner, h).output for h in hypotheses)]


def evaluator_of(references: np.ndarray, *, draws: int = 1, data=DATA) -> Evaluator:
    return Evaluator(Interpreter(dict(data), Sample(references, len(data["x"]), draws=draws)))


def assert_pooling_changes_nothing(evaluator: Evaluator, roots: list, *, size: int) -> None:
    """Chunk by chunk, values are what they are in the order of the draws and without pools."""
    work = evaluator.arranged(roots)
    chunks = [
        evaluator.interpreter.values(work.roots, work.order[i : i + size]) for i in range(0, len(work.order), size)
    ]
    pooled = [torch.cat(pieces)[np.argsort(work.order)] for pieces in zip(*chunks, strict=True)]
    alone = evaluator.interpreter.values(roots, slice(None))
    assert all(torch.equal(one, other) for one, other in zip(pooled, alone, strict=True))


@given(
    references=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=40),
    pairing=st.lists(st.integers(0, ROWS - 1), min_size=ROWS, max_size=ROWS),
    draws=st.integers(1, 3),
    others=st.sampled_from(["node", "reference", "pairing"]),
    size=st.integers(1, 50),
)
def test_pooled_values_are_those_of_every_stream_by_itself(references, pairing, draws, others, size):
    evaluator = evaluator_of(np.array(references), draws=draws)
    roots = roots_of(evaluator, BASELINE, H, others=Fixed(np.array(pairing)) if others == "pairing" else others)
    assert_pooling_changes_nothing(evaluator, roots, size=size)


def pools(work: Arranged) -> set[Pool]:
    return {step.pool for step in evaluation_order(work.roots) if isinstance(step, Gathered)}


OTHER = {"a chain of donors": (np.arange(ROWS) + 1) % ROWS, "one donor of all": np.zeros(ROWS, dtype=np.int64)}


@pytest.mark.parametrize("pairing", OTHER.values(), ids=OTHER)
def test_donors_that_are_references_of_the_chunk_cost_nothing(pairing):
    asked: list[int] = []
    network = Graph(square=lambda x: asked.append(len(x)) or x * x, loss=lambda square, y: square - y)
    h = Hypothesis(network, Graph(loss=reads("y")))
    evaluator = evaluator_of(np.arange(ROWS))
    work = evaluator.arranged(roots_of(evaluator, h, others=Fixed(pairing)))
    assert pools(work) == {Pool((References(), Fixed(pairing)))}
    asked.clear()
    for start in range(0, ROWS, 10):
        evaluator.interpreter.values(work.roots, work.order[start : start + 10])
    assert asked == [10] + 5 * [11] or asked == 6 * [11]  # ten references, and a donor that is none of them


def test_draws_of_one_reference_are_one_row():
    evaluator = evaluator_of(np.arange(10), draws=4)
    work = evaluator.arranged(roots_of(evaluator, BASELINE))
    assert Pool((References(),)) in pools(work)
    gathered = [step.value for step in evaluation_order(work.roots) if isinstance(step, Gathered)]
    assert gathered
    assert not any(isinstance(value, Leaf) for value in gathered)  # columns are read where they are


def test_random_references_are_taken_in_an_order_in_which_they_share_rows():
    """A random pairing is a forest with few cycles, walked from each row to those that are near it."""
    rows = 2000
    data = {"x": torch.arange(float(rows)), "y": torch.zeros(rows)}
    evaluator = evaluator_of(np.arange(rows), data=data)
    (other,) = (s for s in [Fixed(np.random.default_rng(0).integers(0, rows, rows))])
    work = evaluator.arranged(roots_of(evaluator, BASELINE, others=other))
    assert sorted(work.order) == list(range(rows))
    (pool,) = pools(work)
    per_chunk = [
        np.unique([evaluator.sample.rows(s)[work.order[i : i + 16]] for s in pool.streams]).size / 16
        for i in range(0, rows, 16)
    ]
    assert 1 < np.mean(per_chunk) < 1.25  # 1.99 in the order of the data


def test_streams_that_share_nothing_are_left_alone():
    """Ten donors for each reference, of two thousand: at most one of them can be made a neighbour."""
    rows = 2000
    data = {"x": torch.arange(float(rows)), "y": torch.zeros(rows)}
    evaluator = evaluator_of(np.arange(rows), data=data)
    pairings = [Fixed(np.random.default_rng(i).integers(0, rows, rows)) for i in range(10)]
    planner = Planner(Policy(), Features(evaluator.interpreter))
    roots = [planner.plain(SQUARE, stream) for stream in (References(), *pairings)]
    work = evaluator.arranged(roots)
    (pool,) = pools(work)
    assert len(pool.streams) == 2
    assert sum(new is old for new, old in zip(work.roots, roots, strict=True)) == 9


def test_off_the_processor_streams_that_share_nothing_are_one_call():
    """As on a GPU, where the number of calls counts."""
    rows = 2000
    evaluator = evaluator_of(np.arange(20), data={"x": torch.arange(float(rows)), "y": torch.zeros(rows)})
    pairings = [Fixed(np.full(rows, 100 * (i + 1))) for i in range(10)]
    planner = Planner(Policy(), Features(evaluator.interpreter))
    roots = [planner.plain(SQUARE, stream) for stream in (References(), *pairings)]
    with patch.object(Interpreter, "on_cpu", False):
        work = evaluator.arranged(roots)
        assert {len(pool.streams) for pool in pools(work)} == {11}
        calls = [step.fn for step in evaluation_order(work.roots) if isinstance(step, Call)]
        assert len(calls) == len(SQUARE)
        assert_pooling_changes_nothing(evaluator, roots, size=7)


def test_what_has_no_entry_per_row_is_used_as_it_is():
    """A mask made of a row's length, a pair of values, and a constant."""
    network = Graph(
        mask=lambda x: torch.ones(1, x.shape[1]).tril(),
        pair=lambda x: (x, 2 * x),
        constant=lambda: torch.tensor(3.0),
        loss=lambda mask, pair, constant, y: (mask * pair[0] + pair[1]).sum(1) * constant - y,
    )
    data = {"x": torch.arange(40.0).reshape(20, 2), "y": torch.zeros(20)}
    h = Hypothesis(network, Graph(loss=reads("y", "mask"), mask=reads("x")))
    nothing = Hypothesis(network, Graph(loss=reads("y")))
    evaluator = evaluator_of(np.arange(20), data=data)
    roots = roots_of(evaluator, h, nothing, others=Fixed((np.arange(20) + 1) % 20))
    for size in (1, 7):
        assert_pooling_changes_nothing(evaluator, roots, size=size)


def test_arguments_that_more_streams_ask_for_are_gathered_from_their_pool():
    """`double` is asked for on three streams, `square` on two of them."""
    evaluator = evaluator_of(np.arange(ROWS))
    first, second = (Fixed((np.arange(ROWS) + shift) % ROWS) for shift in (1, 2))
    planner = Planner(Policy(), Features(evaluator.interpreter))
    forward = planner.expressions.forward
    roots = [forward(SQUARE, "square", {"x": s}) for s in (References(), first)]
    roots.append(forward(SQUARE, "double", {"x": second}))
    work = evaluator.arranged(roots)
    assert {len(pool.streams) for pool in pools(work)} == {2, 3}
    calls = [step.fn for step in evaluation_order(work.roots) if isinstance(step, Call)]
    assert calls.count(SQUARE["double"].fn) == 1
    assert_pooling_changes_nothing(evaluator, roots, size=9)


@pytest.fixture
def unpooled() -> Iterator[None]:
    def alone(roots, sample, gatherable, *, stacked):
        assert not stacked
        return Arranged(roots, np.arange(len(sample)))

    with patch("scrubbing.engine.evaluate.arranged", alone):
        yield


MODEL = random_transformer(n_heads=2, positional_embedding_type="shortformer")
TRANSFORMER_DATA = random_data(MODEL.config, rows=9)


def transformer_losses(others: str) -> np.ndarray:
    G = transformer(MODEL)
    I = Graph(loss=reads("logits", "labels", "weights"), logits=reads("a1_h0"), a1_h0=lambda tokens: tokens[:, -1] % 2)
    score = scrub(
        Hypothesis(G, I), TRANSFORMER_DATA, baseline=Graph(loss=reads("labels", "weights")), others=others, draws=3
    )
    return score.losses[["original", "baseline", "scrubbed"]].to_numpy()


@pytest.mark.parametrize("others", ["reference", "node"])
def test_pooling_changes_no_score_of_a_transformer(others, request):
    pooled = transformer_losses(others)
    request.getfixturevalue("unpooled")
    np.testing.assert_allclose(transformer_losses(others), pooled, rtol=0, atol=1e-12)
