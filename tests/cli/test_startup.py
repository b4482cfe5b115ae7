"""Help, versions and listings come at once, for they import neither torch nor what comes with it."""

import json
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from hypotheses import toy
from scrubbing.store import Store

HEAVY = {"torch", "numpy", "scipy", "pandas", "networkx", "jaxtyping", "transformer_lens", "tokenizers", "safetensors"}
LIGHT = (
    "--help",
    "--version",
    *(f"{name} --help" for name in ("score", "explain", "list", "history", "compare", "export")),
)
SAYING = """
import contextlib, io, json, sys
from scrubbing.cli import main

for line in json.loads(sys.argv[1]):
    sys.argv = ["scrubbing", *line]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            main()
        except SystemExit as ended:
            if ended.code:
                raise
    print(json.dumps([printed.getvalue(), [*sys.modules]]))
"""


def modules(*lines: list[str]) -> list[tuple[str, set[str]]]:
    """What each of these commands prints, one after the other, and all modules that were taken until then."""
    command = [sys.executable, "-c", SAYING, json.dumps(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [(out, {*loaded}) for out, loaded in map(json.loads, done.stdout.splitlines())]


def test_help_and_version_import_no_library_but_those_that_print():
    found = dict(zip(LIGHT, modules(*(line.split() for line in LIGHT)), strict=True))
    for line, (out, loaded) in found.items():
        assert out, line
        assert HEAVY & loaded == set(), line
        assert {name for name in loaded if name.startswith("hypotheses")} == set(), line
    assert found["--version"][0] == f"scrubbing {version('scrubbing')}\n"


def test_listings_are_as_light(tmp_path):
    path = tmp_path / "store.db"
    toy.suite().score(store=Store(path), references=20)
    (history, _), (out, loaded) = modules(["history", "--store", str(path)], ["list"])
    assert "an exclusive or" in history
    assert HEAVY & loaded == set()
    named = [line.split()[0] for line in out.splitlines() if not line.startswith(" ")]
    assert named == sorted(entry.name for entry in entry_points(group="scrubbing.hypotheses"))
    assert {"induction", "toy"} <= set(named)
    assert "How the induction heads of a two-layer attention-only model work" in " ".join(out.split())


@pytest.mark.parametrize("module", ["scrubbing", "scrubbing.cli"])
def test_until_main_is_called_there_is_nothing_that_an_interrupt_could_meet(module):
    code = f"import sys; before = {{*sys.modules}}; import {module}; print(*({{*sys.modules}} - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"scrubbing", module}


def test_the_library_says_that_it_is_typed():
    import scrubbing

    assert (Path(scrubbing.__file__).parent / "py.typed").is_file()
