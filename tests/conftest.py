"""Settings that all tests share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from jaxtyping import config, install_import_hook

pytest_plugins = ["pytester"]

# Annotated shapes are checked in every test. The option --jaxtyping-packages does the same, but refuses packages that
# were imported before it, and pytest has imported the plugin in this one; what has shapes to check, that does not load.
install_import_hook(["scrubbing", "hypotheses"], "beartype.beartype")

# What tests score belongs in no store of the user's.
os.environ["SCRUBBING_STORE"] = "off"

# Small tensors: a second thread costs more than it brings, and far more where another process has the core.
torch.set_num_threads(1)


@contextmanager
def _annotations_unchecked() -> Iterator[None]:
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As on a user's machine, where annotations are not checked: several times as fast."""
    with _annotations_unchecked():
        yield


@pytest.fixture(scope="module")
def unchecked_throughout() -> Iterator[None]:
    """The same for all tests of a module: tests of random examples take no fixture of a single test."""
    with _annotations_unchecked():
        yield
