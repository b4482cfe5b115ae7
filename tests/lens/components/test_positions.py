"""What is read only where the loss is evaluated: in place, or drawn together at the front."""

import pytest
import torch

from scrubbing.lens.components import positions
from scrubbing.lens.components.attention import FusedHeads, FusedHeadsAt
from scrubbing.lens.components.positions import EvaluatedPositions, Take
from scrubbing.lens.components.projection import ProjectionAt, ProjectionOfNormalised, Rotary
from scrubbing.lens.components.scores import Mask, Scores

FEW = torch.tensor([[0.0, 0.5, 0.0, 0.0, -2.0], [0.0, 0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0]])
FEW_AT = [[1, 4], [-1, -1], [0, -1]]
MANY = torch.tensor([[1.0, 0.5, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
MANY_AT = [[0, 1, -1, -1, 4], [-1, -1, -1, -1, -1]]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_few_positions_stand_at_the_front_in_order_and_many_in_place(dtype):
    few, many = (weights.mul(2).to(dtype) for weights in (FEW, MANY))
    assert EvaluatedPositions()(few).tolist() == FEW_AT
    assert EvaluatedPositions()(many).tolist() == MANY_AT


def test_half_of_the_positions_are_few_and_there_is_always_a_place():
    assert EvaluatedPositions()(torch.tensor([[0.0, 1.0, 1.0, 0.0]])).tolist() == [[1, 2]]
    assert EvaluatedPositions()(torch.tensor([[0.0, 1.0, 1.0]])).tolist() == [[-1, 1, 2]]
    assert EvaluatedPositions()(torch.zeros(2, 4)).tolist() == [[-1], [-1]]
    assert EvaluatedPositions()(torch.ones(2, 1)).tolist() == [[0], [0]]


def test_a_value_is_taken_where_it_is_needed():
    value, at = random(3, 5, 2, 4), torch.tensor(FEW_AT)
    taken = Take()(value, at)
    assert taken.shape == (3, 2, 2, 4)
    for row, place in (at >= 0).nonzero().tolist():
        assert torch.equal(taken[row, place], value[row, at[row, place]])
    assert Take()(value[:2], torch.tensor(MANY_AT)) is not None
    assert torch.equal(Take()(value[:2], torch.tensor(MANY_AT)), value[:2])


def test_the_longest_row_is_one_of_the_whole_column_s_however_it_is_read(monkeypatch):
    monkeypatch.setattr(positions, "AT_ONCE", 2)
    column = torch.zeros(5, 7)
    column[:, 0] = 1
    column[3, 2:4] = 1
    fitted = EvaluatedPositions().fitted(column)
    assert fitted.longest == 3
    assert fitted(column[:1]).tolist() == [[0, -1, -1]]
    assert fitted(column[3:4]).tolist() == [[0, 2, 3]]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (FEW, torch.float32),
        (FEW.double(), torch.float64),
        (FEW.bfloat16(), torch.float32),
        (FEW.mul(2).long(), torch.float32),
        (FEW.bool(), torch.float32),
    ],
)
def test_keys_after_the_query_are_masked(weights, expected):
    mask = Mask()(torch.tensor(FEW_AT), weights)
    assert mask.dtype == expected
    keys = [[[True] * 2 + [False] * 3, [True] * 5], [[True] + [False] * 4] * 2, [[True] + [False] * 4] * 2]
    assert torch.equal(mask[:, 0] == 0, torch.tensor(keys))
    assert torch.equal(mask[:, 0] == -torch.inf, ~torch.tensor(keys))


@pytest.mark.parametrize("weights", [FEW, MANY], ids=["few", "many"])
def test_heads_and_projections_at_some_positions_are_those_at_all_of_them(weights):
    at = EvaluatedPositions()(weights)
    rows, chosen = len(at), at >= 0
    x, W, b, table = random(rows, 5, 6), random(3, 6, 4, seed=1), random(3, 4, seed=2), random(5, 3, 4, seed=3)
    q, k, v = (ProjectionOfNormalised(W.roll(i, 0), b, table, Rotary(2)) for i in range(3))
    taken = Take()(x, at)
    if taken is x:
        at = torch.arange(5).expand(rows, 5)  # in place, a projection is one of all positions
    some = ProjectionAt(q)(taken, at)
    torch.testing.assert_close(some[chosen], Take()(q(x), at)[chosen], rtol=0, atol=1e-12)
    mask = Mask()(at, weights)
    z = FusedHeadsAt(Scores(0.5))(some, k(x), v(x), mask, at)
    torch.testing.assert_close(
        z[chosen], Take()(FusedHeads(Scores(0.5))(q(x), k(x), v(x)), at)[chosen], rtol=0, atol=1e-12
    )
