"""Settings that all tests share."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hypothesis
import pytest
import torch
from annotated_shapes import check_shapes
from browsing import chromium
from jaxtyping import config

pytest_plugins = ["pytester"]

# Compiled modules are kept, also where the environment says otherwise: each worker, and each process that a test
# starts, would compile some hundreds of them.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Annotated shapes are checked in every test.
check_shapes("scrubbing", "hypotheses")

# The same random examples in every run, however busy the machine is.
hypothesis.settings.register_profile("scrubbing", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("scrubbing")

# What tests score belongs in no store of the user's.
os.environ["SCRUBBING_STORE"] = "off"

# Small tensors: a second thread costs more than it brings, and far more where another process has the core.
torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """What is imported stays: the collector would walk through it again and again."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real browser for the tests of a module."""
    with chromium() as driver:
        yield driver
