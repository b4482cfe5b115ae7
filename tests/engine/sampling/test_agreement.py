"""Rows that agree form classes, and donors are uniform within them."""

import numpy as np
import pytest
import torch
from known_answers import is_uniform

from scrubbing import DataError
from scrubbing.engine.sampling.agreement import Classes, Piece, classes_by_position, classes_of, whole
from scrubbing.graph.binning import Bins, Within

NAN = float("nan")


def uniforms(*shape):
    return np.random.default_rng(0).random(shape)


def partition(classes):
    """For each row, the first row that agrees with it."""
    return [classes.ids.tolist().index(number) for number in classes.ids]


VALUES = {
    "ints": (torch.tensor([3, 1, 3]), [0, 1, 0]),
    "negative ints": (torch.tensor([-1, 255, -1], dtype=torch.int16), [0, 1, 0]),
    "floats": (torch.tensor([0.5, 0.25, 0.5]), [0, 1, 0]),
    "half precision": (torch.tensor([0.5, 0.25, 0.5]).bfloat16(), [0, 1, 0]),
    "both zeros": (torch.tensor([0.0, -0.0, 1.0]), [0, 0, 2]),
    "both zeros in a matrix": (torch.tensor([[0.0, 1.0], [-0.0, 1.0], [0.0, 2.0]]), [0, 0, 2]),
    "infinities": (torch.tensor([float("inf"), -float("inf"), float("inf")]), [0, 1, 0]),
    "complex": (np.array([0j, -0j, 1j]), [0, 0, 2]),
    "gradients": (torch.tensor([0.5, 0.25, 0.5], requires_grad=True), [0, 1, 0]),
    "bool": (torch.tensor([True, False, True]), [0, 1, 0]),
    "strings": (["the", "then", "the"], [0, 1, 0]),
    "strings in a matrix": (np.array([["a", "bb"], ["ab", "b"], ["a", "bb"]]), [0, 1, 0]),
    "rows of a matrix": (torch.tensor([[1, 2], [2, 1], [1, 2]]), [0, 1, 0]),
    "matrices": (torch.tensor([[[1], [2]], [[1], [3]], [[1], [2]]]), [0, 1, 0]),
    "rows of nothing": (torch.zeros(3, 0), [0, 0, 0]),
    "nothing": ((), [0, 0, 0]),
    "a tuple": ((torch.tensor([1, 1, 1]), torch.tensor([[0.0, 1.0], [1.0, 0.0], [-0.0, 1.0]])), [0, 1, 0]),
    "a tuple of mixed types": ((torch.tensor([True, True, False]), ["a", "a", "a"]), [0, 0, 2]),
    "a tuple in a tuple": (((), (torch.tensor([1, 2, 1]), torch.tensor([5, 5, 6]))), [0, 1, 2]),
}


@pytest.mark.parametrize(("value", "expected"), [pytest.param(*case, id=name) for name, case in VALUES.items()])
def test_rows_agree_where_every_part_of_the_value_is_equal(value, expected):
    assert partition(classes_of(whole(value, 3))) == expected


def cut(value, at: int):
    """The parts of a value before a row and from it on."""
    if isinstance(value, tuple):
        return tuple(zip(*(cut(part, at) for part in value), strict=True)) or ((), ())
    return value[:at], value[at:]


def pieces_of(value, *, at: int, rows: int = 3) -> list[Piece]:
    first, second = cut(value, at)
    return [Piece(first, 0, at), Piece(second, at, rows)]


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize(("value", "expected"), [pytest.param(*case, id=name) for name, case in VALUES.items()])
def test_a_value_that_comes_in_pieces_has_the_classes_of_the_whole(value, expected, at):
    assert partition(classes_of(pieces_of(value, at=at))) == expected


def test_pieces_are_coarsened_as_the_whole_and_by_position():
    value = torch.tensor([[0.1, 5.0], [0.9, 0.2], [1.1, 5.1], [0.2, 0.1]])
    for binning in (Within(0.5), Bins(2)):
        pieces = pieces_of(value, at=1, rows=4)
        assert classes_of(pieces, binning) == classes_of(whole(value, 4), binning)
        assert classes_by_position(pieces, binning) == classes_by_position(whole(value, 4), binning)
    assert partition(classes_of(whole(value[:, 0], 4), Bins(2))) == [0, 1, 1, 0]


def test_text_is_compared_by_what_it_says_however_wide_its_column_is():
    pieces = [Piece(np.array([["a", "b"]]), 0, 1), Piece(np.array([["a", "longer"], ["a", "b"]]), 1, 3)]
    assert partition(classes_of(pieces)) == [0, 1, 0]


def test_a_missing_value_is_named_by_its_row_of_the_dataset():
    pieces = pieces_of(torch.tensor([0.0, 1.0, NAN]), at=1)
    with pytest.raises(DataError, match=r"^it is NaN in row 2, and NaN agrees with nothing$"):
        classes_of(pieces)


UNUSABLE = {
    "NaN": (torch.tensor([0.0, NAN, 1.0]), "it is NaN in row 1, and NaN agrees with nothing"),
    "NaN in a matrix": (torch.tensor([[0.0, 1], [1, 1], [1, NAN]]), "it is NaN in row 2, and NaN agrees with nothing"),
    "NaN in a tuple": ((torch.arange(3), torch.tensor([NAN, 0, 0])), "it is NaN in row 0, and NaN agrees with nothing"),
    "too few values": (torch.arange(2), "it has shape [2], but must hold one value for each of 3 rows"),
    "one number": (torch.tensor(1), "it has shape [], but must hold one value for each of 3 rows"),
    "objects": (
        np.array([None, "a", 1], dtype=object),
        "its values have no fixed type; return a tensor, an array of numbers or strings, or a tuple",
    ),
}


@pytest.mark.parametrize(("value", "message"), [pytest.param(*case, id=name) for name, case in UNUSABLE.items()])
def test_a_value_that_cannot_be_compared_says_why(value, message):
    with pytest.raises(DataError) as error:
        classes_of(whole(value, 3))
    assert str(error.value) == message


def test_agreement_by_position_is_agreement_at_each_position():
    at = classes_by_position(whole(torch.tensor([[0, 1], [0, 2], [3, 1]]), 3)).at
    assert [partition(classes) for classes in at] == [[0, 0, 2], [0, 1, 0]]


def test_agreement_by_position_is_on_all_named_values_there():
    tokens, kinds = torch.tensor([[0, 1], [0, 1], [0, 1]]), np.array([["a", "b"], ["a", "c"], ["c", "c"]])
    vectors = torch.tensor([[[0, 1], [0, 0]], [[0, 1], [0, 1]], [[0, 0], [0, 1]]])
    for value in ((tokens, kinds), (tokens, ((), kinds)), vectors):
        at = classes_by_position(whole(value, 3)).at
        assert [partition(classes) for classes in at] == [[0, 0, 2], [0, 1, 1]]
    nearly = tokens / 8, torch.tensor([[0.0, 0.0], [0.4, 0.6], [0.6, 0.4]])
    near = classes_by_position(whole(nearly, 3), Within(0.5)).at
    assert [partition(classes) for classes in near] == [[0, 0, 2], [0, 1, 0]]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            (torch.zeros(3, 2), torch.zeros(3)),
            "a claim per position must return [rows, positions], all of its values for the same positions; "
            "these have the shapes [3, 2] and [3]",
        ),
        (
            (torch.zeros(3, 2), torch.zeros(3, 4)),
            "a claim per position must return [rows, positions], all of its values for the same positions; "
            "these have the shapes [3, 2] and [3, 4]",
        ),
        ((), "a claim per position must return [rows, positions]; it is empty"),
        (torch.zeros(3, 0), "a claim per position must return [rows, positions]; this one has shape [3, 0]"),
    ],
    ids=["one of them without", "different numbers", "nothing", "no position"],
)
def test_values_claimed_by_position_have_the_same_positions(value, message):
    with pytest.raises(DataError) as error:
        classes_by_position(whole(value, 3))
    assert str(error.value) == message


def test_agreement_by_position_needs_positions():
    with pytest.raises(
        DataError, match=r"^a claim per position must return \[rows, positions\]; this one has shape \[3\]$"
    ):
        classes_by_position(whole(torch.arange(3), 3))


def test_one_partition_under_other_values_is_the_same_partition():
    by_number, by_name = classes_of(whole(torch.tensor([7, 2, 7]), 3)), classes_of(whole(["b", "a", "b"], 3))
    assert by_number == by_name
    assert hash(by_number) == hash(by_name)
    assert by_number != classes_of(whole(torch.tensor([7, 7, 2]), 3))


# -- draws

MIXED = Classes(np.array([2, 0, 2, 1, 2, 0]))


@pytest.mark.parametrize(
    ("row", "exclude_self", "donors"),
    [(0, False, [0, 2, 4]), (0, True, [2, 4]), (2, True, [0, 4]), (4, True, [0, 2]), (5, True, [1]), (3, True, [3])],
)
def test_donors_are_uniform_in_the_rows_that_agree(row, exclude_self, donors):
    drawn = MIXED.draw(np.full(6000, row), uniforms(6000), exclude_self=exclude_self)
    assert sorted(set(drawn)) == donors
    assert is_uniform(np.searchsorted(donors, drawn), of=len(donors))


@pytest.mark.parametrize("u", [0.0, 1 - 2.0**-53])
@pytest.mark.parametrize("exclude_self", [False, True])
def test_no_random_number_leads_outside_the_class(u, exclude_self):
    rows = np.arange(6)
    assert (MIXED.ids[MIXED.draw(rows, np.full(6, u), exclude_self=exclude_self)] == MIXED.ids).all()


def test_a_donor_per_position_agrees_there():
    values = torch.tensor([[0, 1], [0, 2], [3, 1], [3, 2]])
    rows = np.repeat(np.arange(4), 500)[:, None].repeat(2, axis=1)
    drawn = classes_by_position(whole(values, 4)).draw(rows, uniforms(2000, 2))
    for position, others in enumerate([[0, 1], [0, 2]]):
        assert (values[drawn[:, position], position] == values[rows[:, position], position]).all()
        assert sorted(set(drawn[:500, position])) == others
    assert (drawn[:, 0] != drawn[:, 1]).any()


def test_a_hundred_thousand_rows_in_a_thousand_classes_are_drawn_uniformly():
    values = np.random.default_rng(1).integers(0, 1000, 100_000)
    classes = classes_of(whole((torch.from_numpy(values // 40), torch.from_numpy(values % 40)), 100_000))
    drawn = classes.draw(np.arange(100_000), uniforms(100_000))
    assert len(classes.sizes) == 1000
    assert (values[drawn] == values).all()
    assert is_uniform(drawn // 1000, of=100)
