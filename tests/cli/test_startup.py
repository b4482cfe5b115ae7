"""Help, versions and listings come at once, for they import neither torch nor what comes with it."""

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
import sys
from scrubbing.cli import main
sys.argv = ["scrubbing", *sys.argv[1:]]
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def modules(*arguments: object) -> tuple[str, set[str]]:
    """What a command prints, and all modules that it took."""
    command = [sys.executable, "-c", SAYING, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout, set(done.stderr.split())


@pytest.mark.parametrize("line", LIGHT)
def test_help_and_version_import_no_library_but_those_that_print(line):
    out, loaded = modules(*line.split())
    assert out
    assert HEAVY & loaded == set()
    assert {name for name in loaded if name.startswith("hypotheses")} == set()


def test_listings_are_as_light(tmp_path):
    path = tmp_path / "store.db"
    toy.suite().score(store=Store(path), references=20)
    out, loaded = modules("history", "--store", path)
    assert "an exclusive or" in out
    assert HEAVY & loaded == set()
    out, loaded = modules("list")
    assert HEAVY & loaded == set()
    named = [line.split()[0] for line in out.splitlines() if not line.startswith(" ")]
    assert named == sorted(entry.name for entry in entry_points(group="scrubbing.hypotheses"))
    assert {"induction", "toy"} <= set(named)
    assert "How the induction heads of a two-layer attention-only model work" in " ".join(out.split())


def test_the_version_is_that_of_the_package():
    assert modules("--version")[0] == f"scrubbing {version('scrubbing')}\n"


@pytest.mark.parametrize("module", ["scrubbing", "scrubbing.cli"])
def test_until_main_is_called_there_is_nothing_that_an_interrupt_could_meet(module):
    code = f"import sys; before = {{*sys.modules}}; import {module}; print(*({{*sys.modules}} - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"scrubbing", module}


def test_the_library_says_that_it_is_typed():
    import scrubbing

    assert (Path(scrubbing.__file__).parent / "py.typed").is_file()
