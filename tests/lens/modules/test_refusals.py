"""What cannot be a graph is refused in words, when it is made or where it is given other data."""

import re
from collections.abc import Callable

import pytest
import torch
from small_modules import Recurrent
from torch import Tensor, nn

from scrubbing import DataError, GraphError, Hypothesis, ModelError, NodeError, from_module, reads, scrub
from scrubbing.errors import ScrubbingWarning

pytestmark = pytest.mark.usefixtures("unchecked")
X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


class OfFunction(nn.Module):
    """A module of one function of it and a value, with a layer, a counter and a buffer."""

    def __init__(self, fn: Callable) -> None:
        super().__init__()
        self.lin, self.fn, self.calls = nn.Linear(4, 4), fn, 0
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, x: Tensor) -> object:
        return self.fn(self, x)


def made(fn: Callable) -> nn.Module:
    torch.manual_seed(0)
    return OfFunction(fn).eval()


def refused(
    module: object, *given: object, match: str, error: type[Exception] = ModelError, **settings: object
) -> None:
    with pytest.raises(error, match=match):
        from_module(module, *given or (X,), **settings)  # type: ignore


def counts(module: OfFunction, x: Tensor) -> Tensor:
    module.steps += 1
    return module.lin(x)


def remembers(module: OfFunction, x: Tensor) -> Tensor:
    module.calls += 1
    return x * module.calls


@pytest.mark.parametrize(
    ("fn", "match"),
    [
        (counts, r"^a call changes the buffer 'steps': not a pure function"),
        (remembers, r"^the module returns other values when it is called again: it keeps a state"),
        (lambda m, x: x + torch.randn_like(x), r"^the module is random; make what is drawn a column of the data$"),
        (lambda m, x: m.lin(x.add_(1)), r"^a call writes into the column 'x'"),
        (lambda m, x: 2 * x if x.shape[0] > 1 else x, r"^on a single row the graph and the module differ in 'output'"),
        (lambda m, x: m.lin(x).sum(0), r"^'output', which the module returns, has shape \[4\], not one entry per row"),
        (lambda m, x: m.lin(torch.ones(4)), r"^'output', which the module returns, depends on no column$"),
        (lambda m, x: None, r"^the module returns no tensors$"),
        (lambda m, x: m.lin(x[:, :2]), r"^the module cannot be called on the example \(x \[4, 4\]\): mat1 and mat2"),
    ],
)
def test_what_is_no_function_of_each_row_is_refused(fn, match):
    refused(made(fn), match=match)


@pytest.mark.parametrize(
    ("fn", "node"),
    [
        (lambda m, x: x - x.mean(0), "sub"),
        (lambda m, x: x.flip(0), "flip"),
        (lambda m, x: (x[:, None] * m.lin(x)[:, None]).squeeze().cumsum(0), "cumsum"),
        (lambda m, x: torch.where(x.abs().sum() > 1e9, m.lin(x), x.sort(0).values), "sort"),
        (lambda m, x: torch.where(x.sum() > 0, m.lin(x), x), "where"),
    ],
)
@pytest.mark.parametrize("rows", [X, X.abs()])
def test_a_node_that_mixes_rows_is_named_even_where_the_example_does_not_show_it(fn, node, rows):
    refused(made(fn), rows, match=f"^'{node}' gives a row another value when other rows stand beside it")


@pytest.mark.parametrize("rows", [X, X.abs()])
def test_a_branch_on_all_rows_is_refused(rows):
    """It is called as a whole, since export cannot follow it."""
    with pytest.warns(
        ScrubbingWarning, match=r"^the module cannot be exported \(.*\): it stays one node, which calls it$"
    ):
        refused(made(lambda m, x: m.lin(x) if x.sum() > 0 else x), rows, match="^'module' gives a row another value")


def test_training_mode():
    refused(nn.Linear(4, 2), match=r"^'Linear' is in training mode; call .eval\(\) on the module$")
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout()).eval()
    module[1].train()
    refused(module, match=r"^'1' is in training mode")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TorchScript itself
def test_what_is_no_module():
    refused(torch.jit.script(nn.Linear(4, 2).eval()), match="^TorchScript cannot be taken apart; give the nn.Module")
    refused(nn.Linear, match=r"is no module and no function; give an object")
    refused("model", match=r"^'model' is no module and no function")


@pytest.mark.parametrize("pattern", ["lim", "*.lin", "fn"])
def test_patterns_that_match_nothing(pattern):
    refused(
        made(lambda m, x: m.lin(x)),
        X,
        [pattern],
        match=f"^no submodule that is called matches {pattern!r}".replace("*", r"\*"),
    )


def test_a_misspelt_pattern_says_the_nearest():
    refused(made(lambda m, x: m.lin(x)), X, "lim", match=r"; did you mean 'lin'\?$")


def test_a_chosen_module_that_passes_on_what_has_no_rows_first():
    tokens = torch.randint(0, 11, (5, 6))
    both = dict(loss=lambda logits, last: logits.sum(1) + last[0].sum(1))
    refused(Recurrent().eval(), tokens, match=r"^'last', which the module returns, has shape \[1, rows, 8\]", **both)

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(4, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.lstm(x.transpose(0, 1))[0][-1])

    x = torch.randn(5, 6, 4)
    refused(Around().eval(), x, ["lstm"], match=r"without one entry per row first; choose a module around it$")
    assert list(from_module(Around().eval(), x)) == ["lstm", "head"]


def test_examples():
    linear = nn.Linear(4, 2).eval()
    refused(linear, X[:1], match="^the example has one row; give at least two")
    refused(linear, {"x": X, "z": X[:2]}, match="^the columns of the data differ in length", error=DataError)
    refused(linear, {"input": X, "inptu": X}, match=r"^the column 'inptu' is no parameter of Linear.forward.*'input'")
    refused(linear, {"input": ["a", "b"]}, match="^the column 'input' is text; a module takes tensors$")
    refused(linear, (X, X), match=r"^Linear.forward has 1 parameters that can be named, and 2 inputs are given")
    refused(linear, {"my x": X}, match="^'my x' is not a name that Python allows for a parameter")
    refused(linear, {"y": X}, match="^no column is an argument", loss=lambda out, y: y)


def test_losses():
    linear = nn.Linear(4, 2).eval()
    refused(
        linear, X, loss=lambda out: out.sum(), match=r"^'loss' returns shape \[\] for 4 rows; a node returns one entry"
    )
    refused(linear, X, loss=lambda out: out.exp(), match=r"^the loss has shape \[4, 2\] for 4 rows; return one value")
    tokens = torch.randint(0, 11, (5, 6))
    refused(
        Recurrent().eval(), tokens, loss=lambda out: out, match="^the loss reads out, and none of .*: logits, last;"
    )
    refused(linear, X, loss=3, match="^'loss' is 3, which is neither a Node nor a function", error=GraphError)


@pytest.mark.parametrize(
    ("column", "given"),
    [
        (torch.randn(5, 6), r"[6] for each row, torch.float32"),
        (torch.randn(5, 4).double(), r"[4] for each row, torch.float64"),
        (torch.randn(5), r"[] for each row, torch.float32"),
        ("text", "a str"),
    ],
)
def test_other_sizes_and_types_of_a_column(column, given):
    G = from_module(nn.Linear(4, 2).eval(), X)
    message = f"the column 'input' is {given}, but the graph was made for [4], torch.float32; give such columns"
    with pytest.raises(DataError, match=f"^{re.escape(message)}"):
        G({"input": column})


def test_scrubbing_with_columns_of_another_length_names_the_column():
    G = from_module(nn.Linear(4, 1).eval(), X, loss=lambda out: out[:, 0])
    h = Hypothesis(G, G | {"loss": reads("linear")})
    with pytest.raises((DataError, NodeError), match="the column 'input' is"):
        scrub(h, {"input": torch.randn(5, 3)}, baseline=h)
