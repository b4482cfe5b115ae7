"""Tests mirror the rooms of the library, and share through modules of their own."""

import ast
from pathlib import Path

import pytest

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
