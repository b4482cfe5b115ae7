"""The public names are found by whoever asks, and cost nothing before."""

import subprocess
import sys
from collections.abc import Callable

import pytest

import scrubbing
from scrubbing.experiments import public


def python(code: str) -> list[str]:
    """What another process prints, in words."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("module", ["scrubbing", "scrubbing.testing.plugin"])
def test_what_pytest_imports_in_every_run_loads_no_library_but_pytest(module):
    loaded = python(f"import {module}, sys; print(*sys.modules)")
    assert module in loaded
    heavy = {"torch", "numpy", "scipy", "pandas", "pydantic", "networkx", "jaxtyping", "rich", "typer"}
    assert heavy & set(loaded) == set()
    own = {name for name in loaded if name.startswith("scrubbing")}
    assert own <= {"scrubbing", "scrubbing.errors", "scrubbing.testing", "scrubbing.testing.plugin"}


@pytest.mark.parametrize("name", public.__all__)
def test_each_public_name_is_an_attribute(name):
    assert getattr(scrubbing, name) is getattr(public, name)


def test_all_of_them_at_once():
    found: dict[str, Callable] = {}
    exec("from scrubbing import *", found)
    assert found.keys() - {"__builtins__"} == set(public.__all__)
    assert set(public.__all__) <= set(dir(scrubbing))


@pytest.mark.parametrize("name", ["scrubb", "_private", "__wrapped__", "np", "annotations"])
def test_nothing_else_is(name):
    with pytest.raises(AttributeError, match=rf"^module 'scrubbing' has no attribute '{name}'$"):
        getattr(scrubbing, name)


def test_importing_scrub_loads_neither_transformer_lens_nor_pandas_nor_ray_nor_what_shows_results():
    loaded = python("from scrubbing import scrub; import sys; print(*sys.modules)")
    assert {"scrubbing", "torch", "networkx"} <= set(loaded)
    assert not {"transformer_lens", "transformers", "pandas", "ray"} & set(loaded)
    assert not [name for name in loaded if name.startswith("scrubbing.report")]
