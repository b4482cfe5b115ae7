"""Fingerprints follow content: the source and the used values of a function, the bytes of a tensor."""

import functools
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import pytest
import torch

from hypotheses.toy import NETWORK
from scrubbing.engine.component import Component
from scrubbing.graph import fingerprint
from scrubbing.graph.fingerprint import digest, import_path, source, used_values

LIMIT = 3


@dataclass(frozen=True, eq=False)
class Offset(Component):
    """A component of one tensor, of whatever type."""

    by: torch.Tensor


def above(limit):
    return lambda x: x > limit


def helped(x):
    """What it does."""
    return scaled(x)  # a remark


def scaled(x):
    return LIMIT * x


def test_each_of_several_lambdas_in_one_statement_has_its_own_source():
    one, two, three = lambda x: x + 1, lambda x: x + 2, lambda x: lambda y: x
    assert [source(f) for f in (one, two, three, three(0))] == [
        "lambda x: x + 1",
        "lambda x: x + 2",
        "lambda x: lambda y: x",
        "lambda y: x",
    ]


def test_source_has_no_comments_no_docstrings_and_no_layout():
    assert source(helped) == "def helped(x):\n    return scaled(x)"
    assert digest(lambda x: x > 3) == digest(
        lambda x:  # the same
        (x > 3)
    )  # fmt: skip


def test_a_function_changes_with_the_values_that_it_closes_over():
    assert digest(above(3)) == digest(above(3))
    assert digest(above(3)) != digest(above(4))
    assert used_values(above(4)) == {"limit": 4}


def test_a_function_changes_with_its_defaults():
    one, two = (lambda x, k=1: x + k), (lambda x, k=2: x + k)
    assert digest(one) != digest(two)


def test_a_function_changes_with_a_global_that_a_helper_uses(monkeypatch):
    before = digest(helped)
    monkeypatch.setitem(globals(), "LIMIT", 4)
    assert digest(helped) != before


def test_functions_without_source_differ_by_their_code():
    made = {}
    exec("a = lambda x: x + 1\nb = lambda x: x + 1\nc = lambda x: x + 2", made)
    assert source(made["a"]) is None
    assert digest(made["a"]) == digest(made["b"]) != digest(made["c"])


def test_a_function_that_refers_to_itself_has_a_fingerprint():
    def count(n):
        return n and count(n - 1)

    assert digest(count) == digest(count)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.zeros(2), torch.zeros(3)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (torch.tensor(0.0), torch.tensor(1.0)),
        (torch.sigmoid, torch.relu),
        (torch.nn.functional.relu, torch.nn.functional.gelu),
        (functools.partial(scaled, x=1), functools.partial(scaled, x=2)),
        ((1, 2), [1, 2]),
        (1, True),
        (torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)),
    ],
)
def test_different_content_has_different_fingerprints(a, b):
    assert digest(a) == digest(a)
    assert digest(a) != digest(b)


def test_equal_content_has_equal_fingerprints():
    assert digest(np.array(["a", "b"])) == digest(np.array(["a", "b", "long"])[:2])
    assert digest(torch.arange(6).view(2, 3).T) == digest(torch.arange(6).view(2, 3).T.contiguous())
    assert digest({"a": 1, "b": {2, 3}}) == digest({"b": {3, 2}, "a": 1})


@pytest.mark.parametrize(
    "kind",
    [
        *(torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2),
        *(torch.int64, torch.uint8, torch.uint16, torch.bool, torch.complex64, torch.complex128),
    ],
)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (2, 3), (2, 0, 3)])
def test_tensors_of_all_types_and_shapes_have_fingerprints(kind, shape):
    ones, zeros = torch.ones(shape).to(kind), torch.zeros(shape).to(kind)
    assert digest(ones) == digest(ones.clone()) == digest(ones.detach().expand(shape))
    assert (digest(ones) == digest(zeros)) == (ones.numel() == 0)
    assert digest(ones) != digest(ones[None])
    assert (Offset(ones) == Offset(zeros)) == (ones.numel() == 0)
    assert Offset(ones) == Offset(ones.clone())


def test_views_are_known_by_their_numbers():
    z = torch.tensor([1 + 2j, 3 - 1j])
    assert digest(z.conj()) == digest(z.conj().resolve_conj()) != digest(z)
    assert digest(torch._neg_view(z)) == digest(-z)
    assert digest(torch.arange(4.0)[::2]) == digest(torch.tensor([0.0, 2.0]))
    assert digest(torch.eye(2).to_sparse()) == digest(torch.eye(2)) != digest(torch.zeros(2, 2).to_sparse())
    assert digest(torch.zeros(2, device="meta")) != digest(torch.zeros(3, device="meta"))


def test_the_import_path_names_a_module_and_a_place_in_it():
    assert import_path(NETWORK["A"].fn) == "hypotheses.toy:<lambda>"
    assert import_path(torch.nn.Linear(1, 1)) == "torch.nn.modules.linear:Linear"


class Opaque:
    """An object whose content no fingerprint shows."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return self.factor * x


def test_objects_of_unknown_content_are_alike_unless_they_are_told_apart():
    two, three = Opaque(2), Opaque(3)
    assert digest(two) == digest(three)
    assert digest(two, identify=id) != digest(three, identify=id)
    assert digest(lambda x: two(x), identify=id) != digest(lambda x: three(x), identify=id)
    assert digest(two, identify=id) == digest(two, identify=id)


def test_what_shows_its_content_is_not_identified():
    def never(value):
        raise AssertionError(value)

    for value in (above(3), functools.partial(above(3), 1), NETWORK, {"x": torch.ones(2)}, [1, "a", None]):
        assert digest(value, identify=never) == digest(value)


@pytest.mark.parametrize(
    ("value", "pieces"),
    [(torch.arange(30.0).view(5, 6), 5), (torch.arange(30).view(5, 6).T, 6), (torch.arange(15), 3), (torch.ones(7), 1)],
)
def test_a_large_tensor_is_read_in_pieces(value, pieces):
    whole = fingerprint.tensor_hash(value)
    with patch.object(fingerprint, "PIECE", 7):
        assert len(fingerprint.in_pieces(value)) == pieces
        assert fingerprint.tensor_hash(value) == whole
        assert fingerprint.tensor_hash(value + 1) != whole
