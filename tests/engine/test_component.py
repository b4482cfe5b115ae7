"""What is no `Component` is only called, whatever its attributes are called; components compare by value."""

from dataclasses import dataclass, replace

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
    reads,
    restore,
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
    """The function as a node of G that reads a column, as one that reads a node, as the loss, and as features of I."""
    G = Graph(
        a=Node(fn, ("x",)),
        b=lambda a, z: a + z,
        c=Node(fn, ("b",)),
        error=lambda c, y: (c - y).abs(),
        loss=Node(fn, ("error",)),
    )
    return Hypothesis(
        G, Graph(a=Node(fn, ("x",)), b=lambda a: a % 3, c=Node(fn, ("b",)), error=reads("c", "y"), loss=reads("error"))
    )


ANSWERS = {
    "G(data)": lambda h, nothing, path: h.G(DATA).tolist(),
    "scrub": lambda h, nothing, path: scrub(h, DATA, baseline=nothing, store=path / "scores.sqlite").by_reference,
    "scrub, exact": lambda h, nothing, path: scrub(h, DATA, baseline=nothing, exact=True).by_reference,
    "explain": lambda h, nothing, path: explain(h, DATA, baseline=nothing).logits_rows,
    "attribution": lambda h, nothing, path: attribute_loss(h, DATA, baseline=nothing).alone,
    "swaps": lambda h, nothing, path: single_swaps(h, DATA, scrub(h, DATA, baseline=nothing)).without,
    "controls": lambda h, nothing, path: random_controls(h, DATA, baseline=nothing, count=2).controls[1].by_reference,
    "worst": lambda h, nothing, path: worst_donors(h, DATA, starts=1, sweeps=1, candidates=2).worst.tolist(),
    "worst, exact": lambda h, nothing, path: worst_donors(h, DATA, exact=True).worst.tolist(),
    "explanation": lambda h, nothing, path: explanation_accuracy(h, DATA, of="a", decide=large).by_row.tolist(),
    "interchange": lambda h, nothing, path: interchange(h, DATA, node="a", of="b", decide=large).agreed.tolist(),
    "records": lambda h, nothing, path: (
        restore(load_record(save_record(path / "h.json", h, DATA) and path / "h.json"), h) == h
    ),
}


def large(value):
    return value > 3


HEAVY = {"attribution", "controls", "explain", "scrub, exact", "swaps", "worst"}  # many runs of seven functions


@pytest.mark.parametrize("ask", [pytest.param(ask, marks=[pytest.mark.slow] * (ask in HEAVY)) for ask in ANSWERS])
def test_a_function_with_attributes_of_any_name_is_only_called(ask, tmp_path):
    nothing = Graph(loss=reads("y"))
    expected = ANSWERS[ask](hypothesis(double), nothing, tmp_path)
    for kind, fn in OPAQUE.items():
        assert str(ANSWERS[ask](hypothesis(fn), nothing, tmp_path)) == str(expected), kind


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
