"""What is no `Component` is only called, whatever its attributes are called; components compare by value."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from scrubbing import (
    Graph,
    Hypothesis,
    Node,
    attribute_loss,
    explain,
    explanation_accuracy,
    interchange,
    load_record,
    random_controls,
    random_features,
    reads,
    restore,
    run_explanation,
    save_record,
    scrub,
    single_swaps,
    worst_donors,
)
from scrubbing.engine.component import Component

NAMES = ["lower", "fitted", "losses", "beside", "restricted", "heads", "rows", "terms", "compared", "sums_inputs"]
NAMES += ["number", "logits_per_position", "fn", "arguments", "stream"]
DATA = {"x": torch.arange(12.0) % 5, "z": torch.arange(12.0) % 3, "y": torch.arange(12.0) % 4}


class Double(nn.Module):
    """Twice its input, with a layer for every name."""

    def __init__(self) -> None:
        super().__init__()
        for name in NAMES:
            setattr(self, name, nn.Linear(1, 1))

    def forward(self, x):
        return 2 * x


class DoubleObject:
    """Twice its input, with an attribute for every name, and one that is called `forward`."""

    def __init__(self, attribute) -> None:
        for name in [*NAMES, "forward"]:
            setattr(self, name, attribute)

    def __call__(self, x):
        return 2 * x


@dataclass(frozen=True)
class DoubleValue:
    """Twice its input, as a frozen dataclass with methods that take what they like."""

    heads: int = 3
    rows: int = 2

    def lower(self) -> None: ...
    def fitted(self) -> None: ...
    def compared(self) -> None: ...
    def terms(self) -> None: ...
    def restricted(self) -> None: ...

    @property
    def losses(self) -> int:
        return 1

    def __call__(self, x):
        return 2 * x


def double(x):
    return 2 * x


def double_function(x):
    return 2 * x


for name in NAMES:
    setattr(double_function, name, nn.Linear(1, 1))

OPAQUE = {
    "module": Double().eval(),
    "object": DoubleObject(nn.Linear(1, 1)),
    "object of functions": DoubleObject(lambda *_, **__: 3),
    "dataclass": DoubleValue(),
    "function": double_function,
}


def hypothesis(fn) -> Hypothesis:
    """The function is a node of G, and a feature of I; and in G it reads a column, and feeds the loss."""
    G = Graph(
        a=Node(fn, ("x",)),
        b=lambda a, z: a + z,
        c=Node(fn, ("b",)),
        loss=lambda c, y: (c - y).abs(),
    )
    return Hypothesis(G, Graph(a=Node(fn, ("x",)), b=lambda a: a % 3, c=Node(fn, ("b",)), loss=reads("c", "y")))


def loss_alone(fn) -> Hypothesis:
    """The function is the loss of G."""
    return Hypothesis(Graph(a=lambda x, z: x + z, loss=Node(fn, ("a",))), Graph(a=reads("x"), loss=reads("a")))


@pytest.mark.parametrize("kind", OPAQUE)
@pytest.mark.parametrize("make", [hypothesis, loss_alone])
@pytest.mark.filterwarnings("ignore::scrubbing.ScrubbingWarning")
def test_a_function_with_attributes_of_any_name_is_only_called(kind, make, tmp_path):
    h, plain = make(OPAQUE[kind]), make(double)
    nothing = Graph(loss=reads(*plain.G["loss"].inputs[1:]))
    assert torch.equal(h.G(DATA), plain.G(DATA))
    for settings in ({}, {"draws": 2}, {"exact": True}, {"exact": "last"}, {"until": 0.9, "references": 130}):
        score = scrub(h, DATA, baseline=nothing, **settings)
        assert score.by_reference == scrub(plain, DATA, baseline=nothing, **settings).by_reference
    score = scrub(h, DATA, baseline=nothing)
    assert explain(h, DATA, baseline=nothing).flops == 0
    assert explain(h, DATA, baseline=nothing).logits_rows == 0
    assert attribute_loss(h, DATA, baseline=nothing, shapley=2).score.by_reference == score.by_reference
    assert single_swaps(h, DATA, score).scrubbed == single_swaps(plain, DATA, score).scrubbed
    assert random_controls(h, DATA, baseline=nothing, count=2).score.by_reference == score.by_reference
    assert random_features(h, {**DATA, "row": torch.arange(12)}).G == h.G
    for exact in (False, True):
        assert np.array_equal(worst_donors(h, DATA, exact=exact).worst, worst_donors(plain, DATA, exact=exact).worst)
    how = {"decide": lambda value: value > 3}
    assert explanation_accuracy(h, DATA, of="a", **how).share == explanation_accuracy(plain, DATA, of="a", **how).share
    assert interchange(h, DATA, node="a", of="a", **how).share == 1
    assert run_explanation(h, DATA) is not None
    save_record(tmp_path / "h.json", h, DATA, score)
    assert restore(load_record(tmp_path / "h.json"), h) == h
    assert scrub(h, DATA, baseline=nothing, store=tmp_path / "scores.sqlite") == score


def test_the_parameters_of_a_module_are_its_forward_s_and_those_of_an_object_its_own():
    assert Graph(a=OPAQUE["module"]).columns == Graph(a=OPAQUE["object"]).columns == ("x",)


@dataclass(frozen=True, eq=False)
class Scale(Component):
    """A function with a weight."""

    weight: torch.Tensor

    def __call__(self, x):
        return self.weight * x


def test_a_component_answers_nothing_of_its_own_accord():
    fn = Scale(torch.tensor(2.0))
    assert fn.lower((), lambda *_: pytest.fail("no call is made")) is None
    assert fn.fitted(DATA["x"]) is fn
    assert [0, 1, 2][fn.terms(3)] == []
    assert fn.logits_per_position == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.bool])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 1)])
def test_tensors_of_any_shape_are_compared_by_content(shape, dtype):
    one = Scale(torch.ones(shape).to(dtype))
    assert one == Scale(torch.ones(shape).to(dtype))
    assert hash(one) == hash(replace(one))
    assert (one == Scale(torch.zeros(shape).to(dtype))) == (0 in shape)
    assert one != Scale(torch.ones((1, *shape)).to(dtype))


def test_a_component_with_a_number_for_a_weight_scores():
    h = hypothesis(Scale(torch.tensor(2.0)))
    nothing = Graph(loss=reads("y"))
    assert scrub(h, DATA, baseline=nothing).losses.equals(scrub(hypothesis(double), DATA, baseline=nothing).losses)
