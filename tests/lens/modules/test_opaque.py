"""Submodules that cannot be exported are called, each as one node, and everything around them is taken apart."""

import numpy as np
import pytest
import torch
from small_modules import Experts
from torch import Tensor, nn

from scrubbing import Graph, Hypothesis, ModelError, ScrubbingWarning, from_module, reads, scrub
from scrubbing.engine.component import Component

pytestmark = pytest.mark.usefixtures("unchecked")
X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


class Foreign(nn.Module):
    """Computed by numpy, from several arguments, with several results."""

    def forward(
        self, x: Tensor, *, scale: float, shift: Tensor | None = None
    ) -> tuple[Tensor, None, dict[str, Tensor]]:
        y = torch.from_numpy(np.tanh(x.detach().numpy() * scale))
        return y if shift is None else y + shift, None, {"sum": y.sum(1), "scale": scale}


class Twice(nn.Module):
    """A foreign module that is called twice, in two ways, between layers that can be exported."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.foreign, self.out = nn.Linear(4, 4), Foreign(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x)
        y, _, found = self.foreign(x, scale=2.0)
        z, _, _ = self.foreign(y, scale=0.5, shift=x)
        return self.out(z) + found["sum"][:, None]


class Flat(nn.Module):
    """Experts that get all positions of all rows as one list."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Experts() for _ in range(2))
        self.out = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x.flatten(0, 1)).unflatten(0, (-1, 3))
        return self.out(x).sum((1, 2))


def traced(module: nn.Module, x: Tensor, *paths: str, **settings: object) -> Graph:
    """The graph, after a warning for each of the submodules."""
    with pytest.warns(ScrubbingWarning) as warned:
        G = from_module(module, x, **settings)  # type: ignore
    assert [str(w.message).partition(" cannot be exported (")[0] for w in warned] == list(map(repr, paths))
    assert all(str(w.message).endswith("): it stays one node, which calls it") for w in warned)
    return G


@torch.no_grad()
def test_a_submodule_is_called_with_the_arguments_that_it_had():
    torch.manual_seed(0)
    module = Twice().eval()
    G = traced(module, X, "foreign")
    assert {name: G[name].inputs for name in G.order} == {
        "inner": ("x",),
        "foreign": ("inner",),
        "foreign_0": ("foreign",),
        "foreign_1": ("foreign",),
        "foreign_1_1": ("foreign_0", "inner"),  # the second call
        "out": ("foreign_1_1",),
        "unsqueeze": ("foreign_1",),
        "add": ("out", "unsqueeze"),
    }
    for rows in (1, 6):
        x = torch.randn(rows, 4)
        assert torch.allclose(G({"x": x}), module(x), atol=1e-6)


@torch.no_grad()
def test_all_submodules_of_a_class_are_called_and_may_get_more_entries_than_rows():
    torch.manual_seed(0)
    module, x = Flat().eval(), torch.randn(5, 3, 4)
    G = traced(module, x, "layers.0", "layers.1")
    for rows in (1, 6):
        x = torch.randn(rows, 3, 4)
        assert torch.allclose(G({"x": x}), module(x), atol=1e-5)


def test_the_engine_looks_at_what_calls_a_module_as_at_any_function():
    torch.manual_seed(0)
    G = traced(Flat().eval(), torch.randn(5, 3, 4), "layers.0", "layers.1")
    opaque = [name for name, node in G.items() if not isinstance(node.fn, Component)]
    assert len(opaque) == 2
    data = {"x": torch.randn(6, 3, 4)}
    h = Hypothesis(G, Graph(loss=reads("x")))
    assert scrub(h, data, baseline=Graph(loss=reads())).original == pytest.approx(G(data).mean().item(), abs=1e-5)


def test_a_module_is_left_as_it_was():
    module = Twice().eval()
    traced(module, X, "foreign")
    assert "forward" not in vars(module.foreign)
    assert not module.inner._forward_hooks


def test_what_a_module_returns_must_be_tensors_or_plain():
    class Cached(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, object]:
            return torch.from_numpy(np.tanh(x.detach().numpy())), object()

    with pytest.raises(
        ModelError, match=r"cannot be exported, and is called with, or returns, a object, which no node"
    ):
        from_module(Cached().eval(), X)


def test_shapes_that_depend_on_values_cannot_be_called():
    class Chosen(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.from_numpy(x.detach().numpy()[x.numpy() > 0])

    with pytest.raises(ModelError, match="cannot be exported, and the shape of what it returns depends on values"):
        from_module(Chosen().eval(), X)


def test_the_number_of_rows_as_a_constant_is_explained():
    class Counted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(len(x), 2, 2).sum((1, 2))

    with pytest.warns(ScrubbingWarning, match=r"it makes a constant of the number of rows, as len\(x\)"):
        G = from_module(Counted().eval(), X)
    assert torch.equal(G({"x": X}), X.reshape(5, 2, 2).sum((1, 2)))
