"""Which nodes a module's graph has, what they are called and read, and which of two graphs are the same."""

import copy
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from small_modules import Products, Recurrent, Residual, huggingface
from torch import Tensor, nn
from torch.nn import functional as F

from scrubbing import Graph, ModelError, from_module, reads
from scrubbing.lens.modules.operations import Operations

pytestmark = pytest.mark.usefixtures("unchecked")
X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


class Tied(nn.Module):
    """An embedding that is the unembedding, a layer that is called twice, and names that Python does not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lin, self.out = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 7, bias=False)
        self.out.weight = self.embed.weight
        self.lambda_ = nn.Identity()
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.lin(self.scale * self.lin(self.embed(tokens))))


class Scaled(nn.Module):
    """Two inputs, and settings."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, x: Tensor, z: Tensor, *, gain: Tensor | None = None, twice: bool = False) -> Tensor:
        y = self.a(x) + self.b(z)
        y = y if gain is None else y * gain
        return 2 * y if twice else y


class OfFunction(nn.Module):
    """A module of one function, with a linear layer for it."""

    def __init__(self, fn) -> None:
        super().__init__()
        self.lin, self.fn = nn.Linear(4, 4), fn

    def forward(self, x: Tensor) -> object:
        return self.fn(self, x)


def made(fn) -> nn.Module:
    torch.manual_seed(0)
    return OfFunction(fn).eval()


def edges(G: Graph) -> dict[str, tuple[str, ...]]:
    return {name: G[name].inputs for name in G.order}


@torch.no_grad()
def agree(G: Graph, module, *inputs: Tensor, node: str | None = None) -> bool:
    """Whether a graph has the module's output, on other rows than those that it was made with."""
    columns = dict(zip(sorted(G.columns), inputs, strict=False)) if len(inputs) == 1 else dict(x=inputs[0], z=inputs[1])
    return torch.allclose(G.activations(columns, node or G.output)[0], module(*inputs), rtol=0, atol=1e-6)


# -- nodes and their names


def test_a_node_for_each_operation_by_the_path_of_its_module():
    module = Products().eval()
    G = from_module(module, torch.randn(5, 3))
    assert edges(G) == {"a": ("x",), "b": ("x",), "relu": ("a",), "mul": ("relu", "b"), "out": ("mul",)}
    for rows in (1, 2, 33):
        assert agree(G, module, torch.randn(rows, 3))


def test_chosen_modules_and_those_beside_them_are_nodes_and_what_stands_between_joins_its_reader():
    module = nn.Sequential(Residual(), nn.Conv2d(4, 2, 1)).eval()
    x = torch.randn(5, 4, 6, 6)
    assert edges(from_module(module, x, ["0.conv"])) == {
        "layer0_conv": ("input",),
        "layer0_bn": ("layer0_conv",),
        "layer0_down": ("input",),
        "layer0": ("layer0_bn", "layer0_down"),
        "layer1": ("layer0",),
    }
    assert edges(from_module(module, x, "0")) == {"layer0": ("input",), "layer1": ("layer0",)}
    assert edges(from_module(module, x, [])) == {"module": ("input",)}
    for nodes in (["0.conv"], "0", []):
        assert agree(from_module(module, x, nodes), module, torch.randn(3, 4, 6, 6))


def test_a_layer_that_is_called_twice_is_two_nodes_and_a_tied_weight_is_held_once():
    module = Tied().eval()
    G = from_module(module, torch.randint(0, 7, (5, 3)))
    assert edges(G) == {
        "embed": ("tokens",),
        "lin": ("embed",),
        "mul": ("lin",),
        "lin_1": ("mul",),
        "out": ("lin_1",),
    }
    assert G["embed"].fn.bound[0] is G["out"].fn.bound[0]
    assert G["embed"].fn.bound[0].value.data_ptr() == module.embed.weight.data_ptr()  # not copied
    assert G["lin"].fn == G["lin_1"].fn  # the same function of other inputs


def test_names_are_ones_that_python_allows_and_no_column_has():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module("lambda", nn.Linear(4, 4))
            self.add_module("x", nn.Linear(4, 4))
            self.add_module("loss", nn.Linear(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.loss(self.x(self.get_submodule("lambda")(x)))

    assert edges(from_module(Odd().eval(), X)) == {"lambda_": ("x",), "x_1": ("lambda_",), "loss_1": ("x_1",)}


def test_values_without_one_entry_per_row_first_stay_inside_a_node():
    module = made(lambda m, x: m.lin(x.reshape(-1, 2).repeat(1, 2)).sum(1).reshape(-1, 2).exp())
    G = from_module(module, X)
    assert edges(G) == {"lin": ("x",), "exp": ("lin",)}
    assert agree(G, module, X[:3])


def around(module: OfFunction, x: Tensor) -> Tensor:
    """A value without rows first, that is used before and after a layer."""
    turned = (2 * x).T
    return (turned * module.lin(turned.sum(0)[:, None].expand(-1, 4)).sum(1)).T.exp()


def test_nodes_that_would_read_each_other_are_one():
    module = made(around)
    assert edges(from_module(module, X)) == {"mul": ("x",), "lin": ("mul",), "exp": ("lin",)}
    assert agree(from_module(module, X), module, torch.randn(3, 4))
    with pytest.raises(ModelError, match=r"^the call of 'lin' cannot be cut out: .*; choose a module around it$"):
        from_module(module, X, "lin")


def test_several_values_of_a_call_are_a_tuple_and_its_parts():
    G = from_module(made(lambda m, x: torch.cat([*m.lin(x).split(2, dim=1)][::-1], dim=1)), X)
    assert edges(G) == {
        "lin": ("x",),
        "split": ("lin",),
        "split_0": ("split",),
        "split_1": ("split",),
        "cat": ("split_1", "split_0"),
    }


def test_what_depends_on_no_column_is_no_node():
    def causal(module: OfFunction, x: Tensor) -> Tensor:
        rows = torch.arange(4).expand(x.shape[0], 4)  # the same in each row
        hidden = rows[:, :, None] < rows[:, None]
        return (x[:, None] * module.lin.weight.T).masked_fill(hidden, 0.0).sum(2) + torch.tril(torch.ones(4, 4)).sum(0)

    G = from_module(made(causal), X)
    assert list(G.order) == ["unsqueeze", "mul", "masked_fill", "sum", "add"]
    assert [tuple(bound.value.shape) for bound in G["masked_fill"].fn.bound] == [(1, 4, 4)]  # for any number of rows
    assert agree(G, made(causal), torch.randn(9, 4))


def test_activations_are_freed_after_their_last_use():
    G = from_module(made(lambda m, x: m.lin(x).relu().exp()), X, [])
    assert G["module"].fn.code.splitlines()[2:4] == [
        "    v1 = torch.ops.aten.relu.default(v0); del v0",
        "    v2 = torch.ops.aten.exp.default(v1); del v1",
    ]


# -- inputs and outputs


def test_columns_go_by_name_or_by_position():
    module, x, z = Scaled().eval(), X, torch.randn(5, 2)
    assert agree(from_module(module, {"z": z, "x": x}), module, x, z)
    assert agree(from_module(module, (x, z)), module, x, z)
    linear = nn.Linear(4, 2).eval()
    assert from_module(linear, {"anything": X}).columns == ("anything",)


def test_settings_and_tensors_without_rows_are_bound():
    module, x, z, gain = Scaled().eval(), X, torch.randn(5, 2), torch.tensor([1.0, 0.0, 2.0])
    G = from_module(module, dict(x=x, z=z), bound=dict(gain=gain, twice=True))
    assert G.columns == ("x", "z")
    assert torch.allclose(G(dict(x=x, z=z)), module(x, z, gain=gain, twice=True))


def test_the_loss_reads_outputs_and_columns():
    tokens = torch.randint(0, 11, (5, 6))
    module = Recurrent().eval()
    both = from_module(module, tokens, loss=lambda logits, y: F.cross_entropy(logits, y, reduction="none"))
    assert both.columns == ("tokens", "y")  # a label need not be in the example
    assert both["loss"].inputs == ("head", "y")
    with torch.no_grad():
        assert torch.allclose(
            both(dict(tokens=tokens, y=torch.zeros(5).long())),
            -module(tokens)["logits"].log_softmax(1)[:, 0],
            atol=1e-6,
        )
    one = from_module(nn.Linear(4, 2).eval(), {"x": X, "y": X}, loss=lambda guess, y: (guess - y[:, :2]).pow(2).sum(1))
    assert edges(one) == {"linear": ("x",), "loss": ("linear", "y")}
    of_module = from_module(nn.Linear(4, 2).eval(), X, loss=nn.CrossEntropyLoss(reduction="none"))
    assert of_module["loss"].inputs == ("linear", "target")


def test_one_value_per_row_is_the_loss():
    G = from_module(made(lambda m, x: m.lin(x).pow(2).sum(1)), X)
    assert edges(G) == {"lin": ("x",), "pow": ("lin",), "loss": ("pow",)}


@dataclass
class Pair:
    first: Tensor
    second: dict[str, Tensor]


def test_outputs_of_any_structure():
    G = from_module(made(lambda m, x: Pair(m.lin(x), {"part": x + 1})), X)
    assert edges(G)["outputs"] == ("lin", "add")
    fn = made(lambda m, x: (m.lin(x), [x + 1, None, 3]))
    loss = from_module(fn, X, loss=lambda output_1_0: output_1_0.sum(1))
    assert edges(loss) == {"add": ("x",), "loss": ("add",)}
    same = from_module(made(lambda m, x: {"one": x, "other": x}), X, loss=lambda one, other: (one - other).sum(1))
    assert same["loss"].inputs == ("x", "other")
    assert torch.equal(same({"x": X}), torch.zeros(5))


def test_a_plain_function():
    G = from_module(lambda x, z: torch.relu(x @ z.mT).sum((1, 2)), (torch.randn(5, 2, 3), torch.randn(5, 2, 3)))
    assert edges(G) == {"mT": ("z",), "matmul": ("x", "mT"), "relu": ("matmul",), "loss": ("relu",)}


def test_a_function_of_a_module_shares_its_weights():
    module = nn.Linear(4, 2).eval()
    G = from_module(lambda x: module(x)[:, 0], X)
    assert edges(G) == {"linear": ("x",), "loss": ("linear",)}
    assert G["linear"].fn.bound[0].value.data_ptr() == module.weight.data_ptr()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile's own
def test_what_wraps_a_module_is_taken_off():
    assert edges(from_module(torch.compile(nn.Linear(4, 2).eval()), X)) == {"linear": ("input",)}


# -- Python in the module


def in_place(module: OfFunction, x: Tensor) -> Tensor:
    y = module.lin(x).clone()
    y[:, 0] = 1
    y.add_(x).relu_()
    y[:, 1:].mul_(2)
    return y


def autocast(module: OfFunction, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module.lin(x)
    with torch.no_grad():
        return y.float() * 2


def loops(module: OfFunction, x: Tensor) -> Tensor:
    for turn in range(3):
        x = x + module.lin(x) if turn % 2 else module.lin(x)
    return x


def picks(module: OfFunction, x: Tensor) -> Tensor:
    return module.lin(x)[torch.arange(x.shape[0]), (x[:, 0] > 0).long()][:, None] * x


@pytest.mark.parametrize("fn", [in_place, autocast, loops, picks])
@pytest.mark.parametrize("nodes", [None, []])
def test_python_in_a_module_is_run_once(fn, nodes):
    module = made(fn)
    G = from_module(module, X, nodes)
    for rows in (1, 4, 9):
        assert agree(G, module, torch.randn(rows, 4))


def test_columns_may_lie_otherwise_in_memory_than_the_example():
    G = from_module(made(lambda m, x: m.lin(x.view(-1, 4))), torch.randn(5, 2, 2))
    x = torch.randn(3, 2, 2)
    assert torch.equal(G({"x": x.mT}), G({"x": x.mT.contiguous()}))


# -- equality


def test_equal_nodes_of_two_graphs_are_the_same():
    module = Products().eval()
    x = torch.randn(5, 3)
    G, again = from_module(module, x), from_module(copy.deepcopy(module), x + 1)
    assert G == again
    with torch.no_grad():
        module.b.bias += 1
    other = from_module(module, x)
    assert {name for name in G if G[name] != other[name]} == {"b"}


def test_functions_survive_copying_and_pickling():
    G = from_module(Products().eval(), torch.randn(5, 3))
    G({"x": torch.randn(2, 3)})  # compiled
    for node in G.values():
        assert isinstance(node.fn, Operations)
        for twin in (copy.deepcopy(node.fn), pickle.loads(pickle.dumps(node.fn))):
            assert twin == node.fn
            assert hash(twin) == hash(node.fn)
    assert G | {"out": reads("mul")} != G


@pytest.mark.parametrize(
    "nodes", [pytest.param(None, marks=pytest.mark.slow), ["transformer.h.*.attn", "transformer.h.*.mlp"]]
)
def test_attention_with_a_cache_and_tied_weights(nodes):
    """GPT-2 makes a cache in every call, and returns it."""
    torch.manual_seed(0)
    make = huggingface("GPT2LMHeadModel", vocab_size=32, n_embd=16, n_layer=1, n_head=2, n_positions=16, bos_token_id=0)
    module, tokens = make().eval(), torch.randint(0, 32, (5, 6))
    G = from_module(module, tokens, nodes, loss=lambda logits: logits.logsumexp(2).sum(1))
    with torch.no_grad():
        expected = module(tokens[:2]).logits.logsumexp(2).sum(1)
    assert torch.allclose(G({"input_ids": tokens[:2]}), expected, rtol=0, atol=1e-4)
    if nodes:
        assert G.readers("transformer_h_0_attn") == ("transformer_h_0_add",)
    assert G["transformer_wte"].fn.bound[0] is G["lm_head"].fn.bound[-1]


def test_data_given_as_arrays():
    G = from_module(nn.Linear(4, 2).eval(), {"x": np.ones((3, 4), dtype=np.float32)})
    assert G({"x": X}).shape == (5, 2)
