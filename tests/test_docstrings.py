"""Every public function shows an example, and says what it raises."""

import ast
import doctest
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import scrubbing.lens as lens
import scrubbing.rewrite as rewrite
from scrubbing.experiments import public
from scrubbing.experiments.suites import Suite

ROOT = Path(__file__).parent.parent


def is_public(name: str, fn: object) -> bool:
    """Whether it is a method that users call."""
    return isinstance(fn, FunctionType) and not name.startswith("_")


FUNCTIONS = {
    f"{fn.__module__}.{name}": fn
    for module in (public, rewrite, lens)
    for name in module.__all__
    for fn in [getattr(module, name)]
    if isinstance(fn, FunctionType)
}
CLASSES = (public.Graph, public.Node, public.Hypothesis, public.Case, public.Score, Suite)
METHODS = {f"{cls.__name__}.{name}": fn for cls in CLASSES for name, fn in vars(cls).items() if is_public(name, fn)}


def has_example(docstring: str) -> bool:
    """Whether a docstring has a doctest or a block of code."""
    return bool(doctest.DocTestParser().get_examples(docstring)) or "```" in docstring


def raises(fn: Callable, module: ModuleType | None = None) -> bool:
    """Whether a function has a `raise`, or calls a function of its module that does."""
    module = module or sys.modules[fn.__module__]
    seen: set[str] = set()
    to_do = [fn.__name__]
    for name in to_do:
        found = vars(module).get(name)
        if name in seen or not isinstance(found, FunctionType) or found.__module__ != module.__name__:
            continue
        seen.add(name)
        tree = ast.parse(inspect.getsource(inspect.unwrap(found)))
        if any(isinstance(node, ast.Raise) for node in ast.walk(tree)):
            return True
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        to_do += [call.id for call in calls if isinstance(call, ast.Name)]
    return False


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_shows_an_example(name):
    assert has_example(inspect.getdoc(FUNCTIONS[name]) or "")


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_that_users_make_or_get_shows_an_example(cls):
    assert has_example(inspect.getdoc(cls) or "")


@pytest.mark.parametrize("name", [name for name, fn in FUNCTIONS.items() if raises(fn)])
def test_every_public_function_says_what_it_raises(name):
    assert re.search(r"\bRaises\b", inspect.getdoc(FUNCTIONS[name]) or "")


@pytest.mark.parametrize("name", METHODS)
def test_every_public_method_says_what_it_does(name):
    assert inspect.getdoc(METHODS[name])


def test_the_check_can_fail():
    assert not has_example("Score a hypothesis.")
    assert raises(public.compare)  # through a function of its module
    assert raises(public.load_record)
    assert not raises(public.run_explanation)


@pytest.mark.parametrize("folder", ["scrubbing", "hypotheses", "examples", "tests"])
def test_nothing_cites_a_file_that_users_do_not_have(folder):
    cited = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r"\b[A-Z]{4,}\.md\b|\bSEMANTICS\b", path.read_text(encoding="utf8"))
        if not (ROOT / name).exists() and path != Path(__file__)
    }
    assert cited == set()
