"""Two functions have one fingerprint only if nothing that a call can reach tells them apart."""

import functools
import subprocess
import sys
import threading
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from types import ModuleType

import numpy as np
import pytest
import torch

from hypotheses import toy
from scrubbing.store.dependencies import dependencies_of

limit = 3
weights = torch.tensor([1.0, 2.0])


def fingerprint(fn):
    found = dependencies_of([fn])
    assert found.unseen == []
    return found.digest


def helper(x):
    return x > limit


def through_a_global(x):
    return helper(x)


def through_a_nested_function(x):
    return [helper(item) for item in x] + [(lambda item=item: helper(item))() for item in x]


class Plain:
    """A class that nothing is known of."""

    def __init__(self, limit):
        self.limit = limit

    def __call__(self, x):
        return self.above(x)

    def above(self, x):
        return helper(x) & (x > self.limit)

    @functools.cached_property
    def slow(self):
        return 1


@dataclass(frozen=True)
class Frozen:
    """A dataclass whose method reads a global."""

    step: float = 0.5

    def __call__(self, x):
        return self._rounded(x) > limit

    def _rounded(self, x):
        return x / self.step


class Layer(torch.nn.Module):
    """A module with a weight, and a number that is no part of its state."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale
        self.linear = torch.nn.Linear(2, 2, bias=False)
        torch.nn.init.ones_(self.linear.weight)

    def forward(self, x):
        return self.linear(x) * self.scale


def doubled(fn):
    @functools.wraps(fn)
    def wrapper(x):
        return 2 * fn(x)

    return wrapper


def tripled(fn):
    @functools.wraps(fn)
    def wrapper(x):
        return 3 * fn(x)

    return wrapper


@functools.cache
def remembered(x):
    return helper(x)


REACHING = {
    "itself": helper,
    "through a global": through_a_global,
    "through a nested function": through_a_nested_function,
    "through a lambda": lambda x: helper(x),
    "through a method of a plain object": Plain(0),
    "through a bound method": Plain(0).above,
    "through a dataclass": Frozen(),
    "through a partial": functools.partial(helper),
    "through a cache": remembered,
    "through a wrapper": doubled(helper),
    "through a container": [{"a": (helper,)}],
}


@pytest.mark.parametrize("fn", [pytest.param(fn, id=name) for name, fn in REACHING.items()])
def test_a_global_that_is_reached_is_part_of_a_function(fn, monkeypatch):
    before = fingerprint(fn)
    assert fingerprint(fn) == before
    monkeypatch.setattr(sys.modules[__name__], "limit", 4)
    assert fingerprint(fn) != before


def test_a_global_that_is_not_reached_is_no_part(monkeypatch):
    before = fingerprint(through_a_global)
    monkeypatch.setattr(sys.modules[__name__], "weights", torch.tensor([5.0]))
    assert fingerprint(through_a_global) == before


def test_what_a_function_uses_of_a_module_is_part_of_it(monkeypatch):
    module = ModuleType("helpers")
    exec("scale = 2\nother = 7\ndef times(x): return x * scale", vars(module))
    monkeypatch.setattr(sys.modules[__name__], "helpers", module, raising=False)
    fn = lambda x: helpers.times(x)  # noqa: E731
    before = fingerprint(fn)
    module.other = 8
    assert fingerprint(fn) == before
    module.scale = 3
    assert fingerprint(fn) != before
    module.scale = 2
    assert fingerprint(fn) == before
    exec("def times(x): return x * scale + 1", vars(module))
    assert fingerprint(fn) != before


def test_code_that_differs_is_told_apart():
    alike = [doubled(helper), tripled(helper), helper, lambda x: x > 3, lambda x: x >= 3, lambda x: x > 4]
    assert len({fingerprint(fn) for fn in alike}) == len(alike)


def test_equal_code_in_another_place_is_the_same():
    assert fingerprint(lambda x: x > limit) == fingerprint(lambda x: x > limit)


def test_state_of_objects_is_told_apart_and_what_they_remember_is_not():
    assert fingerprint(Plain(1)) != fingerprint(Plain(2))
    asked = Plain(1)
    assert asked.slow
    assert fingerprint(asked) == fingerprint(Plain(1))
    assert fingerprint(Frozen(0.5)) != fingerprint(Frozen(0.25))


def test_modules_are_known_by_weights_numbers_and_hooks():
    one = Layer()
    assert fingerprint(one) == fingerprint(Layer())
    assert fingerprint(one) != fingerprint(Layer(scale=2.0))
    assert dependencies_of([one]).tensors == dependencies_of([Layer(scale=2.0)]).tensors != set()
    hooked = Layer()
    hooked.linear.register_forward_hook(lambda module, args, out: out + 1)
    assert dependencies_of([hooked]).digest != fingerprint(Layer())
    with torch.no_grad():
        one.linear.weight[0, 0] = 5
    assert fingerprint(one) != fingerprint(Layer())


def test_tensors_and_arrays_are_known_by_content():
    def using(value):
        return lambda x: x + value

    assert fingerprint(using(torch.zeros(2))) == fingerprint(using(torch.zeros(2)))
    assert fingerprint(using(torch.zeros(2))) != fingerprint(using(torch.zeros(2, dtype=torch.float64)))
    assert fingerprint(using(np.zeros(2))) != fingerprint(using(np.ones(2)))
    assert dependencies_of([using(torch.zeros(2))]).devices == {"cpu"}


def test_what_refers_to_itself_ends():
    loop = []
    loop.append(loop)
    assert fingerprint(loop) == fingerprint(loop)

    def recursive(x):
        return x and recursive(x - 1)

    assert fingerprint(recursive) == fingerprint(recursive)


def test_what_cannot_be_looked_into_is_named():
    lock = threading.Lock()
    found = dependencies_of([lambda x: lock and x])
    assert found.unseen == ["_thread.lock"]
    assert dependencies_of([iter([1]), (i for i in [1])]).unseen == ["builtins.generator"]


def test_what_is_installed_is_known_by_name():
    found = dependencies_of([lambda x: torch.nn.functional.relu(np.linalg.norm(x)), torch.nn.functional.gelu])
    assert found.unseen == []
    assert "torch" in found.packages


def test_the_suites_can_be_looked_into():
    assert dependencies_of(node.fn for I in toy.CLAIMS.values() for node in I.values()).unseen == []


def test_fingerprints_are_the_same_in_every_process():
    script = (
        "from scrubbing.store.dependencies import dependencies_of\n"
        "class Plain:\n  def __call__(self, x): return x in {'a', 'b', 'c', 'd', 'e'}\n"
        "print(dependencies_of([Plain(), lambda x: x in {'a', 'b', 'c', 'd', 'e'}, {'a', 'b', 'c', 'd', 'e'}]).digest)"
    )
    here = StringIO()
    with redirect_stdout(here):
        exec(script, {"__name__": "__main__"})
    environment = {"PYTHONHASHSEED": "1", "PYTHONPATH": ":".join(sys.path)}
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert there.stdout == here.getvalue()
