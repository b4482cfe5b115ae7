"""Tests mirror the rooms of the library, and share through modules of their own."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sampled import by_default

TESTS = Path(__file__).parent
ROOT = TESTS.parent
FILES = sorted(path.relative_to(TESTS) for path in TESTS.rglob("test_*.py"))


def imported(source: str) -> set[str]:
    """The modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def other_tests(source: str) -> set[str]:
    return {name for name in imported(source) if name.split(".")[-1].startswith("test_")}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_no_test_module_imports_another(file):
    assert other_tests((TESTS / file).read_text(encoding="utf8")) == set()


def test_an_import_of_another_would_be_seen():
    assert other_tests("def f():\n    from test_score import score") == {
        "test_score",
    }
    assert other_tests("import tests.score.test_score as other") == {"tests.score.test_score"}


@pytest.mark.parametrize("folder", sorted({file.parent for file in FILES}), ids=str)
def test_each_folder_of_tests_is_a_room(folder):
    assert any((ROOT / package / folder).is_dir() for package in ("scrubbing", "."))


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    by_default(
        [
            ("score/losses.py", "import scrubbing.cli", "Rooms import downwards only"),
            ("engine/rules.py", "import scrubbing.engine.plan", "Inside engine"),
            ("store/packing.py", "import networkx", "Only scrubbing.graph imports networkx"),
        ]
    ),
)
def test_an_import_upwards_breaks_the_contract(module, line, broken, tmp_path):
    pytest.importorskip("importlinter")
    for name in ("scrubbing", "hypotheses"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    with (tmp_path / "scrubbing" / module).open("a", encoding="utf8") as file:
        file.write(f"\n{line}\n")
    lint = "from importlinter.cli import lint_imports_command as lint; lint()"
    run = subprocess.run(
        [sys.executable, "-c", lint, "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert re.search(rf"{broken} BROKEN", re.sub(r"\s+", " ", run.stdout))
