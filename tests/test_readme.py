"""What the README shows is what happens, and what it, CONTRIBUTING and the pages of docs/ tell you to type exists."""

import re
import runpy
import shutil
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from documented import blocks, run_in_order, typed
from typer.main import get_command

import scrubbing
from scrubbing.cli.commands import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TEXTS = {"README": README, "CONTRIBUTING": CONTRIBUTING} | {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf8") for path in PAGES
}


@pytest.mark.usefixtures("unchecked")
def test_the_python_snippets_run_in_order_and_print_what_is_shown(capsys):
    assert run_in_order(README, "README.md", capsys) >= 3


def test_the_worked_example_is_the_readme_s(capsys):
    runpy.run_path(str(ROOT / "examples" / "worked_example.py"))
    assert capsys.readouterr().out == blocks("text", README)[0]


def test_the_tests_that_are_shown_are_those_of_the_examples():
    (shown,) = [block for text in TEXTS.values() for block in blocks("python", text) if "def test_" in block]
    without_comments = re.sub(r"  # .*", "", shown)
    assert without_comments in (ROOT / "examples" / "test_induction.py").read_text(encoding="utf8")


# -- what is typed into a shell


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_shell_snippets_parse(text):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    for block in blocks("sh", text):
        done = subprocess.run([bash, "-n"], input=block, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", [command for text in TEXTS.values() for command in typed(text)], ids=" ".join)
def test_shell_snippets_name_what_exists(command):
    program, *arguments = command
    installed = PROJECT["scripts"].keys() | {"pip", "python", "pytest", "ruff", "pyright", "lint-imports"}
    assert program == "python3" or program.removeprefix(".venv/bin/") in installed
    if program.removeprefix(".venv/bin/") == "scrubbing":
        group = get_command(app)
        commands = getattr(group, "commands")  # noqa: B009  # of whatever click typer has
        options = {name for parameter in commands.get(arguments[0], group).params for name in parameter.opts}
        assert arguments[0] in commands or arguments[0] in options
        assert {word for word in arguments if word.startswith("--")} <= options
    if "-m" in arguments and program.endswith(("python", "python3")):
        assert find_spec(arguments[arguments.index("-m") + 1])
    assert set(re.findall(r"\.\[(\w+)\]", " ".join(arguments))) <= PROJECT["optional-dependencies"].keys()
    arguments = [word for word in arguments if not re.fullmatch(r"[$\w]+/\d+", word)]  # 0/3 is a part of a run
    files = [word for word in arguments if "/" in word or word.endswith(("constraints.txt", ".py"))]
    assert [word for word in files if not (ROOT / word).exists()] == []


# -- words and links


@pytest.mark.parametrize("name", TEXTS)
def test_every_linked_file_exists(name):
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXTS[name])
    assert [link for link in links if not ((ROOT / name).parent / link).exists()] == []


def test_every_room_is_named():
    rooms = {path.parent.name for path in (ROOT / "scrubbing").glob("*/__init__.py")}
    for text in (README, CONTRIBUTING):
        assert {room for room in rooms if f"{room}/`" not in text} == set()


def test_the_glossary_of_the_pages_is_that_of_help():
    words = "datum reference donor claimed feature class stream baseline".split()
    rows = dict(re.findall(r"^\| (\w+)(?:, unclaimed)? \| (.*) \|$", TEXTS["docs/semantics.md"], flags=re.MULTILINE))
    helped = dict(re.findall(r"^(\w+) {2,}(.*)$", scrubbing.__doc__ or "", flags=re.MULTILINE))
    assert set(words) <= rows.keys()
    assert list(helped) == words
    assert all(rows[word] == helped[word] for word in words if word != "claimed")


@pytest.mark.slow
def test_the_induction_example_recovers_part_of_the_loss(capsys):
    found = runpy.run_path(str(ROOT / "examples" / "naive_induction.py"))
    score = found["score"]
    assert 0 < score.recovered < 1
    assert capsys.readouterr().out == f"{score}\n"
