"""Arrays of other shapes than those annotated are refused while tests run."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from annotated_shapes import checked
from beartype import beartype
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float
from torch import Tensor

from scrubbing.lens.components.norm import Norm
from scrubbing.score.losses import Estimate
from scrubbing.score.statistics import fieller

Vector = Float[Tensor, " row"]


def refused(function: Callable, *arguments: object) -> None:
    with pytest.raises(BeartypeCallHintViolation):
        function(*arguments)


def test_annotated_shapes_are_checked_although_the_plugin_was_imported_first():
    refused(fieller, np.zeros((2, 2)), np.zeros(2))
    refused(Norm(None).scale, torch.tensor(2.0))  # a method, and a type with a name
    refused(Estimate, np.zeros(2), np.zeros(3), 0.0, 0.0)  # fields


def add(a: Float[Tensor, "row width"], b: Float[Tensor, " width"]) -> Float[Tensor, "row width"]:
    return (a + b)[: b.numel()]


def test_arguments_and_result_of_a_call_agree_in_their_sizes():
    adding = checked(add, typechecker=beartype)
    assert adding(torch.ones(2, 3), torch.ones(3)).shape == (2, 3)
    assert adding(torch.ones(2, 4), torch.ones(4)).shape == (2, 4)  # another call has its own sizes
    refused(adding, torch.ones(1, 3), torch.ones(1))
    refused(adding, torch.ones(2, 3).int(), torch.ones(3))
    refused(adding, torch.ones(4, 3), torch.ones(3))  # its result has three rows


def test_names_of_types_that_pyright_alone_knows_are_anything():
    def of(a: Float[Tensor, " row"], score: "Score", *, again: "Float[Tensor, 'row']") -> "list[Score]":
        return [score]

    one = checked(of, typechecker=beartype)
    assert one(torch.ones(2), "a score", again=torch.ones(2)) == ["a score"]
    refused(lambda: one(torch.ones(2), "a score", again=torch.ones(3)))


def test_as_users_call_it_nothing_is_refused(unchecked):
    assert checked(add, typechecker=beartype)(torch.ones(1, 3), torch.ones(1)).shape == (1, 3)


@pytest.mark.parametrize(
    ("annotation", "shaped"),
    [
        (Vector, True),
        (Vector | None, True),
        (dict[str, Vector], True),
        (Callable[[int, Vector], None], True),
        ('dict[str, Float[Tensor, " row"]]', True),
        (Tensor, False),
        ("Sequence[Tensor]", False),
        (dict[str, list[int]] | None, False),
        (Callable[[int], None], False),
    ],
    ids=str,
)
def test_what_has_no_shapes_is_left_as_it_is(annotation, shaped):
    def function(given):
        return given

    function.__annotations__ = {"given": annotation}
    assert (checked(function, typechecker=beartype) is not function) == shaped
    assert (checked(property(function), typechecker=beartype).fget is not function) == shaped
    assert (checked(staticmethod(function), typechecker=beartype).__func__ is not function) == shaped
