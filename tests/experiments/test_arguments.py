"""Bad input to `scrub` is refused with what is wrong with it; numbers may be of any integer type."""

from functools import partial

import numpy as np
import pytest
import torch
from known_answers import TINY, TINY_DATA

from scrubbing import (
    DataError,
    Graph,
    GraphError,
    Hypothesis,
    HypothesisError,
    ScrubbingError,
    mean,
    per_position,
    reads,
    scrub,
)

score = partial(scrub, baseline=Graph(loss=reads("y")))


NAN_FEATURE = Hypothesis(TINY.G, TINY.I | {"h": lambda x: (x - 1).sqrt()})
WIDE_LOSS = Hypothesis(TINY.G | {"loss": lambda h, y: torch.stack([h, y], dim=1)}, TINY.I)
BY_POSITION = Hypothesis(TINY.G, TINY.I | {"h": per_position(lambda x: torch.stack([x, x], dim=1))})
WRONG_REWRITE = Hypothesis(TINY.G.rewritten({"h": lambda x: x + 1}), TINY.I)


def without(name, **changes):
    return {column: values for column, values in (TINY_DATA | changes).items() if column != name}


BAD_INPUT = {
    "a missing column": (
        TINY,
        without("y", yy=[0] * 4),
        {},
        DataError,
        "the data have no column 'y'; did you mean 'yy'?",
    ),
    "no columns": (TINY, {}, {}, DataError, "the data have no columns; give a dict of tensors of one length"),
    "no rows": (TINY, {"x": [], "y": []}, {}, DataError, "the data have no rows"),
    "unequal lengths": (
        TINY,
        without("y") | {"y": [0, 1]},
        {},
        DataError,
        "the columns of the data differ in length: x 4, y 2",
    ),
    "one number": (
        TINY,
        TINY_DATA | {"y": torch.tensor(1.0)},
        {},
        DataError,
        "the column 'y' is a single value; it must have one entry per row",
    ),
    "a column of objects": (
        TINY,
        TINY_DATA | {"x": np.array([None, 1, 2, 3])},
        {},
        DataError,
        "the column 'x' holds None in row 0, and only numbers and text can be columns; "
        "encode it, for example with numpy.unique(column, return_inverse=True)[1]",
    ),
    "a column with a node's name": (
        TINY,
        TINY_DATA | {"h": [0] * 4},
        {},
        DataError,
        "'h' is a node and a column of the data: rename one of them",
    ),
    "an unknown policy": (
        TINY,
        TINY_DATA,
        {"others": "nodes"},
        HypothesisError,
        'others=\'nodes\' is no policy; choose "node", "reference", "input" or a tensor of row numbers',
    ),
    "others outside the data": (
        TINY,
        TINY_DATA,
        {"others": torch.tensor([0, 1, 2, 4])},
        DataError,
        "others names row 4, but the data have the rows 0 to 3",
    ),
    "too few others": (
        TINY,
        TINY_DATA,
        {"others": [0, 1, 2]},
        DataError,
        "others holds 3 rows, but must name one for each of the 4 rows",
    ),
    "others by position": (
        TINY,
        TINY_DATA,
        {"others": np.zeros((4, 2), dtype=int)},
        DataError,
        "others must be row numbers (integers), and is of type int64, shape (4, 2)",
    ),
    "others that are no rows": (
        TINY,
        TINY_DATA,
        {"others": np.arange(4.0)},
        DataError,
        "others must be row numbers (integers), and is of type float64, shape (4,)",
    ),
    "no references": (
        TINY,
        TINY_DATA,
        {"references": 0},
        DataError,
        "references=0, but at least one reference is needed",
    ),
    "references outside the data": (
        TINY,
        TINY_DATA,
        {"references": [-1]},
        DataError,
        "references names row -1, but the data have the rows 0 to 3",
    ),
    "references in a matrix": (
        TINY,
        TINY_DATA,
        {"references": np.array([[0, 1]])},
        DataError,
        "references must be row numbers (integers), and is of type int64, shape (1, 2)",
    ),
    "no draws": (TINY, TINY_DATA, {"draws": 0}, DataError, "draws=0, but at least one draw is needed"),
    "donors of an unknown node": (
        TINY,
        TINY_DATA,
        {"donors": {"hh": [0, 0, 0, 0]}},
        HypothesisError,
        "donors names 'hh', which no hypothesis claims; did you mean 'h'?",
    ),
    "donors of the output": (
        TINY,
        TINY_DATA,
        {"donors": {"loss": [0, 0, 0, 0]}},
        HypothesisError,
        "donors names the output 'loss', which runs on the reference itself",
    ),
    "donors by position of a claim about the whole": (
        TINY,
        TINY_DATA,
        {"donors": {"h": np.zeros((4, 2), dtype=int)}},
        HypothesisError,
        "donors gives 'h' a row for each position, but 'h' is not claimed per position",
    ),
    "donors outside the data": (
        TINY,
        TINY_DATA,
        {"donors": {"h": [0, 0, 0, 9]}},
        DataError,
        "donors['h'] names row 9, but the data have the rows 0 to 3",
    ),
    "a feature with NaN": (
        NAN_FEATURE,
        TINY_DATA,
        {},
        DataError,
        "the feature of 'h' cannot be used: it is NaN in row 0, and NaN agrees with nothing",
    ),
    "a loss with too many numbers": (
        WIDE_LOSS,
        TINY_DATA,
        {},
        DataError,
        "the output of G has shape [1, 2] for 1 row; it must be one loss per row, for example loss.mean(dim=-1)",
    ),
    "positions without an axis": (
        BY_POSITION,
        TINY_DATA,
        {},
        HypothesisError,
        "'h' is claimed per position, but 'h' does not say which axis of its value runs over positions: "
        "give its Node a position_axis",
    ),
    "a loss that is no number": (
        TINY,
        TINY_DATA | {"y": [0, float("nan"), 1, 2]},
        {},
        DataError,
        "the network's own loss of row 1 is nan; losses must be finite",
    ),
    "an unknown stand-in": (
        TINY,
        TINY_DATA,
        {"unclaimed": "median"},
        HypothesisError,
        'unclaimed=\'median\' is no policy; choose "resample", "mean", mean(by=column), "zero" or a function',
    ),
    "a mean by an unknown column": (
        TINY,
        TINY_DATA,
        {"unclaimed": mean(by="yy")},
        DataError,
        "mean(by='yy'): the data have no such column; did you mean 'y'?",
    ),
    "a rewrite that changes values": (
        WRONG_REWRITE,
        TINY_DATA,
        {},
        GraphError,
        "a rewritten graph and the one that it was rewritten from differ by up to 1 on the first 4 references; "
        "a rewrite must change no value (check=False skips this test)",
    ),
    "a baseline that reads what it does not claim": (
        TINY,
        TINY_DATA,
        {"baseline": Graph(loss=reads("h", "y"))},
        HypothesisError,
        "'loss' reads 'h', which I does not have: claim it too, e.g. h=reads(\"x\")",
    ),
}


@pytest.mark.parametrize(
    ("h", "data", "settings", "error", "message"), [pytest.param(*case, id=name) for name, case in BAD_INPUT.items()]
)
def test_bad_input_is_refused_with_what_is_wrong(h, data, settings, error, message):
    with pytest.raises(ScrubbingError) as raised:
        score(h, data, **settings)
    assert (type(raised.value), str(raised.value)) == (error, message)


def test_nan_in_a_column_that_a_claim_reads_is_refused():
    whole = Hypothesis(TINY.G, TINY.I | {"h": reads("x")})
    with pytest.raises(DataError, match="NaN in row 1"):
        score(whole, TINY_DATA | {"x": [0, float("nan"), 1, 2]})


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_hypothesis_is_refused():
    with pytest.raises(
        HypothesisError, match=r"^hypotheses=.*but it must be a Hypothesis \(write Hypothesis\(G, I\)\)"
    ):
        score({"mine": TINY.I}, TINY_DATA)


def test_two_columns_of_one_name_are_refused():
    pd = pytest.importorskip("pandas")
    twice = pd.DataFrame(np.zeros((4, 3)), columns=["x", "y", "x"])
    with pytest.raises(DataError, match=r"^the data have two columns 'x': rename one of them$"):
        score(TINY, twice)


@pytest.mark.parametrize("three", [np.int64(3), np.uint8(3), torch.tensor(3), np.array(3)])
def test_numbers_may_be_of_any_integer_type(three):
    assert score(TINY, TINY_DATA, references=three) == score(TINY, TINY_DATA, references=3)
    if not isinstance(three, torch.Tensor | np.ndarray):
        assert score(TINY, TINY_DATA, draws=three, seed=three) == score(TINY, TINY_DATA, draws=3, seed=3)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("option", ["draws", "seed", "cap"])
@pytest.mark.parametrize("wrong", [True, np.True_, 3.0, "all"])
def test_what_is_no_whole_number_is_refused(option, wrong):
    with pytest.raises(DataError, match=f"^{option}={wrong!r}, but it must be a whole number$"):
        score(TINY, TINY_DATA, **{option: wrong})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"donors": [1]}, r"donors=\[1\], but it must be rows or functions by names of I"),
        ({"until": "fast"}, "until='fast', but it must be a number or None"),
        ({"until": 3}, "until=3 is no half-width of a fraction"),
        ({"progress": "x"}, "progress='x', but it must be True, False, None .on a terminal., or a function of"),
        ({"progress": lambda: None}, "progress=<lambda>, but it must be True, False, None"),
        ({"references": True}, "references=True, but it must be a number of rows, or row numbers"),
        ({"references": "all"}, "references='all', but it must be a number of rows, or row numbers"),
        ({"store": 3}, "store=3, but it must be a Store, a path, text or None"),
        ({"together": "AB"}, "together='AB', but it must be groups of names in a list"),
        ({"together": ["A", "B"]}, r"together=\['A', 'B'\], but it must be groups of names in a list"),
        ({"together": [["a", "b"], ["b"]]}, "together names 'b' in two groups"),
        ({"unclaimed": None}, "unclaimed=None, but it must be .resample., .mean., mean.by=column., .zero. or a func"),
        ({"unclaimed": 0}, "unclaimed=0, but it must be .resample."),
        ({"unclaimed": True}, "unclaimed=True, but it must be .resample."),
        ({"unclaimed": "median"}, "unclaimed='median' is no policy"),
        ({"exact": "yes"}, "exact='yes', but it must be True or False"),
        ({"baseline": None}, "baseline=None, but it must be a Graph such as"),
        ({"baseline": reads}, "baseline=.*it is a function: call it.*must be a Graph such as"),
        ({"seed": 2**200}, r"seed=\d+...\d+, but it must lie between -2\^128 and 2\^128"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_setting_of_another_type_is_refused_in_words(settings, message):
    G = Graph(a=lambda x: 2 * x, loss=lambda a, y: (a - y) ** 2)
    h = Hypothesis(G, Graph(a=lambda x: x % 2, loss=reads("a", "y")))
    with pytest.raises(ScrubbingError, match=message):
        scrub(h, {"x": [0, 1, 2, 3], "y": [0, 0, 0, 0]}, **{"baseline": Graph(loss=reads("y")), **settings})
