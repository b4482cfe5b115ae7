"""A function gets rows and gives rows: what does otherwise is named, and nothing that only rounds is accused."""

import warnings
from functools import cache, partial

import numpy as np
import pytest
import torch

from scrubbing import DataError, Graph, Hypothesis, Node, NodeError, ScrubbingError, reads, scrub
from scrubbing.engine.contract import check_features, check_network
from scrubbing.graph.data import as_columns

DATA = as_columns(
    {
        "x": torch.tensor([[3.0, -1.0], [0.5, 2.0], [-2.0, 1.0], [4.0, 0.0], [1.0, 1.0], [-3.0, 2.5]]),
        "y": torch.zeros(6),
        "k": torch.tensor([2, 0, 1, 1, 0, 3]),
        "text": np.array(["one", "two", "three", "two", "one", "six"]),
    }
)


def network(fn, inputs=("x",), **settings):
    """A network with the function in the middle."""
    return Graph(before=lambda x: 1 * x, fn=Node(fn, inputs, **settings), loss=lambda fn, y, before: y)


check = partial(check_network, columns=DATA)


def of_before(fn):
    return network(fn, ("before",))


# -- writes


def in_numpy(before):
    before.numpy()[:] += 1
    return before


def in_a_view(before):
    before[:, 0].mul_(2)
    return before + 1


def in_a_view_of_a_view(before):
    before.view(-1)[1::2].zero_()
    return before.sum(1)


def what_changes_nothing(before):
    return before.add_(0)  # nor does relu_ on rows that are not negative


def in_one_of_two(before, k):
    k += 1
    return before


def in_text(text):
    text[:] = "same"
    return text == "same"


WRITES = {
    "relu_": (lambda before: before.relu_(), ("before",), "before"),
    "an augmented assignment": (in_one_of_two, ("before", "k"), "k"),
    "an entry": (in_a_view, ("before",), "before"),
    "a view of a view": (in_a_view_of_a_view, ("before",), "before"),
    "numpy that shares memory": (in_numpy, ("before",), "before"),
    "nothing that shows": (what_changes_nothing, ("before",), "before"),
    "text": (in_text, ("text",), "text"),
}


@pytest.mark.parametrize(("fn", "inputs", "written"), [pytest.param(*case, id=name) for name, case in WRITES.items()])
def test_a_function_that_writes_into_its_input_is_named_with_it(fn, inputs, written):
    with pytest.raises(
        DataError, match=f"^'fn' writes into its input '{written}', which other nodes read too; compute"
    ):
        check(network(fn, inputs))


def test_a_view_of_what_another_node_reads_is_written_into():
    graph = Graph(
        a=lambda x: 1 * x, part=lambda a: a[:, :1], fn=lambda part: part.relu_(), loss=lambda a, fn, y: a.sum(1) + y
    )
    with pytest.raises(DataError, match=r"^'fn' writes into its input 'part'"):
        check(graph)


def test_one_may_write_into_what_is_ones_own():
    check(of_before(lambda before: (before + 1).relu_().mul_(2)))


def test_the_data_are_as_they_were():
    before = {
        name: column.clone() if isinstance(column, torch.Tensor) else column.copy() for name, column in DATA.items()
    }
    for fn, inputs, _ in WRITES.values():
        with pytest.raises(DataError):
            check(network(fn, inputs))
    for name, column in DATA.items():
        assert (column == before[name]).all()


# -- mixed rows


class Squeezing(torch.nn.Module):
    def forward(self, x):
        return x.squeeze() if len(x) == 1 else x


class Normalising(torch.nn.Module):
    def forward(self, x):
        return (x - x.mean(0)) / x.std(0, correction=0).clamp(min=1e-6)


MIXES = {
    "a sort": lambda x: x.sort(dim=0)[0],
    "a sort of whole numbers": lambda x: x.long().sort(dim=0)[0],
    "centred": lambda x: x - x.mean(0),
    "statistics of a batch": Normalising(),
    "batch_norm": torch.nn.BatchNorm1d(2, track_running_stats=False).eval(),
    "a sum beside": lambda x: x + x.sum(),
    "a sum along rows": lambda x: x.cumsum(0),
    "a shift along rows": lambda x: x.roll(1, 0),
    "backwards": lambda x: x.flip(0),
    "a softmax along rows": lambda x: x.softmax(0),
    "above the mean": lambda x: x > x.mean(0),
    "ranks": lambda x: x[:, 0].argsort().argsort(),
    "the number of rows": lambda x: x * len(x),
    "a branch on the number of rows": lambda x: x if x.shape[0] > 1 else 0 * x,
    "a branch that keeps the integers of most": lambda x: x.long() + (x.shape[0] == 1),
    "squeeze of one row": Squeezing(),
    "a tuple of which one part is mixed": lambda x: (x, x - x.mean(0)),
    "one entry": lambda x: torch.cat([x[:, :1], x[:, 1:] - x[:, 1:].mean()], dim=1),
    "bfloat16": lambda x: x.bfloat16() - x.bfloat16().mean(0),
    "numpy": lambda x: np.sort(x.numpy(), axis=0),
}


@pytest.mark.parametrize("fn", [pytest.param(fn, id=name) for name, fn in MIXES.items()])
def test_a_function_that_mixes_rows_is_named(fn):
    with pytest.raises(
        DataError, match=r"^'fn' (gives a row another value when other rows stand beside it|returns sh)"
    ):
        check(network(fn))


def test_rows_in_order_are_no_excuse():
    ordered = {"x": torch.arange(8.0)[:, None], "y": torch.zeros(8)}
    for fn in (lambda x: x.sort(dim=0)[0], lambda x: x.long().sort(dim=0)[0], lambda x: x.cummax(0)[0]):
        with pytest.raises(DataError, match="mixes rows"):
            check_network(network(fn), ordered)


def test_rows_that_begin_alike_are_no_excuse():
    alike = {"x": torch.tensor([0.0] * 40 + [1.0] * 40)[:, None], "y": torch.zeros(80)}
    with pytest.raises(DataError, match="mixes rows"):
        check_network(network(lambda x: x - x.mean(0)), alike)


LENGTHS = {
    "a sum": (lambda x: x.sum(), r"\[\]"),
    "a sum over rows": (lambda x: x.sum(0), r"\[2\]"),
    "the first": (lambda x: x[:1], r"\[1, 2\]"),
    "all but one": (lambda x: x[1:], r"\[3, 2\]"),
    "twice": (lambda x: x.repeat(2, 1), r"\[8, 2\]"),
    "turned": (lambda x: x.T, r"\[2, 4\]"),
    "a constant": (lambda x: torch.zeros(3), r"\[3\]"),
    "rows apart": (lambda x: tuple(x), r"\[2\]"),
}


@pytest.mark.parametrize(("fn", "shape"), [pytest.param(*c, id=name) for name, c in LENGTHS.items()])
def test_another_length_is_named_with_its_shape(fn, shape):
    with pytest.raises(
        DataError, match=rf"^'fn' returns shape {shape} for 4 rows; a node returns one entry for each row"
    ):
        check(network(fn))


def test_a_constant_is_declared():
    weights = torch.randn(3)
    check(network(lambda x: weights, constant=True))
    check(network(lambda: weights, (), constant=True))
    check(network(lambda x: torch.zeros(len(x)), constant=True))
    with pytest.raises(
        DataError, match=r"\(or say that it is the same for all rows: Node\(fn, inputs, constant=True\)\)$"
    ):
        check(network(lambda: weights, ()))


@pytest.mark.parametrize("fn", [lambda x: x[:1], lambda x: x.sum(), lambda x: x.mean(0)])
def test_what_is_declared_to_be_constant_is_constant(fn):
    with pytest.raises(DataError, match=r"^'fn' is declared to be constant, and has another value for other rows"):
        check(network(fn, constant=True))


# -- what is right


@cache
def randomly(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def perceptron(x, *, width=256, depth=10, dtype=torch.float32):
    """A large random network: its sums are rounded otherwise for other numbers of rows."""
    x = x.to(dtype) @ randomly(x.shape[1], width).to(dtype)
    for layer in range(depth):
        x = torch.relu(x @ randomly(width, width, seed=layer).to(dtype) / (width / 2) ** 0.5)
    return x


RIGHT = {
    "float32": perceptron,
    "bfloat16": partial(perceptron, dtype=torch.bfloat16),
    "float16": partial(perceptron, dtype=torch.float16, depth=2),
    "float64": partial(perceptron, dtype=torch.float64),
    "argmax": lambda x: perceptron(x).argmax(dim=1),
    "argmax in bfloat16": lambda x: perceptron(x, dtype=torch.bfloat16).argmax(dim=1),
    "many thresholds": lambda x: perceptron(x) > 0.5,
    "many thresholds in bfloat16": lambda x: (perceptron(x, dtype=torch.bfloat16) > 0.5).float(),
    "differences of large numbers": lambda x: (perceptron(x) + 1e4) - 1e4,
    "the loss of a network that is right": lambda x: torch.nn.functional.cross_entropy(
        20 * torch.nn.functional.one_hot((x[:, 0] > 0).long(), 50).float() + 1e-3 * perceptron(x)[:, :50],
        (x[:, 0] > 0).long(),
        reduction="none",
    ),
    "whole numbers": lambda x: x.long() % 3,
    "truth": lambda x: x[:, 0] > 0,
    "text": lambda x: np.where(x[:, 0].numpy() > 0, "above", "below"),
    "numpy": lambda x: x.numpy() + 1,
    "NaN and infinity": lambda x: torch.where(x > 0, x / 0, torch.nan),
    "no entries": lambda x: x[:, :0],
    "a tuple of tuples": lambda x: (x, (x[:, 0] > 0, x.long())),
    "complex": lambda x: torch.complex(x, x),
    "a module": torch.nn.Linear(2, 5),
    "layer_norm": torch.nn.LayerNorm(2),
    "batch_norm of a trained network": torch.nn.BatchNorm1d(2).eval(),
    "float8": lambda x: x.to(torch.float8_e4m3fn),
}


@pytest.mark.parametrize("fn", [pytest.param(fn, id=name) for name, fn in RIGHT.items()])
@pytest.mark.parametrize("rows", [1, 2, 3, 6])
def test_what_is_by_row_is_accepted(fn, rows):
    data = {"x": DATA["x"][:rows], "y": DATA["y"][:rows]}
    with warnings.catch_warnings(action="ignore"):  # torch warns of float8 and of complex numbers
        check_network(network(fn, ("x",)), data)
        check_features(Graph(fn=Node(fn, ("x",)), loss=reads("fn", "y")), data)


def test_text_goes_through():
    check(network(lambda text: torch.tensor([len(t) for t in text]), ("text",)))
    check(network(lambda text: np.char.upper(text), ("text",)))


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("name", ["a sum along rows", "the number of rows", "a sum beside"])
def test_the_shortest_datasets_are_looked_at_too(rows, name):
    data = {"x": 1 + DATA["x"][:rows].abs(), "y": DATA["y"][:rows]}
    with pytest.raises(DataError, match="mixes rows"):
        check_network(network(MIXES[name]), data)


# -- features


def test_a_feature_is_no_random_number():
    explanation = Graph(a=lambda x: torch.rand(len(x)), loss=reads("a", "y"))
    with pytest.raises(
        DataError, match=r"^the feature of 'a' has other values when it is asked again for the same rows"
    ):
        check_features(explanation, DATA)


@pytest.mark.parametrize("name", ["centred", "a sort", "a shift along rows", "the number of rows"])
def test_features_are_by_row(name):
    with pytest.raises(DataError, match=r"^'a' gives a row another value"):
        check_features(Graph(a=Node(MIXES[name], ("x",)), loss=reads("a", "y")), DATA)


def test_features_do_not_write():
    with pytest.raises(DataError, match=r"^'a' writes into its input 'x'"):
        check_features(Graph(a=lambda x: x.mul_(2), loss=reads("a", "y")), DATA)


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match=r"^the data have no column 'nowhere'"):
        check_features(Graph(a=lambda nowhere: nowhere, loss=reads("a", "y")), DATA)


# -- what functions raise

NETWORK = Graph(a=lambda x: 2 * x, loss=lambda a, y: (a[:, 0] - y) ** 2)
EXACT = Graph(a=reads("x"), loss=reads("a", "y"))
baseline = Graph(loss=reads("y"))


def failing(when):
    """A function that raises from that call on."""
    calls = []

    def fn(x):
        calls.append(len(x))
        if when(calls):
            raise ValueError("out of cheese")
        return 2 * x

    return fn, calls


@pytest.mark.parametrize("calls_before", [0, 3, 8, 12], ids=lambda n: f"after {n} calls")
def test_an_error_of_the_network_is_told_by_its_node_whenever_it_comes(calls_before):
    fn, calls = failing(lambda calls: len(calls) > calls_before)
    h = Hypothesis(NETWORK | {"a": Node(fn, ("x",))}, Graph(loss=reads("y")))
    with pytest.raises(NodeError, match=r"^the function of 'a' raised ValueError: out of cheese$") as raised:
        scrub(h, DATA, baseline=baseline, references=100, draws=3, memory=2**12)
    assert raised.value.node == "a"
    assert isinstance(raised.value.__cause__, ValueError)
    assert len(calls) == calls_before + 1


@pytest.mark.parametrize("rows", [1, 6])
def test_an_error_of_a_feature_is_told_by_its_node(rows):
    fn, _ = failing(lambda calls: calls[-1] >= rows)
    with pytest.raises(NodeError, match=r"^the function of 'a' raised ValueError: out of cheese$"):
        scrub(Hypothesis(NETWORK, EXACT | {"a": Node(fn, ("x",))}), DATA, baseline=baseline)


def test_an_error_while_planning_is_told_by_its_node():
    """Where an unclaimed value might be averaged, its type is found in planning."""
    fn, _ = failing(lambda calls: len(calls) > 7)
    h = Hypothesis(NETWORK | {"a": Node(fn, ("x",))}, Graph(loss=reads("y")))
    with pytest.raises(NodeError, match="'a' raised"):
        scrub(h, DATA, baseline=baseline, unclaimed="mean")


def test_an_error_of_ours_stays_as_it_is():
    def refusing(x):
        raise DataError("tokens must be whole numbers")

    class Mine(ScrubbingError):
        pass

    def refusing_too(x):
        raise Mine("no")

    for fn, error in ((refusing, DataError), (refusing_too, Mine)):
        with pytest.raises(error) as raised:
            scrub(Hypothesis(NETWORK | {"a": Node(fn, ("x",))}, EXACT), DATA, baseline=baseline)
        assert raised.type is error


def test_the_contract_is_checked_though_check_is_off_and_before_the_work():
    h = Hypothesis(NETWORK | {"a": lambda x: x - x.mean(0)}, EXACT)
    with pytest.raises(DataError, match=r"^'a' gives a row another value"):
        scrub(h, DATA, baseline=baseline, check=False)
